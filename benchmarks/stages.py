"""How many microseconds of processor does a mutation and a workflow step cost, in which process?

Processor time, not time on the clock: it hardly moves when something else uses the cores too, so it shows whether a
change helped where throughput does not. The kernel counts it for each process while a fixed amount of work is done.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.common import RUNS, Figure, Server, convexpy_processes, run, scratch_folder
from benchmarks.countdown import Countdown
from benchmarks.load import BODY
from benchmarks.processes import busy_ns
from benchmarks.sync_client import SyncClient, connect
from benchmarks.workflows import callers, rate

ROLES = ("server", "committer", "function workers")
PUSHES = 50
WORK_SHARE = float(os.environ.get("BENCH_WORK", "1"))

Work = Callable[[list[SyncClient]], Awaitable[int]]


def measure() -> list[Figure]:
    """One figure a kind of work and process: microseconds of processor an operation."""
    figures = []
    for name, clients, work in WORKS:
        runs = []
        with scratch_folder() as folder, convexpy_processes(folder) as server:
            runs = run(_cost(server, clients, work))
        for role in ROLES:
            figures.append(Figure(f"{name}: {role}", [each[role] for each in runs], "µs"))
        figures.append(Figure(f"{name}: all", [sum(each.values()) for each in runs], "µs"))
    return figures


async def _cost(server: Server, count: int, work: Work) -> list[dict[str, float]]:
    clients = await connect(server.url, count)
    await work(clients)
    runs = []
    for _ in range(RUNS):
        before = busy_ns(server.pid)
        operations = await work(clients)
        after = busy_ns(server.pid)
        runs.append({role: (after[role] - before[role]) / operations / 1000 for role in ROLES})
    for client in clients:
        client.close()
    return runs


async def _mutations(clients: list[SyncClient]) -> int:
    each = max(1, int(6400 * WORK_SHARE / len(clients) / (10 if len(clients) == 1 else 1)))

    async def one_after_another(client: SyncClient) -> None:
        for _ in range(each):
            await client.mutation("notes:add", {"body": BODY})

    await asyncio.gather(*map(one_after_another, clients))
    return each * len(clients)


def _workflows(kind: str, steps: int, count: int) -> Work:
    async def work(clients: list[SyncClient]) -> int:
        number = int(count * WORK_SHARE)
        await rate(callers(clients), kind, number)
        return number * steps

    return work


async def _pushes(clients: list[SyncClient]) -> int:
    """Write what all but the last client watch; each delivery is an operation."""
    *watchers, writer = clients
    writes = max(1, int(PUSHES * WORK_SHARE))
    expected, board = "", Countdown(len(watchers))

    def pushed(value: Any) -> None:
        if value == expected:
            board.arrived()

    await writer.mutation("notes:publish", {"body": expected})
    queries = [watcher.subscribe("notes:published", {}, pushed) for watcher in watchers]
    await board.last
    for number in range(writes):
        expected, board = f"{number} ".ljust(400, "x"), Countdown(len(watchers))
        await asyncio.gather(writer.mutation("notes:publish", {"body": expected}), board.last)
    for watcher, query in zip(watchers, queries, strict=True):
        watcher.unsubscribe(query)
    return writes * len(watchers)


WORKS: list[tuple[str, int, Work]] = [
    ("mutation, 1 client", 1, _mutations),
    ("mutation, 64 clients", 64, _mutations),
    ("workflow of 1 step", 16, _workflows("one", 1, 640)),
    ("step of 10 in turn", 16, _workflows("ten", 10, 128)),
    ("step of 10 side by side", 16, _workflows("wide", 10, 128)),
    ("delivery to one of 1,000 subscribers", 1001, _pushes),
]
