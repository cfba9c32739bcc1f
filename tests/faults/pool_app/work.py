"""Items that leave marks: of their beginning, of their end, and of what they were for."""

import asyncio
from typing import Any

from convexpy_workflow import Retry, Workpool

from convexpy import (
    ActionCtx,
    MutationCtx,
    QueryCtx,
    components,
    internal,
    internal_action,
    internal_mutation,
    mutation,
    query,
)

pool = Workpool(components.workpool, max_parallelism=3, default_retry=Retry(attempts=20, initial=0.1, base=1))


@internal_mutation
def mark(ctx: MutationCtx, item: str, kind: str) -> None:
    ctx.db.insert("marks", {"item": item, "kind": kind})


@internal_action
async def act(ctx: ActionCtx, item: str) -> str:
    await ctx.run_mutation(mark, {"item": item, "kind": "begin"})
    await asyncio.sleep(0.05)
    await ctx.run_mutation(mark, {"item": item, "kind": "end"})
    return item


@pool.on_complete()
def completed(ctx: MutationCtx, workId: str, result: Any, context: Any) -> None:  # noqa: N803
    ctx.db.insert("marks", {"item": context, "kind": f"completed: {result['kind']}"})


@mutation
def enqueue(ctx: MutationCtx, first: int, count: int) -> None:
    """So many actions and as many mutations."""
    for number in range(first, first + count):
        pool.enqueue_action(
            ctx, internal.work.act, {"item": f"a{number}"}, retry=True, on_complete=completed, context=f"a{number}"
        )
        pool.enqueue_mutation(
            ctx, mark, {"item": f"m{number}", "kind": "effect"}, on_complete=completed, context=f"m{number}"
        )


@query
def marks(ctx: QueryCtx) -> list[list[str]]:
    """In the order of their commits."""
    return [[row["item"], row["kind"]] for row in ctx.db.query("marks").collect()]


@query
def completed_count(ctx: QueryCtx) -> int:
    return sum(row["kind"].startswith("completed") for row in ctx.db.query("marks").collect())
