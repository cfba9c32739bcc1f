"""A list that is read page by page while it changes."""

from typing import Any

from convexpy import MutationCtx, QueryCtx, mutation, pagination_opts_validator, query, v


@query(args={"channel": v.string(), "paginationOpts": pagination_opts_validator})
def page(ctx: QueryCtx, channel: str, paginationOpts: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - the hook's name
    """Messages of a channel by their body."""
    if paginationOpts.get("endCursor"):
        print(f"half a page of {channel}")
    return ctx.db.query("messages").with_index("by_body", channel=channel).paginate(paginationOpts)


@query(args={"channel": v.string(), "rows": v.number(), "paginationOpts": pagination_opts_validator})
def even(ctx: QueryCtx, channel: str, rows: float, paginationOpts: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
    """Every second message, looking at no more than so many rows for one page."""
    if paginationOpts.get("endCursor"):
        print(f"half an incomplete page of {channel}")
    messages = ctx.db.query("messages").with_index("by_body", channel=channel)
    chosen = messages.where(lambda message: int(message["body"]) % 20 == 0)
    return chosen.paginate({**paginationOpts, "maximumRowsRead": rows})


@mutation(args={"channel": v.string(), "bodies": v.array(v.string())})
def add(ctx: MutationCtx, channel: str, bodies: list[str]) -> None:
    """Several at once."""
    for body in bodies:
        ctx.db.insert("messages", {"channel": channel, "body": body})


@mutation(args={"channel": v.string(), "body": v.string()})
def remove(ctx: MutationCtx, channel: str, body: str) -> None:
    """Take back all messages of this text."""
    for row in ctx.db.query("messages").with_index("by_body", channel=channel, body=body).collect():
        ctx.db.delete(row["_id"])


@mutation(args={"channel": v.string(), "changes": v.number()})
def stir(ctx: MutationCtx, channel: str, changes: float) -> None:
    """Add and remove some at random places."""
    for _ in range(int(changes)):
        body = f"{ctx.random.randrange(1000):03d}"
        there = ctx.db.query("messages").with_index("by_body", channel=channel, body=body).first()
        if there is None:
            ctx.db.insert("messages", {"channel": channel, "body": body})
        else:
            ctx.db.delete(there["_id"])
