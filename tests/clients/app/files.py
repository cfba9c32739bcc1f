"""Stored files, by what has to be named to reach them."""

from typing import Any

from convexpy import MutationCtx, QueryCtx, mutation, query, v


@mutation
def upload_url(ctx: MutationCtx) -> str:
    """Where to send a file."""
    return ctx.storage.generate_upload_url()


@query(args={"file": v.id("_storage")})
def show(ctx: QueryCtx, file: str) -> Any:
    """The file's row and URL."""
    return {"row": ctx.db.system.get(file), "url": ctx.storage.get_url(file)}
