"""How many items of the pool run at once: a limit of the scheduler's queue, which may change while they run."""

from __future__ import annotations

from convexpy import MutationCtx, QueryCtx, mutation, query
from convexpy_workflow.parallelism import checked_parallelism

QUEUE = "work"
MAX_PARALLELISM_DEFAULT = 10


@mutation
def update(ctx: MutationCtx, maxParallelism: int) -> None:  # noqa: N803
    """Let so many items run at once from this commit on; 0 pauses the pool. Those that run are not interrupted."""
    _set(ctx, checked_parallelism(maxParallelism), None)


@query
def read(ctx: QueryCtx) -> int:
    """Tell how many items may run at once."""
    row = ctx.db.query("settings").first()
    return MAX_PARALLELISM_DEFAULT if row is None else int(row["max_parallelism"])


def settle(ctx: MutationCtx, declared: int | None) -> None:
    """Bring in force what the app's code says, if it says something else than the last time.

    So a number that somebody has changed while the app runs stays until the code is changed. All items that are
    enqueued read this row, and none writes it otherwise: they do not conflict.
    """
    row = ctx.db.query("settings").first()
    if row is None:
        _set(ctx, MAX_PARALLELISM_DEFAULT if declared is None else checked_parallelism(declared), declared)
    elif declared is not None and row.get("declared") != declared:
        _set(ctx, checked_parallelism(declared), declared)


def _set(ctx: MutationCtx, limit: int, declared: int | None) -> None:
    row = ctx.db.query("settings").first()
    fields = {"max_parallelism": limit} | ({} if declared is None else {"declared": declared})
    if row is None:
        ctx.db.insert("settings", fields)
    else:
        ctx.db.patch(row["_id"], fields)
    ctx.scheduler.set_queue_limit(QUEUE, limit)
