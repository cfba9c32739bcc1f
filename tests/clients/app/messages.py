"""Messages in channels: lists that grow, and validators that are written out."""

from typing import Any

from convexpy import MutationCtx, QueryCtx, mutation, query, v


@mutation(args={"channel": v.string(), "body": v.string()}, returns=v.id("messages"))
def send(ctx: MutationCtx, channel: str, body: str) -> str:
    """Add a message."""
    return ctx.db.insert("messages", {"channel": channel, "body": body})


@query(args={"channel": v.string()}, returns=v.array(v.string()))
def bodies(ctx: QueryCtx, channel: str) -> list[str]:
    """What was said in a channel, oldest first."""
    return [row["body"] for row in ctx.db.query("messages").with_index("by_channel", channel=channel).collect()]


@query(args={"value": v.any()})
def echo(ctx: QueryCtx, value: Any) -> Any:
    """Give back what came, to see that a value survives the way there and back."""
    return value
