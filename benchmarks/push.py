"""How long after a commit do its subscribers know: one of them, and the last of a thousand?

The commit's timestamp is the server's wall clock in nanoseconds on the same machine, so commit → push needs no help
from the server. It is taken before the disk has the commit, so the fsync is inside what is measured.
"""

from __future__ import annotations

from benchmarks import raw
from benchmarks.common import Figure, convexpy_server, each_run, percentile, run, scratch_folder
from benchmarks.load import Push, SyncBackend, pushes

WRITES = 100
WRITES_TO_MANY = 20
MANY = 1_000


def measure() -> list[Figure]:
    """Latencies of one subscriber, then of the last of a thousand beside the raw broadcast."""
    one: list[list[Push]] = []
    many: list[list[Push]] = []
    broadcasts = []
    with scratch_folder() as folder, convexpy_server(folder) as url:
        for _ in each_run():
            one.append(run(pushes(SyncBackend(url), 1, WRITES)))
            many.append(run(pushes(SyncBackend(url), MANY, WRITES_TO_MANY)))
            broadcasts.append(raw.broadcast_p50_ms(MANY))
    last = f"write → last of {MANY:,} subscribers"
    beside = Figure(f"raw broadcast to {MANY:,} connections, last delivery p50", broadcasts, "ms", goal="≤ 1.5")
    return [
        Figure("commit → push, one subscriber, p50", [percentile(_since_commit(each), 0.5) for each in one], "ms"),
        Figure("commit → push, one subscriber, p95", [percentile(_since_commit(each), 0.95) for each in one], "ms"),
        Figure(
            "write → push, one subscriber, p50",
            [percentile(_since_write(each), 0.5) for each in one],
            "ms",
            goal="≤ 1.5 ms",
        ),
        Figure(f"{last}, p50", [percentile(_since_write(each), 0.5) for each in many], "ms", (beside,)),
        Figure(f"{last}, p95", [percentile(_since_write(each), 0.95) for each in many], "ms"),
    ]


def _since_write(found: list[Push]) -> list[float]:
    return [push.milliseconds for push in found]


def _since_commit(found: list[Push]) -> list[float]:
    return [(push.arrived_ns - push.answer.commit_ts) / 1e6 for push in found]
