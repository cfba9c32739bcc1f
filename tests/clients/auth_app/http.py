"""Who asks, over plain HTTP."""

from convexpy import ActionCtx, Request, Response, http_router

http = http_router()


@http.route("/me")
async def me(ctx: ActionCtx, request: Request) -> Response:
    """The subject of whoever asks, as the action sees it and as a query that it calls does."""
    identity = ctx.auth.get_user_identity()
    called = await ctx.run_query("people:me", {})
    return Response(f"{identity and identity.subject} {called}")
