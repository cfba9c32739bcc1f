"""Counters by name: the smallest thing that can be subscribed to and changed."""

from typing import Any

from convexpy import MutationCtx, QueryCtx, mutation, query


@query
def read(ctx: QueryCtx, name: str) -> float:
    """The counter's value, 0 if nobody has counted."""
    return _value(ctx, name)


@mutation
def add(ctx: MutationCtx, name: str, by: float = 1) -> float:
    """Count, and return the new value."""
    row = _row(ctx, name)
    if row is None:
        ctx.db.insert("counters", {"name": name, "value": by})
        return by
    ctx.db.patch(row["_id"], {"value": row["value"] + by})
    value: float = row["value"] + by
    return value


def _value(ctx: QueryCtx, name: str) -> float:
    row = _row(ctx, name)
    return row["value"] if row else 0


def _row(ctx: QueryCtx | MutationCtx, name: str) -> Any:
    return ctx.db.query("counters").with_index("by_name", name=name).unique()


@query
def blow_up(ctx: QueryCtx, name: str, chars: int) -> dict[str, Any]:
    """The counter's value, and a text that is twice as long on the wire, since every quote is escaped there."""
    return {"value": _value(ctx, name), "text": '"' * chars}
