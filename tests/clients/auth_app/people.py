"""Who asks."""

from typing import Any

from convexpy import ActionCtx, MutationCtx, QueryCtx, action, internal, internal_mutation, mutation, query


@query
def me(ctx: QueryCtx) -> str | None:
    """The subject of whoever asks."""
    identity = ctx.auth.get_user_identity()
    return None if identity is None else identity.subject


@mutation
def sign(ctx: MutationCtx) -> str:
    """Leave a name, or refuse."""
    identity = ctx.auth.get_user_identity()
    if identity is None:
        raise PermissionError("Sign in first.")
    ctx.db.insert("names", {"name": identity.subject})
    ctx.scheduler.run_after(0, internal.people.sign_later, {})
    name: str = identity.subject
    return name


@internal_mutation
def sign_later(ctx: MutationCtx) -> None:
    """What is scheduled runs for nobody."""
    identity = ctx.auth.get_user_identity()
    ctx.db.insert("names", {"name": "nobody" if identity is None else identity.subject})


@query
def names(ctx: QueryCtx) -> list[str]:
    """All that was left."""
    return [row["name"] for row in ctx.db.query("names").collect()]


@action
async def me_through_a_query(ctx: ActionCtx) -> Any:
    """What an action calls runs for the same user."""
    return await ctx.run_query("people:me", {})
