"""Uploads as apps do them, and files that actions make."""

from typing import Any

from convexpy import ActionCtx, BlockingActionCtx, MutationCtx, QueryCtx, action, mutation, query, v


@mutation
def upload_url(ctx: MutationCtx) -> str:
    return ctx.storage.generate_upload_url()


@mutation(args={"file": v.id("_storage")})
def keep(ctx: MutationCtx, file: str) -> str:
    return ctx.db.insert("kept", {"file": file})


@query(args={"file": v.id("_storage")})
def show(ctx: QueryCtx, file: str) -> Any:
    return {"row": ctx.db.system.get(file), "url": ctx.storage.get_url(file)}


@query
def count(ctx: QueryCtx) -> int:
    return len(ctx.db.system.query("_storage").collect())


@mutation
def delete(ctx: MutationCtx, file: str) -> None:
    ctx.storage.delete(file)


@mutation
def delete_and_throw(ctx: MutationCtx, file: str) -> None:
    ctx.storage.delete(file)
    raise ValueError("changed my mind")


@mutation
def delete_in_vain(ctx: MutationCtx, file: str) -> None:
    try:
        ctx.run_mutation(delete_and_throw, {"file": file})
    except ValueError:
        ctx.db.insert("kept", {"file": file})


@action
async def store(ctx: ActionCtx, text: str) -> Any:
    file = await ctx.storage.store(text.encode(), content_type="text/plain")
    blob = await ctx.storage.get(file)
    return {"file": file, "text": await blob.text(), "metadata": await ctx.storage.get_metadata(file)}


@action
def store_blocking(ctx: BlockingActionCtx, text: str) -> Any:
    file = ctx.storage.store(text.encode())
    return {"file": file, "text": ctx.storage.get(file).text()}
