"""Stores texts."""

from convexpy import MutationCtx, QueryCtx, mutation, query, v


@mutation(args={"text": v.string()}, returns=v.string())
def put(ctx: MutationCtx, text: str) -> str:
    return ctx.db.insert("parcels", {"text": text})


@query(args={})
def stored(ctx: QueryCtx) -> list[str]:
    return [row["text"] for row in ctx.db.query("parcels")]
