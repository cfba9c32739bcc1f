"""What do ten thousand workflows cost that all sleep: memory of all processes, processor time, and space on the disk?

Each sleeps for a month in its first step. Memory is measured as `idle` does it: after a restart, so that it is what the
sleepers cost and not what starting them has left behind, and before it, with as many handlers as a worker keeps.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from benchmarks.common import Figure, Server, convexpy_processes, each_run, run, scratch_folder
from benchmarks.processes import busy_percent_of_core, memory_mib
from benchmarks.sync_client import connect

SLEEPERS = 10_000
STARTED_AT_ONCE = 100  # by one mutation
REST_SECONDS = 5.0


def measure() -> list[Figure]:
    """Memory, processor and disk of sleepers, beside a server without any."""
    empty, started, rested, busy, disk, rates = [], [], [], [], [], []
    for _ in each_run():
        with scratch_folder() as folder:
            with convexpy_processes(folder) as server:
                empty.append(memory_mib(server.pid))
                before = _disk_bytes(folder)
                rates.append(run(_begin(server)))
                started.append(memory_mib(server.pid))
            disk.append((_disk_bytes(folder) - before) / SLEEPERS / 1024)
            with convexpy_processes(folder) as server:
                busy.append(run(_rest(server)))
                rested.append(memory_mib(server.pid))
    beside = [Figure("memory of a server without workflows", empty, "MiB")]
    return [
        Figure(f"memory after {SLEEPERS:,} workflows have gone to sleep", started, "MiB", beside),
        Figure(f"memory with {SLEEPERS:,} asleep, after a restart", rested, "MiB", beside),
        Figure(f"processor, {SLEEPERS:,} asleep", busy, "% of one core", goal="≤ 1 %"),
        Figure("database and its log, a sleeping workflow", disk, "KiB"),
        Figure("workflows started, 100 a mutation", rates, "workflows/s"),
    ]


async def _begin(server: Server) -> float:
    """Start all; gives how many a second."""
    (client,) = await connect(server.url, 1)
    began = time.perf_counter()
    for _ in range(SLEEPERS // STARTED_AT_ONCE):
        await client.mutation("flows:begin_sleeping", {"count": STARTED_AT_ONCE})
    client.close()
    return SLEEPERS / (time.perf_counter() - began)


async def _rest(server: Server) -> float:
    """How busy the server's processes are while nothing is asked of them, in per cent of a core."""
    await asyncio.sleep(1)
    return await busy_percent_of_core(server.pid, REST_SECONDS)


def _disk_bytes(folder: Path) -> int:
    """Blocks that the database has, not its sparse size."""
    return (folder / "data.mdb").stat().st_blocks * 512
