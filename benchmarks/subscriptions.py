"""What do subscriptions cost a write that does not concern them?

A thousand clients watch a thousand different queries; a write changes one of them. Beside it the same write with one
client in all. Then the look-up alone: who of 100,000 has read what a commit wrote, in the server's own index.
"""

from __future__ import annotations

import time

from benchmarks.common import Figure, Part, convexpy_server, each_run, in_turns, percentile, run, scratch_folder
from benchmarks.load import SyncBackend, push_p50_ms
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

        def push_among(watchers: int) -> float:
            return run(push_p50_ms(SyncBackend(url), watchers, WRITES, are_topics=True))

        pushed = in_turns(
            "ms",
            Part(f"write → the one concerned of {MANY:,} subscribers, p50", lambda: push_among(MANY)),
            Part("with one subscriber in all", lambda: push_among(1), "≤ 1.2"),
        )
    look_ups = [_look_up() for _ in each_run()]
    name = f"look-up of one write among {READERS:,} subscriptions"
    return [pushed, Figure(name, look_ups, "µs", goal="≤ 1,000 µs")]


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
