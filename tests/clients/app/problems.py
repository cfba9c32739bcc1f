"""Functions that fail, each in its own way."""

from typing import Any

from convexpy import ConvexError, MutationCtx, QueryCtx, action, mutation, query

DATA: dict[str, Any] = {"code": "full", "seats": 3, "waiting": ["Ada", "Grace"]}


@mutation
def refuse(ctx: MutationCtx, name: str) -> None:
    """Write, then refuse: the write must be gone."""
    ctx.db.insert("counters", {"name": name, "value": 1})
    raise ConvexError(DATA)


@query
def refuse_above(ctx: QueryCtx, name: str, most: float) -> float:
    """A query that turns into an error when a counter passes a bound, and back."""
    row = ctx.db.query("counters").with_index("by_name", name=name).unique()
    value: float = row["value"] if row else 0
    if value > most:
        raise ConvexError({"code": "tooMany", "value": value})
    return value


@mutation
def crash(ctx: MutationCtx) -> None:
    """A mistake of the application's author."""
    raise KeyError("the password is swordfish")


@action
async def refuse_in_action(ctx: Any) -> None:
    """An application error out of an action."""
    raise ConvexError(DATA)
