"""How many items of the pool run at once: a limit of the scheduler's queue, which may change while they run."""

from __future__ import annotations

from convexpy import MutationCtx, mutation
from convexpy_workflow.parallelism import checked_parallelism

QUEUE = "work"
MAX_PARALLELISM_DEFAULT = 10


@mutation
def update(ctx: MutationCtx, maxParallelism: int) -> None:  # noqa: N803
    """Let so many items run at once from this commit on; 0 pauses the pool. Those that run are not interrupted."""
    ctx.scheduler.set_queue_limit(QUEUE, checked_parallelism(maxParallelism))


def settle(ctx: MutationCtx, declared: int | None) -> None:
    """Bring in force what the app's code says, if it says something else than the last time."""
    limit = MAX_PARALLELISM_DEFAULT if declared is None else checked_parallelism(declared)
    ctx.scheduler.declare_queue_limit(QUEUE, limit)
