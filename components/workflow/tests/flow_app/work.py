"""Functions that run as steps."""

import asyncio
import logging
from typing import Any

from convexpy_workflow import NonRetryableError

from convexpy import (
    ActionCtx,
    ConvexError,
    MutationCtx,
    QueryCtx,
    internal,
    internal_action,
    internal_mutation,
    internal_query,
    mutation,
)


@internal_query
def read(ctx: QueryCtx, name: str) -> float:
    row = ctx.db.query("counters").with_index("by_name", name=name).unique()
    return 0 if row is None else row["value"]


@mutation
def add(ctx: MutationCtx, name: str, by: float = 1) -> float:
    row = ctx.db.query("counters").with_index("by_name", name=name).unique()
    if row is None:
        ctx.db.insert("counters", {"name": name, "value": by})
        return by
    value: float = row["value"] + by
    ctx.db.patch(row["_id"], {"value": value})
    return value


@internal_mutation
def takes_anything(ctx: MutationCtx, **fields: Any) -> str:
    ctx.db.insert("counters", {"name": "never", "value": 1})
    return "done"


@internal_query
def fail_query(ctx: QueryCtx) -> None:
    raise ValueError("no query")


@internal_mutation
def fail_mutation(ctx: MutationCtx) -> None:
    add(ctx, "lost")
    raise ConvexError({"code": "broke", "limit": 3})


@internal_action
async def fail_action(ctx: ActionCtx) -> None:
    await ctx.run_mutation(internal.work.add, {"name": "attempts"})
    raise RuntimeError("no action")


@internal_action
async def fail_for_good(ctx: ActionCtx) -> None:
    await ctx.run_mutation(internal.work.add, {"name": "attempts"})
    raise NonRetryableError("bad key", {"key": 1})


@internal_action
async def work_at_last(ctx: ActionCtx, attempts: float) -> str:
    """Fails until it has been called so often."""
    count = await ctx.run_mutation(internal.work.add, {"name": "attempts"})
    if count < attempts:
        raise RuntimeError(f"attempt {count:.0f} failed")
    return f"done at {count:.0f}"


@internal_action
async def take_time(ctx: ActionCtx, seconds: float) -> str:
    await asyncio.sleep(seconds)
    await ctx.run_mutation(internal.work.add, {"name": "took time"})
    return f"{seconds:g} s"


@internal_query
def speak_query(ctx: QueryCtx, text: str) -> None:
    print(text)


@internal_mutation
def speak(ctx: MutationCtx, text: str) -> None:
    add(ctx, "spoke")
    print(text)
    logging.getLogger("work").error("%s again", text)


@internal_mutation
def speak_long(ctx: MutationCtx, count: float, chars: float) -> None:
    for _ in range(int(count)):
        print("s" * int(chars))


@internal_action
async def speak_at_last(ctx: ActionCtx, attempts: float) -> str:
    count = await ctx.run_mutation(internal.work.add, {"name": "attempts"})
    print(f"attempt {count:g}")
    if count < attempts:
        raise RuntimeError(f"attempt {count:.0f} failed")
    return "done"


@internal_query
def echo_query(ctx: QueryCtx, value: Any) -> Any:
    return value


@internal_mutation
def echo_mutation(ctx: MutationCtx, value: Any) -> Any:
    return value


@internal_action
async def echo_action(ctx: ActionCtx, value: Any) -> Any:
    return value


@internal_mutation
def give_bytes(ctx: MutationCtx, size: float) -> bytes:
    add(ctx, "gave")
    return bytes(int(size))
