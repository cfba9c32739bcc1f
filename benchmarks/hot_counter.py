"""One counter that 64 clients raise, beside one client alone: what do lost races cost, and is any increment lost?

A transaction that loses a race runs again, and after two it has an exclusive turn. So every call comes through; each
run is checked for that, and for its sum.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.common import Figure, convexpy_server, each_run, run, scratch_folder
from benchmarks.sync_client import SyncClient, connect

WRITERS = 64
INCREMENTS = 10_000
INCREMENTS_ALONE = 1_000


class Race(NamedTuple):
    """One run: increments a second, and how often the function ran in vain for each that was committed."""

    rate: float
    conflicts: float


def measure() -> list[Figure]:
    """Increments a second beside a single writer's in the same run, and conflicts per success.

    Raises:
        AssertionError: an increment was lost, or done twice.
        RuntimeError: a client heard of a failure.
    """
    with scratch_folder() as folder, convexpy_server(folder) as url:
        alone, together = run(_races(url))
    name = f"one counter, {WRITERS} writers, {INCREMENTS:,} increments"
    beside = Figure("one writer alone, a counter of its own", [race.rate for race in alone], "/s", goal="≥ 0.6")
    return [
        Figure(name, [race.rate for race in together], "/s", [beside]),
        Figure("conflicts per success", [race.conflicts for race in together], "conflicts"),
        Figure("conflicts per success, one writer", [race.conflicts for race in alone], "conflicts"),
    ]


async def _races(url: str) -> tuple[list[Race], list[Race]]:
    clients = await connect(url, WRITERS)
    await _race("warm", clients, 2 * WRITERS)
    alone, together = [], []
    for number in each_run():
        alone.append(await _race(f"alone {number}", clients[:1], INCREMENTS_ALONE))
        together.append(await _race(f"together {number}", clients, INCREMENTS))
    for client in clients:
        client.close()
    return alone, together


async def _race(name: str, clients: list[SyncClient], increments: int) -> Race:
    left = iter(range(increments))
    runs: dict[int, int] = {}  # by worker
    began = time.perf_counter()
    await asyncio.gather(*(_increment(client, name, left, runs) for client in clients))
    seconds = time.perf_counter() - began
    counted = await clients[0].first("counters:read", {"name": name}, lambda value: value >= increments)
    assert counted == increments, f"{increments} increments were acknowledged, and the counter is at {counted}"
    return Race(increments / seconds, (sum(runs.values()) - increments) / increments)


async def _increment(client: SyncClient, name: str, left: Iterator[int], runs: dict[int, int]) -> None:
    for _ in left:
        done = await client.mutation("counters:increment", {"name": name})
        worker, count = done.value
        runs[worker] = max(runs.get(worker, 0), int(count))
