"""Writes and a live query, as small as they can be."""

import time

from convexpy import MutationCtx, QueryCtx, mutation, query, v


@mutation(args={"body": v.string()}, returns=v.id("notes"))
def add(ctx: MutationCtx, body: str) -> str:
    """One document, one index entry; the key is the time, so clients do not meet."""
    return ctx.db.insert("notes", {"body": body, "seconds": time.time()})


@mutation(args={"body": v.string()})
def publish(ctx: MutationCtx, body: str) -> None:
    """Put a text in the place of the last one."""
    last = ctx.db.query("published").first()
    if last is None:
        ctx.db.insert("published", {"body": body})
    else:
        ctx.db.patch(last["_id"], {"body": body})


@query(args={})
def published(ctx: QueryCtx) -> str | None:
    """The text that is published."""
    last = ctx.db.query("published").first()
    return last["body"] if last else None


@query(args={"name": v.string()})
def topic(ctx: QueryCtx, name: str) -> str | None:
    """The text under one name."""
    row = ctx.db.query("topics").with_index("by_name", name=name).unique()
    return row["body"] if row else None


@mutation(args={"name": v.string(), "body": v.string()})
def publish_topic(ctx: MutationCtx, name: str, body: str) -> None:
    """Put a text in the place of the last one of this name."""
    row = ctx.db.query("topics").with_index("by_name", name=name).unique()
    if row is None:
        ctx.db.insert("topics", {"name": name, "body": body})
    else:
        ctx.db.patch(row["_id"], {"body": body})


@query(args={"note": v.id("notes")})
def one(ctx: QueryCtx, note: str) -> str | None:
    """A point read."""
    row = ctx.db.get(note)
    return row["body"] if row else None


@query(args={"seconds": v.number()})
def since(ctx: QueryCtx, seconds: float) -> int:
    """An index range of twenty rows."""
    rows = ctx.db.query("notes").with_index("by_seconds", lambda q: q.gte("seconds", seconds)).take(20)
    return len(rows)


@mutation(args={"first": v.number(), "count": v.number()})
def fill(ctx: MutationCtx, first: float, count: float) -> list[str]:
    """Many notes, whose seconds are their numbers; a few of their ids."""
    ids = [ctx.db.insert("notes", {"body": "x" * 100, "seconds": first + number}) for number in range(int(count))]
    return ids[:: max(1, len(ids) // 20)]


@mutation(args={"count": v.number()})
def schedule(ctx: MutationCtx, count: float) -> None:
    """So many scheduled functions, due next year."""
    for number in range(int(count)):
        ctx.scheduler.run_after(365 * 86_400 + number, "notes:publish", {"body": "happy new year"})
