"""What the HTTP actions of this app read and write."""

from convexpy import ActionCtx, MutationCtx, QueryCtx, action, mutation, query


@mutation
def add(ctx: MutationCtx, text: str) -> str:
    return ctx.db.insert("rows", {"text": text})


@query
def texts(ctx: QueryCtx) -> list[str]:
    return [row["text"] for row in ctx.db.query("rows")]


@action
async def act(ctx: ActionCtx) -> str:
    """There is room for this."""
    return "acted"
