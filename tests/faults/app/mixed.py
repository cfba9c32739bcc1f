"""Everything that can lose a race: hot documents, readers of whole ranges who write, and jobs on the same tables."""

import itertools
import os
from collections import Counter
from typing import Any

from convexpy import MutationCtx, QueryCtx, internal, internal_mutation, mutation, query

from .counters import add

_runs: Counter[str] = Counter()  # of this process, for `fall_at_third_run` alone


@mutation
def append(ctx: MutationCtx, round: str, name: str) -> int:
    """A row that says how many there were: whoever adds one meanwhile wins the race."""
    count = len(ctx.db.query("rows").with_index("by_round", round=round).collect())
    ctx.db.insert("rows", {"round": round, "name": f"{count}: {name}"})
    return count


@mutation
def schedule(ctx: MutationCtx, round: str, name: str) -> str:
    """Have all of it done by the scheduler too."""
    add.handler(ctx, f"{round} scheduled")
    job = ctx.scheduler.run_after(0, internal.mixed.job, {"round": round, "name": name})
    ctx.db.insert("jobs", {"round": round, "job": job})
    return job


@internal_mutation
def job(ctx: MutationCtx, round: str, name: str) -> None:
    """Meets every other writer."""
    add.handler(ctx, f"{round} hot")
    add.handler(ctx, f"{round} jobs")
    append.handler(ctx, round, name)


@query
def names(ctx: QueryCtx, round: str) -> list[str]:
    """All rows."""
    return [row["name"] for row in ctx.db.query("rows").with_index("by_round", round=round)]


@query
def job_states(ctx: QueryCtx, round: str) -> dict[str, int]:
    """How many jobs there are of each state."""
    rows = ctx.db.query("jobs").with_index("by_round", round=round).collect()
    states: list[Any] = [ctx.db.system.get(row["job"]) for row in rows]
    return dict(Counter("gone" if state is None else state["state"]["kind"] for state in states))


@mutation
def fall_at_third_run(ctx: MutationCtx, name: str, key: str, how: str) -> int:
    """Counts like the others, but at its third run in one process comes to grief. Two lost races are two runs, so this
    is the attempt that is alone with the committer. Returns which run in its process it was."""
    _runs[key] += 1
    add.handler(ctx, name)
    if _runs[key] == 3:
        if how == "leave":
            os._exit(3)
        while how == "spin":
            pass
        if how == "raise":
            raise ValueError("the third run")
        1 in itertools.repeat(0)  # noqa: B015 - a loop inside C, which no signal ends
    return _runs[key]


@mutation
def overwrite(ctx: MutationCtx, round: str, text: str) -> None:
    """The one row of a round has this text now."""
    row = ctx.db.query("rows").with_index("by_round", round=round).unique()
    if row is None:
        ctx.db.insert("rows", {"round": round, "name": text})
    else:
        ctx.db.patch(row["_id"], {"name": text})


@mutation
def schedule_later(ctx: MutationCtx, round: str, name: str, seconds: float) -> None:
    """The same at a later instant of the wall clock."""
    add.handler(ctx, f"{round} scheduled")
    job = ctx.scheduler.run_after(seconds, internal.mixed.job, {"round": round, "name": name})
    ctx.db.insert("jobs", {"round": round, "job": job})


@query
def creation_times(ctx: QueryCtx, round: str) -> list[list[float]]:
    """Of all rows: how many there were before it, and when it was made."""
    rows = ctx.db.query("rows").with_index("by_round", round=round)
    return [[int(row["name"].split(":")[0]), row["_creationTime"]] for row in rows]
