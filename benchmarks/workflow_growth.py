"""What does step 1,000 of a workflow cost beside step 1, and what does a run of a thousand steps cost after a restart?

The steps come one after the other and do nothing. The time of a step is what lies between two commits of its run, as
the commit log has their instants. After a restart no handler is in memory: the next step replays the journal first.
"""

from __future__ import annotations

import itertools
import statistics
import time
from pathlib import Path

import msgspec

from benchmarks.common import RUNS, Figure, convexpy_server, run, scratch_folder
from benchmarks.sync_client import connect
from benchmarks.workflows import completed
from convexpy.storage.lmdb_store import LmdbStore

STEPS = 1_000
AT_ONCE = 100  # steps that one figure is the mean of


def measure() -> list[Figure]:
    """Time of the first and of the last hundred steps; a step after a restart, with a short and with a long journal."""
    first, last, short, long = [], [], [], []
    for _ in range(RUNS):
        with scratch_folder() as folder:
            since = time.time_ns()
            with convexpy_server(folder) as url:
                waiting = run(_begin(url, {"to get warm": 1, "short": 1, "long": STEPS}))
            times = step_times(folder, since)
            first.append(statistics.mean(times[:AT_ONCE]))
            last.append(statistics.mean(times[-AT_ONCE:]))
            with convexpy_server(folder) as url:
                run(_go_on(url, waiting["to get warm"]))  # what a fresh server does once is not the journal's
                short.append(run(_go_on(url, waiting["short"])))
                long.append(run(_go_on(url, waiting["long"])))
    return [
        Figure(f"a step among the first {AT_ONCE}", first, "ms"),
        Figure(
            f"a step among the last {AT_ONCE} of {STEPS:,}",
            last,
            "ms",
            beside=[Figure(f"a step among the first {AT_ONCE}", first, "ms")],
        ),
        Figure(
            f"first step after a restart, {STEPS:,} steps in the journal",
            long,
            "ms",
            beside=[Figure("first step after a restart, 1 step in the journal", short, "ms")],
        ),
    ]


async def _begin(url: str, lengths: dict[str, int]) -> dict[str, str]:
    """Start runs, one after the other, and wait until each waits for its event."""
    (client,) = await connect(url, 1)
    waiting = {}
    for name, steps in lengths.items():
        begun = await client.mutation("flows:begin_counting", {"steps": steps})
        waiting[name] = begun.value
        await client.first("flows:waits", {"workflow_id": begun.value}, bool)
    client.close()
    return waiting


async def _go_on(url: str, workflow_id: str) -> float:
    """Milliseconds from the event to the end of the run, of which the last step is all that is left."""
    (client,) = await connect(url, 1)
    await client.first("flows:state", {"workflow_id": workflow_id})
    began = time.perf_counter()
    await client.mutation("flows:go_on", {"workflow_id": workflow_id})
    await completed(client, workflow_id)
    client.close()
    return (time.perf_counter() - began) * 1e3


def step_times(folder: Path, since_ts: int) -> list[float]:
    """Milliseconds between the commits of the longest chain of steps, read from the stopped server's log."""
    store = LmdbStore(folder, readonly=True)
    with store.snapshot() as snapshot:
        entries = [(ts, msgspec.msgpack.decode(entry)[0]) for ts, entry in snapshot.log_entries(since_ts, 2**63 - 1)]
    store.close()
    # A step's commit has its job's id for a name; those of the long run have no other commit between them.
    chains = [list(chain) for is_job, chain in itertools.groupby(entries, lambda entry: entry[1].isalnum()) if is_job]
    instants = [ts for ts, _ in max(chains, key=len)]
    return [(after - before) / 1e6 for before, after in itertools.pairwise(instants)]
