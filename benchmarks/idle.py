"""What does a server cost that has nothing to do: memory of all its processes, and of each connection that only waits?

Every connection holds one subscription with arguments of its own, so nothing is shared among them but code. Memory is
the proportional set size: pages that processes share are counted once, and those of the mapped database are left out.
"""

from __future__ import annotations

from benchmarks.common import Figure, Server, convexpy_processes, each_run, run, scratch_folder
from benchmarks.countdown import Countdown
from benchmarks.processes import busy_percent_of_core, memory_mib
from benchmarks.sync_client import connect

CONNECTIONS = 2_000
IDLE_SECONDS = 5.0


def measure() -> list[Figure]:
    """Memory before and with two thousand idle connections, and the processor time that they take."""
    runs = []
    for _ in each_run():
        with scratch_folder() as folder, convexpy_processes(folder) as server:
            runs.append(run(_idle(server)))
    return [
        Figure("memory of all processes after the start", [before for before, _, _ in runs], "MiB"),
        Figure(f"memory with {CONNECTIONS:,} idle subscribers", [after for _, after, _ in runs], "MiB"),
        Figure(
            "memory of one idle subscriber",
            [(after - before) * 1024 / CONNECTIONS for before, after, _ in runs],
            "KiB",
        ),
        Figure(f"processor, {CONNECTIONS:,} idle subscribers", [percent for _, _, percent in runs], "% of one core"),
    ]


async def _idle(server: Server) -> tuple[float, float, float]:
    """MiB before, MiB with all connections, and how busy the server's processes are then."""
    before = memory_mib(server.pid)
    clients = await connect(server.url, CONNECTIONS)
    answers = Countdown(CONNECTIONS)
    for number, client in enumerate(clients):
        client.subscribe("notes:topic", {"name": f"topic {number}"}, lambda _: answers.arrived())
    await answers.last
    after = memory_mib(server.pid)
    busy = await busy_percent_of_core(server.pid, IDLE_SECONDS)
    for client in clients:
        client.close()
    return before, after, busy
