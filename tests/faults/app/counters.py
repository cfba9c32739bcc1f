"""Counters by name, and a query of them that says when it runs."""

from typing import Any

from convexpy import MutationCtx, QueryCtx, mutation, query


@query
def read(ctx: QueryCtx, name: str) -> float:
    """The counter's value, 0 if nobody has counted."""
    row = _row(ctx, name)
    return row["value"] if row else 0


@query
def read_aloud(ctx: QueryCtx, name: str) -> float:
    """The same; each run leaves a line in the server's log."""
    row = _row(ctx, name)
    value: float = row["value"] if row else 0
    print(f"{name} is read as {value:g}")
    return value


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


def _row(ctx: QueryCtx | MutationCtx, name: str) -> Any:
    return ctx.db.query("counters").with_index("by_name", name=name).unique()
