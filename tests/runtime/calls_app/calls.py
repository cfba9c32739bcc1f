"""Functions whose calls are tested: what they take, what they give back, what they raise."""

import logging
import random
import time
from typing import Any

from convexpy import (
    ActionCtx,
    BlockingActionCtx,
    ConvexError,
    MutationCtx,
    QueryCtx,
    action,
    create_function_handle,
    internal,
    internal_action,
    internal_mutation,
    internal_query,
    mutation,
    query,
    v,
)

IMPORTED_AT = time.time()
IMPORTED_RANDOM = random.random()


class Refusal(ConvexError):
    """A user's own subclass."""


@query(args={})
def nothing(ctx: QueryCtx):  # type: ignore[no-untyped-def]
    return None


@query(args={"name": v.string(), "limit": v.optional(v.number())})
def greet(ctx: QueryCtx, name: str, limit: float = 3) -> str:
    return name * int(limit)


@query
def echo(ctx: QueryCtx, **fields: Any):  # type: ignore[no-untyped-def]
    return fields


@internal_query(args={})
def hidden(ctx: QueryCtx) -> str:
    return "hidden"


@mutation(args={"name": v.any()}, returns=v.string())
def add_and_return(ctx: MutationCtx, name: Any) -> Any:
    ctx.db.insert("notes", {"name": name})
    return name


@mutation(args={})
def add(ctx: MutationCtx) -> str:
    return ctx.db.insert("notes", {"name": "added"})


def add_many(ctx: MutationCtx, count: int) -> None:
    for _ in range(count):
        ctx.db.insert("notes", {"name": "one of many"})


@internal_mutation
def add_five(ctx: MutationCtx, **outcome: Any) -> None:
    add_many(ctx, 5)


@internal_mutation
def add_six(ctx: MutationCtx, **outcome: Any) -> None:
    add_many(ctx, 6)


@internal_action(args={})
async def act(ctx: ActionCtx) -> None:
    """Leaves nothing behind."""


@query(args={})
def count(ctx: QueryCtx) -> int:
    return len(ctx.db.query("notes").collect())


@query
def refuse(ctx: QueryCtx, data: Any):  # type: ignore[no-untyped-def]
    raise ConvexError(data)


@query
def refuse_as_subclass(ctx: QueryCtx, data: Any):  # type: ignore[no-untyped-def]
    raise Refusal(data)


@mutation
def refuse_nested(ctx: MutationCtx, data: Any):  # type: ignore[no-untyped-def]
    ctx.run_query(refuse, {"data": data})


@action
async def refuse_from_action(ctx: ActionCtx, data: Any):  # type: ignore[no-untyped-def]
    await ctx.run_mutation(refuse_nested, {"data": data})


@query(args={})
def fail(ctx: QueryCtx) -> None:
    raise ValueError("no such luck")


@internal_mutation(args={})
def fail_at_length(ctx: MutationCtx) -> None:
    raise ValueError("x" * 10**7)


@mutation(args={"depth": v.number()})
def recurse(ctx: MutationCtx, depth: float) -> None:
    if depth > 0:
        ctx.run_mutation(internal.calls.recurse, {"depth": depth - 1})


@mutation(args={"depth": v.number()})
def recurse_for_ever(ctx: MutationCtx, depth: float) -> None:
    ctx.run_mutation(internal.calls.recurse_for_ever, {"depth": depth + 1})


@query(args={"lines": v.number()})
def print_lines(ctx: QueryCtx, lines: float) -> None:
    for number in range(int(lines)):
        print("line", number)


@query(args={"lines": v.number()})
def print_nested(ctx: QueryCtx, lines: float) -> None:
    print("outer")
    ctx.run_query(print_lines, {"lines": lines})


@query(args={})
def log_all_ways(ctx: QueryCtx) -> None:
    logger = logging.getLogger("app")
    logger.debug("d %s", 1)
    logger.info("i")
    logger.warning("w")
    logger.error("e")
    print("a", "b", sep="-", end="!\n")
    print("unfinished", end="")


@action(args={})
async def log_in_action(ctx: ActionCtx) -> None:
    print("from the action")


@action(args={})
def log_in_thread(ctx: BlockingActionCtx) -> None:
    print("from a thread")


@query(args={})
def clock(ctx: QueryCtx) -> dict[str, float]:
    return {"own": time.time(), "again": time.time(), "nested": ctx.run_query(clock_once), "ctx": ctx.now_ms()}


@query(args={})
def clock_once(ctx: QueryCtx) -> float:
    return time.time()


@query(args={})
def at_import(ctx: QueryCtx) -> list[float]:
    return [IMPORTED_AT, IMPORTED_RANDOM]


@query(args={})
def draws(ctx: QueryCtx) -> dict[str, float]:
    return {"first": random.random(), "second": random.random(), "nested": ctx.run_query(draw_once)}


@query(args={})
def draw_once(ctx: QueryCtx) -> float:
    return random.random()


@query(args={})
def open_file(ctx: QueryCtx) -> None:
    open("/etc/hostname")  # noqa: SIM115, PTH123


@query(args={})
def give_query(ctx: QueryCtx):  # type: ignore[no-untyped-def]
    return ctx.db.query("notes")


@query(args={})
def give_set(ctx: QueryCtx):  # type: ignore[no-untyped-def]
    return {"a": {1, 2}}


@query(args={})
def pass_on_a_set(ctx: QueryCtx):  # type: ignore[no-untyped-def]
    return ctx.run_query(give_set)


kept: dict[str, Any] = {}  # what functions must not do: keep what belongs to their call


@mutation(args={"stale": v.boolean()})
def keep(ctx: MutationCtx, stale: bool) -> None:
    for _ in range(3):
        ctx.db.insert("notes", {"name": "kept"})
    if stale:
        ctx.run_query(keep_of_query, stale_snapshot=True)
        use_kept(ctx, "iterator")
    kept.update(ctx=ctx, db=ctx.db, query=ctx.db.query("notes"), ids=iter(ctx.db.query("notes").with_index("by_id")))
    kept.update(iterator=iter(ctx.db.query("notes")), untouched=iter(ctx.db.query("notes")))
    next(kept["iterator"])
    next(kept["ids"])


@query(args={})
def keep_of_query(ctx: QueryCtx) -> None:
    kept.update(ctx=ctx, db=ctx.db, query=ctx.db.query("notes"), untouched=iter(ctx.db.query("notes")))
    kept.update(iterator=iter(ctx.db.query("notes").order("desc")), ids=iter(ctx.db.query("notes").with_index("by_id")))
    next(kept["iterator"])
    next(kept["ids"])


@action(args={})
async def keep_in_action(ctx: ActionCtx) -> None:
    kept["ctx"] = ctx
    await ctx.run_mutation(add)


@action(args={})
async def use_keep_in_action(ctx: ActionCtx) -> None:
    await kept["ctx"].run_mutation(add)


@action(args={})
def keep_in_blocking_action(ctx: BlockingActionCtx) -> None:
    kept["ctx"] = ctx
    ctx.run_mutation(add)


@action(args={})
def use_keep_in_blocking_action(ctx: BlockingActionCtx) -> None:
    kept["ctx"].run_mutation(add)


@mutation(args={"what": v.string()})
def use_kept(ctx: MutationCtx, what: str) -> Any:
    if what in ("iterator", "ids", "untouched"):
        return next(kept[what])
    if what == "query":
        return kept["query"].collect()
    if what in ("run_query", "run_mutation"):
        return getattr(kept["ctx"], what)(count if what == "run_query" else add)
    if what == "run_after":
        return kept["ctx"].scheduler.run_after(60, add)
    if what == "metrics":
        return kept["ctx"].meta.transaction_metrics()
    note = ctx.db.insert("notes", {"name": "beside"})
    db = kept["db"]
    uses = {
        "get": lambda: db.get(note),
        "new query": lambda: db.query("notes").first(),
        "query of another table": lambda: db.query("nowhere").first(),
        "insert": lambda: db.insert("notes", {"name": "lost"}),
        "insert into another table": lambda: db.insert("nowhere", {"name": "lost"}),
        "patch": lambda: db.patch(note, {"name": "lost"}),
        "delete": lambda: db.delete(note),
        "paginate": lambda: db.query("notes").paginate({"numItems": 1, "cursor": None}),
    }
    return uses[what]()


@query(args={"operation": v.string()})
def write_in_query(ctx: QueryCtx, operation: str) -> bool:
    if hasattr(ctx.db, operation):
        return False
    getattr(ctx.db, operation)("notes", {})
    return True


@query(args={})
def who(ctx: QueryCtx):  # type: ignore[no-untyped-def]
    return ctx.auth.get_user_identity()


@query(args={})
def notes_or_mine(ctx: QueryCtx):  # type: ignore[no-untyped-def]
    """Looks at the user only once there are notes."""
    notes = len(ctx.db.query("notes").collect())
    identity = ctx.auth.get_user_identity() if notes else None
    return "nobody's" if identity is None else identity.subject


@action(args={})
async def who_in_action(ctx: ActionCtx):  # type: ignore[no-untyped-def]
    return [ctx.auth.get_user_identity(), await ctx.run_query(who)]


@query(args={})
def handle(ctx: QueryCtx) -> str:
    return create_function_handle(add)


@internal_mutation(args={})
def add_then_fail(ctx: MutationCtx) -> None:
    ctx.db.insert("notes", {"name": "lost"})
    ctx.db.insert("brand_new", {"name": "lost"})
    raise ValueError("after the writes")


@mutation(args={})
def survive_failing_child(ctx: MutationCtx) -> str:
    ctx.db.insert("notes", {"name": "kept"})
    try:
        ctx.run_mutation(add_then_fail)
    except ValueError as error:
        return str(error)
    return "it did not fail"


@mutation(args={})
def fail_after_child(ctx: MutationCtx) -> None:
    ctx.run_mutation(add)
    raise ValueError("the parent")


@action(args={})
async def add_twice(ctx: ActionCtx) -> list[int]:
    await ctx.run_mutation(add)
    between = await ctx.run_query(count)
    await ctx.run_mutation(add)
    return [between, await ctx.run_query(count)]


@action(args={})
def add_twice_blocking(ctx: BlockingActionCtx) -> list[int]:
    ctx.run_mutation(add)
    between = ctx.run_query(count)
    ctx.run_mutation(add)
    return [between, ctx.run_query(count)]


@action(args={})
async def catch_failing_query(ctx: ActionCtx) -> str:
    try:
        await ctx.run_query(fail)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "it did not fail"


@mutation(args={})
def increment(ctx: MutationCtx) -> int:
    row = ctx.db.query("counters").first()
    if row is None:
        ctx.db.insert("counters", {"value": 1})
        return 1
    ctx.db.patch(row["_id"], {"value": row["value"] + 1})
    return int(row["value"]) + 1


@action(args={})
async def increment_side_by_side(ctx: ActionCtx) -> list[int]:
    import asyncio

    return sorted(await asyncio.gather(*(ctx.run_mutation(increment) for _ in range(5))))


@query(args={})
def refuse_with_a_set(ctx: QueryCtx) -> None:
    raise ConvexError({"bad": {1, 2}})
