"""What does step 1,000 of a workflow cost beside step 1, and what does a run of a thousand steps cost after a restart?

The steps come one after the other and do nothing. The time of a step is what lies between two commits of its run, as
the commit log has their instants, divided by the steps that shared the commit. After a restart no handler is in memory:
the next step replays the journal first.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from pathlib import Path

from benchmarks.common import Figure, convexpy_server, each_run, run, scratch_folder
from benchmarks.sync_client import connect
from benchmarks.workflows import commits_after, completed
from convexpy.storage.keys import keyspace_of
from convexpy.transactions.commit_log import LoggedCommit

STEPS = 1_000
WARM = 200
AT_ONCE = 100  # steps that one figure is the mean of


def measure() -> list[Figure]:
    """Time of the first and of the last hundred steps; a step after a restart, with a short and with a long journal."""
    first, last, short, long = [], [], [], []
    for _ in each_run():
        with scratch_folder() as folder:
            since = time.time_ns()
            with convexpy_server(folder) as url:
                waiting = run(_begin(url, {"to get warm": WARM, "short": 1, "long": STEPS}))
            times = step_times(folder, since)
            first.append(statistics.mean(times[:AT_ONCE]))
            last.append(statistics.mean(times[-AT_ONCE:]))
            with convexpy_server(folder) as url:
                run(_go_on(url, waiting["to get warm"]))  # what a fresh server does once is not the journal's
                short.append(run(_go_on(url, waiting["short"])))
                long.append(run(_go_on(url, waiting["long"])))
    among_first = Figure(f"a step among the first {AT_ONCE}", first, "ms", goal="≤ 1.3")
    after_one = Figure("first step after a restart, 1 step in the journal", short, "ms")
    return [
        Figure(f"a step among the last {AT_ONCE} of {STEPS:,}", last, "ms", (among_first,)),
        Figure(f"first step after a restart, {STEPS:,} steps in the journal", long, "ms", (after_one,)),
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
    """Milliseconds of each step of the longest run, read from the stopped server's log.

    Steps that share a commit share the time since the commit before; those of the run's first one have none before.
    """
    times = []
    for (before, _), (after, steps) in itertools.pairwise(step_commits(folder, since_ts)):
        times += [(after - before) / 1e6 / steps] * steps
    return times


def step_commits(folder: Path, since_ts: int) -> list[tuple[int, int]]:
    """Timestamp and number of steps of each commit of the longest run."""
    # A commit of steps has its job's id for a name; those of the long run have no other commit between them.
    commits = itertools.groupby(commits_after(folder, since_ts), lambda commit: commit[1].function.isalnum())
    chain = max((list(chain) for is_job, chain in commits if is_job), key=_documents)
    # Of all tables most rows are added to the journal, one a step.
    added = [(ts, [keyspace_of(write.key) for write in commit.documents if not write.old]) for ts, commit in chain]
    ((journal, _),) = Counter(table for _, tables in added for table in tables).most_common(1)
    return [(ts, tables.count(journal)) for ts, tables in added if journal in tables]


def _documents(chain: list[tuple[int, LoggedCommit]]) -> int:
    return sum(len(commit.documents) for _, commit in chain)
