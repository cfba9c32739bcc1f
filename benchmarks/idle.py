"""What does a server cost that has nothing to do: memory of all its processes, and of each connection that only waits?

Every connection holds one subscription with arguments of its own, so nothing is shared among them but code. Memory is
the proportional set size: pages that processes share are counted once, and those of the mapped database are left out.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from benchmarks.common import RUNS, Figure, Server, convexpy_processes, run, scratch_folder
from benchmarks.sync_client import connect

CONNECTIONS = 2_000
IDLE_SECONDS = 5.0


def measure() -> list[Figure]:
    """Memory before and with two thousand idle connections, and the processor time that they take."""
    runs = []
    for _ in range(RUNS):
        with scratch_folder() as folder, convexpy_processes(folder) as server:
            runs.append(run(_idle(server)))
    return [
        Figure("memory of all processes after the start", [before / 1024 for before, _, _ in runs], "MiB"),
        Figure(f"memory with {CONNECTIONS:,} idle subscribers", [after / 1024 for _, after, _ in runs], "MiB"),
        Figure("memory of one idle subscriber", [(after - before) / CONNECTIONS for before, after, _ in runs], "KiB"),
        Figure(f"processor, {CONNECTIONS:,} idle subscribers", [percent for _, _, percent in runs], "% of one core"),
    ]


async def _idle(server: Server) -> tuple[float, float, float]:
    """KiB before, KiB with all connections, and how busy the server's processes are then."""
    before = pss_kib(server.pid)
    clients = await connect(server.url, CONNECTIONS)
    missing, everyone = CONNECTIONS, asyncio.get_running_loop().create_future()

    def answered(_: object) -> None:
        nonlocal missing
        missing -= 1
        if missing == 0:
            everyone.set_result(None)

    for number, client in enumerate(clients):
        client.subscribe("notes:topic", {"name": f"topic {number}"}, answered)
    await everyone
    after = pss_kib(server.pid)
    ticks = cpu_ticks(server.pid)
    await asyncio.sleep(IDLE_SECONDS)
    busy_seconds = (cpu_ticks(server.pid) - ticks) / os.sysconf("SC_CLK_TCK")
    for client in clients:
        client.close()
    return before, after, 100 * busy_seconds / IDLE_SECONDS


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def pss_kib(pid: int) -> float:
    """Private and shared memory, without mapped files: the database's pages belong to the page cache."""
    total = 0
    for member in _family(pid):
        for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                total += int(line.split()[1])
    return total


def cpu_ticks(pid: int) -> int:
    """User and system time of all processes so far."""
    total = 0
    for member in _family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total
