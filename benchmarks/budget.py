"""What may each stage of a mutation and of a workflow step cost, and what does it cost?

One client's mutations, then a run whose steps come one after another, in a server whose processes note when a call gets
from one stage to the next (`marks`). A way between two processes begins with the frame packed and ends with it read: on
an idle machine most of it is waking up who waits. Steps share commits, so a step's figures are its share of a commit.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks import marks
from benchmarks.common import Figure, convexpy_server, each_run, run, scratch_folder
from benchmarks.latency import mutation_p50_ms
from benchmarks.marks import (
    ANSWERED,
    APPLIED,
    CALLED,
    DECODED,
    PACKED,
    PUBLISHED,
    RECEIVED,
    SYNCED,
    TAKEN,
    VALIDATED,
    WRITTEN,
)
from benchmarks.sync_client import connect
from benchmarks.workflow_growth import step_commits, step_times

STEPS = 640
WARM_STEPS = 320
LOOK_SECONDS = 1.0  # whoever looks is among the marks too


class Stage(NamedTuple):
    """What lies between a mark and the one before it."""

    name: str
    until: str
    budget_us: int


MUTATION = (
    Stage("decode: frame, JSON, session", CALLED, 40),
    Stage("route: call → frame", PACKED, 40),
    Stage("way to the worker", TAKEN, 60),
    Stage("run: snapshot, function, commit request", PACKED, 150),
    Stage("way to the server", TAKEN, 60),
    Stage("route: commit request → frame", PACKED, 30),
    Stage("way to the committer", TAKEN, 60),
    Stage("decode: commit request", DECODED, 20),
    Stage("validate: conflicts, timestamp", VALIDATED, 20),
    Stage("apply: puts into LMDB", APPLIED, 40),
    Stage("sync: pages written, fsync", SYNCED, 300),
    Stage("outcome → frame", PACKED, 20),
    Stage("way to the server", TAKEN, 60),
    Stage("publish: who is concerned", PUBLISHED, 30),
    Stage("answer: response", ANSWERED, 30),
    Stage("push: transition, frames, one write", WRITTEN, 50),
)
STEP = (
    Stage("schedule: next rows → frame", PACKED, 5),
    Stage("way to the worker", TAKEN, 3),
    Stage("run: functions, handler, journal, commit request", PACKED, 150),
    Stage("way to the server", TAKEN, 3),
    Stage("route: commit request → frame", PACKED, 3),
    Stage("way to the committer", TAKEN, 3),
    Stage("decode: commit request", DECODED, 3),
    Stage("validate: conflicts, timestamp", VALIDATED, 3),
    Stage("apply: puts into LMDB", APPLIED, 6),
    Stage("sync: pages written, fsync", SYNCED, 25),
    Stage("outcome → frame", PACKED, 2),
    Stage("way to the server", TAKEN, 3),
    Stage("publish: who is concerned", PUBLISHED, 5),
)


def measure() -> list[Figure]:
    """For a mutation and for a step: each stage, then all of them beside what was measured from outside."""
    runs = []
    for _ in each_run():
        with scratch_folder() as folder:
            runs.append(one_run(folder))
    return [
        *_table("mutation", MUTATION, [found.mutation for found in runs], "as its client sees it, p50"),
        *_table("step", STEP, [found.step for found in runs], "as the commit log sees it, p50"),
    ]


def _table(what: str, stages: Sequence[Stage], runs: list[Spent], from_outside: str) -> list[Figure]:
    by_stage = [
        Figure(f"{what}: {stage.name}", [found.stages[place] for found in runs], "µs", goal=f"≤ {stage.budget_us} µs")
        for place, stage in enumerate(stages)
    ]
    allowed = sum(stage.budget_us for stage in stages)
    together = Figure("all stages", [sum(found.stages) for found in runs], "µs")
    outside = Figure(f"{what}, {from_outside}", [found.outside for found in runs], "µs", (together,))
    return [*by_stage, replace(outside, goal=f"≤ {allowed:,} µs")]


class Spent(NamedTuple):
    """Microseconds of each stage, and of the whole as measured from outside meanwhile."""

    stages: list[float]
    outside: float


class Run(NamedTuple):
    """One run."""

    mutation: Spent
    step: Spent


def one_run(folder: Path) -> Run:
    """Medians of all mutations, and of all commits of steps."""
    data = folder / "data"
    with marks.marked_servers(folder) as trace, convexpy_server(data) as url:
        mutation_us = run(mutation_p50_ms(url)) * 1e3
        until = time.perf_counter_ns()
        run(_run_steps(url, WARM_STEPS))
        begun, begun_ts = time.perf_counter_ns(), time.time_ns()
        run(_run_steps(url, STEPS))
        passed = marks.read_marks(trace)
    mutations = marks.laps([mark for mark in passed if mark.at_ns < until], (RECEIVED, *_ends(MUTATION)))
    commits = marks.laps([mark for mark in passed if mark.at_ns > begun], (PUBLISHED, *_ends(STEP)))
    together = statistics.median(steps for _, steps in step_commits(data, begun_ts))
    return Run(
        Spent(_medians(mutations), mutation_us),
        Spent(
            [microseconds / together for microseconds in _medians(commits)],
            statistics.median(step_times(data, begun_ts)) * 1e3,
        ),
    )


def _ends(stages: Sequence[Stage]) -> tuple[str, ...]:
    return tuple(stage.until for stage in stages)


def _medians(rounds: list[list[float]]) -> list[float]:
    return [statistics.median(each) for each in zip(*rounds, strict=True)]


async def _run_steps(url: str, steps: int) -> None:
    """Run steps one after another, and look only now and then whether they are done."""
    (client,) = await connect(url, 1)
    begun = await client.mutation("flows:begin_counting", {"steps": steps})
    await asyncio.sleep(LOOK_SECONDS)
    await client.first("flows:waits", {"workflow_id": begun.value}, bool)
    client.close()
