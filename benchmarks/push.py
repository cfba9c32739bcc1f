"""How long after a commit do its subscribers know: one of them, and the last of a thousand?

The commit's timestamp is the server's wall clock in nanoseconds on the same machine, so commit → push needs no help
from the server. It is taken before the disk has the commit, so the fsync is inside what is measured.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks import raw
from benchmarks.common import RUNS, Figure, convexpy_server, percentile, run, scratch_folder
from benchmarks.sync_client import connect

WRITES = 100
WRITES_TO_MANY = 20
MANY = 1_000
BODY_CHARS = 400  # with its frame about the 500 bytes of the raw broadcast


def measure() -> list[Figure]:
    """Latencies of one subscriber, then of the last of a thousand beside the raw broadcast."""
    with scratch_folder() as folder, convexpy_server(folder) as url:
        one = run(_delays(url, 1, WRITES))
        many = run(_delays(url, MANY, WRITES_TO_MANY))
    last = f"write → last of {MANY:,} subscribers"
    return [
        _figure("commit → push, one subscriber, p50", one, "commit", 0.5),
        _figure("commit → push, one subscriber, p95", one, "commit", 0.95),
        _figure("write → push, one subscriber, p50", one, "write", 0.5),
        Figure(f"{last}, p50", [percentile(delays["write"], 0.5) for delays in many], "ms", (raw.broadcast(MANY),)),
        _figure(f"{last}, p95", many, "write", 0.95),
    ]


def _figure(name: str, runs: list[dict[str, list[float]]], since: str, share: float) -> Figure:
    return Figure(name, [percentile(delays[since], share) for delays in runs], "ms")


async def _delays(url: str, subscribers: int, writes: int) -> list[dict[str, list[float]]]:
    """For each run, milliseconds from the write and from the commit to the last subscriber's push."""
    loop = asyncio.get_running_loop()
    watchers, (writer,) = await connect(url, subscribers), await connect(url, 1)
    expected, missing, everyone = "", 0, loop.create_future()

    def pushed(value: Any) -> None:
        nonlocal missing
        if value == expected:
            missing -= 1
            if missing == 0:
                everyone.set_result((time.perf_counter(), time.time_ns()))

    await writer.mutation("notes:publish", {"body": expected})
    missing = subscribers
    for watcher in watchers:
        watcher.subscribe("notes:published", {}, pushed)
    await everyone

    runs = []
    for number in range(RUNS):
        delays: dict[str, list[float]] = {"write": [], "commit": []}
        for write in range(writes):
            expected = f"{number} {write} ".ljust(BODY_CHARS, "x")
            missing, everyone = subscribers, loop.create_future()
            began = time.perf_counter()
            done, (pushed_at, pushed_ns) = await asyncio.gather(
                writer.mutation("notes:publish", {"body": expected}), everyone
            )
            delays["write"].append((pushed_at - began) * 1e3)
            delays["commit"].append((pushed_ns - done.commit_ts) / 1e6)
        runs.append(delays)
    for client in [*watchers, writer]:
        client.close()
    return runs
