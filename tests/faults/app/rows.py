"""Rows that a test writes and counts afterwards."""

from convexpy import MutationCtx, QueryCtx, internal_query, mutation, query


@mutation
def add(ctx: MutationCtx, round: str, name: str) -> None:
    """One row."""
    ctx.db.insert("rows", {"round": round, "name": name})


@query
def names(ctx: QueryCtx, round: str) -> list[str]:
    """All rows of a round, each as often as it is there."""
    return [row["name"] for row in ctx.db.query("rows").with_index("by_round", round=round).collect()]


@internal_query
def secret(ctx: QueryCtx) -> str:
    """Nobody outside may call this."""
    return "secret"


@mutation
def stamp(ctx: MutationCtx, round: str, name: str) -> str:
    """One row with something random in it, which is the answer: a second execution would answer otherwise."""
    token = str(ctx.random.getrandbits(60))
    ctx.db.insert("rows", {"round": round, "name": f"{name} {token}"})
    return token


@mutation
def fill(ctx: MutationCtx, round: str, name: str, chars: int) -> None:
    """A row of any size."""
    ctx.db.insert("rows", {"round": round, "name": name + "x" * chars})


@mutation
def remove_one(ctx: MutationCtx, round: str) -> bool:
    """Delete the oldest row; whether there was one."""
    row = ctx.db.query("rows").with_index("by_round", round=round).first()
    if row is not None:
        ctx.db.delete(row["_id"])
    return row is not None


@query
def count(ctx: QueryCtx, round: str) -> int:
    """How many rows there are."""
    return len(ctx.db.query("rows").with_index("by_round", round=round).collect())
