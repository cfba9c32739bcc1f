"""What do subscriptions cost a write that does not concern them?

A thousand clients watch a thousand different queries; a write changes one of them. Beside it the same write with one
client in all. Then the look-up alone: who of 100,000 has read what a commit wrote, in the server's own index.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from benchmarks.common import RUNS, Figure, convexpy_server, percentile, run, scratch_folder
from benchmarks.sync_client import SyncClient, connect
from convexpy.runtime.invalidation import InvalidationIndex
from convexpy.transactions.commit_messages import Reads
from convexpy.values import index_key

MANY = 1_000
WRITES = 100
READERS = 100_000
LOOK_UPS = 1_000
KEYSPACE = b"\x80\x00\x00\x07"  # of an index


def measure() -> list[Figure]:
    """Write → push to the one that is concerned, with and without the others; then the look-up."""
    with scratch_folder() as folder, convexpy_server(folder) as url:
        alone = run(_delays(url, 1))
        among = run(_delays(url, MANY))
    beside = Figure("with one subscriber in all", [percentile(delays, 0.5) for delays in alone], "ms")
    return [
        Figure(
            f"write → the one concerned of {MANY:,} subscribers, p50",
            [percentile(delays, 0.5) for delays in among],
            "ms",
            (beside,),
        ),
        Figure(f"look-up of one write among {READERS:,} subscriptions", [_look_up() for _ in range(RUNS)], "µs"),
    ]


async def _delays(url: str, subscribers: int) -> list[list[float]]:
    """Milliseconds from the write to the push, for each run."""
    (writer,) = await connect(url, 1)
    watchers = await connect(url, subscribers)
    chance = random.Random(subscribers)
    arrived: dict[int, asyncio.Future[float]] = {}
    for number in range(subscribers):
        await writer.mutation("notes:publish_topic", {"name": f"topic {number}", "body": "begun"})
    for number, watcher in enumerate(watchers):
        await _watch(watcher, number, arrived)
    runs = []
    for turn in range(RUNS):
        delays = []
        for write in range(WRITES):
            number = chance.randrange(subscribers)
            arrived[number] = asyncio.get_running_loop().create_future()
            began = time.perf_counter()
            await writer.mutation("notes:publish_topic", {"name": f"topic {number}", "body": f"{turn} {write}"})
            delays.append((await arrived[number] - began) * 1e3)
        runs.append(delays)
    for client in (writer, *watchers):
        client.close()
    return runs


async def _watch(client: SyncClient, number: int, arrived: dict[int, asyncio.Future[float]]) -> None:
    """Subscribe to one topic and wait for its first value; later ones resolve `arrived`."""
    first = arrived[number] = asyncio.get_running_loop().create_future()

    def pushed(_: Any) -> None:
        waiting = arrived[number]
        if not waiting.done():
            waiting.set_result(time.perf_counter())

    client.subscribe("notes:topic", {"name": f"topic {number}"}, pushed)
    await first


def _look_up() -> float:
    """Microseconds for the keys of one commit that concerns one reader; the median of many."""
    index: InvalidationIndex[int] = InvalidationIndex()
    for reader in range(READERS):
        start = KEYSPACE + index_key([f"topic {reader}"])
        index.put(reader, Reads([b"\x00\x00\x00\x09" + reader.to_bytes(16, "big")], [(start, start + b"\xff")]))
    taken = []
    for number in range(LOOK_UPS):
        reader = number * 97 % READERS
        entry = KEYSPACE + index_key([f"topic {reader}", 1.5]) + bytes(16)
        began = time.perf_counter()
        found = index.touched([b"\x00\x00\x00\x09" + reader.to_bytes(16, "big"), entry])
        taken.append((time.perf_counter() - began) * 1e6)
        if found != [reader]:
            raise RuntimeError(f"the index found {found}, and not reader {reader}")
    return percentile(taken, 0.5)
