"""HTTP actions that answer whatever comes, with what they made of it."""

from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from convexpy import (
    ActionCtx,
    BlockingActionCtx,
    BlockingRequest,
    Request,
    Response,
    StreamingResponse,
    http_router,
    json_response,
)

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
NOT_SOUND = (ValueError, RecursionError, MultiPartException, ClientDisconnect)

http = http_router()


@http.route("/hello")
async def hello(ctx: ActionCtx, request: Request) -> Response:
    """What a page asks for first."""
    return Response("hello")


@http.route(path_prefix="/read/", methods=METHODS)
async def read(ctx: ActionCtx, request: Request) -> Response:
    """The body as its type says, or 400."""
    kind = request.headers.get("content-type", "")
    try:
        if "json" in kind:
            return json_response({"json": type(await request.json()).__name__, "url": str(request.url)})
        if "form" in kind:
            return json_response({"form": len(await request.form()), "cookies": len(request.cookies)})
        return json_response({"bytes": len(await request.body()), "query": len(request.query_params)})
    except NOT_SOUND as error:
        return json_response({"error": type(error).__name__}, status=400)


@http.route(path_prefix="/read-blocking/", methods=METHODS)
def read_blocking(ctx: BlockingActionCtx, request: BlockingRequest) -> Response:
    """The same in a thread."""
    kind = request.headers.get("content-type", "")
    try:
        if "json" in kind:
            return json_response({"json": type(request.json()).__name__, "url": str(request.url)})
        if "form" in kind:
            return json_response({"form": len(request.form()), "cookies": len(request.cookies)})
        return json_response({"bytes": len(request.body()), "query": len(request.query_params)})
    except NOT_SOUND as error:
        return json_response({"error": type(error).__name__}, status=400)


@http.route("/echo", methods=["POST", "PUT"])
async def echo(ctx: ActionCtx, request: Request) -> Response:
    """What comes goes back while it comes; a body that is cut off cuts the answer off."""
    return StreamingResponse(request.stream(), media_type=request.headers.get("x-type"))
