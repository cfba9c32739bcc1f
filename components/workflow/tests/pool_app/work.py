"""Functions to be enqueued, and one that enqueues whatever a test asks for."""

from typing import Any

from convexpy_workflow import NonRetryableError, Retry, Workpool

from convexpy import (
    ActionCtx,
    MutationCtx,
    QueryCtx,
    action,
    components,
    internal,
    internal_action,
    internal_mutation,
    internal_query,
    mutation,
    query,
    v,
)

pool = Workpool(components.workpool, default_retry=Retry(attempts=3, initial=10))
narrow = Workpool(components.narrow, max_parallelism=2)
POOLS = {"workpool": pool, "narrow": narrow}


class Hopeless(NonRetryableError):
    """A subclass of the user's."""


@internal_mutation
def count(ctx: MutationCtx, name: str, by: float = 1) -> float:
    row = ctx.db.query("counters").filter(lambda q: q.eq(q.field("name"), name)).first()
    if row is None:
        ctx.db.insert("counters", {"name": name, "value": by})
        return by
    value: float = row["value"] + by
    ctx.db.patch(row["_id"], {"value": value})
    return value


@internal_mutation
def refuse(ctx: MutationCtx) -> None:
    ctx.db.insert("counters", {"name": "never", "value": 1})
    raise ValueError("it does not work")


@internal_query
def look(ctx: QueryCtx, text: str) -> str:
    return text.upper()


@internal_action
async def attempt(ctx: ActionCtx, name: str, fails: int = 0) -> float:
    """Fails so many times, then tells how often it was tried."""
    tries: float = await ctx.run_mutation(count, {"name": name})
    if tries <= fails:
        raise RuntimeError(f"attempt {tries:.0f} failed")
    return tries


@internal_action
async def give_up(ctx: ActionCtx, name: str, nested: bool = False) -> None:
    await ctx.run_mutation(count, {"name": name})
    if nested:
        await ctx.run_action(internal.work.give_up, {"name": f"{name} inside"})
    raise Hopeless("no such address", {"code": 7})


@internal_action
async def cancel_itself(ctx: ActionCtx, fails: bool) -> str:
    """Is running when it is canceled."""
    for row in await ctx.run_query(internal.work.started):
        await pool.cancel(ctx, row)
    if fails:
        raise RuntimeError("too late")
    return "done all the same"


@internal_query
def started(ctx: QueryCtx) -> list[str]:
    return [row["item"] for row in ctx.db.query("started").collect()]


@pool.on_complete(context=v.any())
def completed(ctx: MutationCtx, workId: str, result: Any, context: Any) -> None:  # noqa: N803
    ctx.db.insert("results", {"item": workId, "result": result, "context": context})


@internal_mutation
def raising(ctx: MutationCtx, workId: str, result: Any, context: Any) -> None:  # noqa: N803
    """Raises until somebody has mended it."""
    ctx.db.insert("results", {"item": workId, "result": result, "context": context})
    if ctx.db.query("mended").first() is None:
        raise ValueError("on_complete is broken")


@mutation
def enqueue(ctx: MutationCtx, kind: str, function: str, args: Any, options: Any, pool: str = "workpool") -> Any:
    options = dict(options)
    if isinstance(options.get("retry"), dict):
        options["retry"] = Retry(**options["retry"])
    method = getattr(POOLS[pool], f"enqueue_{kind}")
    item = method(ctx, getattr(internal.work, function), args, **options)
    for each in item if isinstance(item, list) else [item]:
        ctx.db.insert("started", {"item": each})
    return item


@action
async def enqueue_in_action(ctx: ActionCtx, name: str) -> Any:
    item = await pool.enqueue_mutation(ctx, count, {"name": name}, on_complete=completed)
    return [item, (await pool.status(ctx, item))["state"]]


@query
def status(ctx: QueryCtx, item: str) -> Any:
    return pool.status(ctx, item)


@query
def status_batch(ctx: QueryCtx, items: list[str]) -> Any:
    return pool.status_batch(ctx, items)


@mutation
def cancel(ctx: MutationCtx, item: str) -> None:
    pool.cancel(ctx, item)


@mutation
def cancel_all(ctx: MutationCtx, options: Any) -> None:
    pool.cancel_all(ctx, **options)


@mutation
def resize(ctx: MutationCtx, pool: str, most: Any) -> None:
    POOLS[pool].update_config(ctx, max_parallelism=most)


@query
def results(ctx: QueryCtx) -> Any:
    return [
        {"result": row["result"], "context": row["context"], "item": row["item"]}
        for row in ctx.db.query("results").collect()
    ]


@query
def counter(ctx: QueryCtx, name: str) -> float:
    rows = ctx.db.query("counters").filter(lambda q: q.eq(q.field("name"), name)).collect()
    return float(sum(row["value"] for row in rows))


@internal_mutation
def measured(ctx: MutationCtx, workId: str, result: Any, context: Any) -> None:  # noqa: N803
    ctx.db.insert("measures", {"sizes": [len(result["value"]), len(context[0])]})


@query
def measures(ctx: QueryCtx) -> Any:
    return [row["sizes"] for row in ctx.db.query("measures").collect()]
