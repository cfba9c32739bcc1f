"""Routes of every kind that the tests ask for."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from convexpy import (
    ActionCtx,
    BlockingActionCtx,
    BlockingRequest,
    ConvexError,
    Request,
    Response,
    StreamingResponse,
    api,
    http_action,
    http_router,
    json_response,
)

http = http_router()


@http.route("/rows", method="POST")
@http_action
async def add(ctx: ActionCtx, request: Request) -> Response:
    await ctx.run_mutation(api.rows.add, {"text": (await request.json())["text"]})
    return json_response({"texts": await ctx.run_query(api.rows.texts)}, status=201)


@http.route("/blocking", method="POST")
def blocking(ctx: BlockingActionCtx, request: BlockingRequest) -> Response:
    ctx.run_mutation(api.rows.add, {"text": request.json()["text"]})
    return json_response(ctx.run_query(api.rows.texts))


@http.route("/files/a")
async def exact(ctx: ActionCtx, request: Request) -> Response:
    return Response("exact")


@http.route(path_prefix="/files/", methods=["GET", "DELETE"])
async def short(ctx: ActionCtx, request: Request) -> Response:
    return Response(f"{request.method} short {request.url.path}")


@http.route(path_prefix="/files/deep/")
async def long(ctx: ActionCtx, request: Request) -> Response:
    return Response("long", headers={"X-Query": request.url.query})


@http.route("/digest", methods=["POST"])
async def digest(ctx: ActionCtx, request: Request) -> Response:
    found, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        found.update(chunk)
        size += len(chunk)
    return json_response({"digest": found.hexdigest(), "size": size})


@http.route("/length", method="POST")
async def length(ctx: ActionCtx, request: Request) -> Response:
    return json_response(len(await request.body()))


@http.route("/form", method="POST")
async def form(ctx: ActionCtx, request: Request) -> Response:
    return json_response(dict(await request.form()))


@http.route("/zeros")
async def zeros(ctx: ActionCtx, request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(int(request.query_params["mib"])):
            yield bytes(1024 * 1024)

    return StreamingResponse(chunks(), media_type="application/octet-stream")


@http.route("/large")
async def large(ctx: ActionCtx, request: Request) -> Response:
    return Response(bytes(20 * 1024 * 1024 + 1))


@http.route("/nothing")
async def nothing(ctx: ActionCtx, request: Request) -> str:
    return "text"


@http.route("/head")
async def head(ctx: ActionCtx, request: Request) -> Response:
    """A response with the status and the header that are asked for."""
    asked = request.query_params
    return Response("body", int(asked["status"]), {asked["name"]: asked["value"]})


@http.route("/fail")
async def fail(ctx: ActionCtx, request: Request) -> Response:
    raise ValueError("the secret")


@http.route("/refuse")
async def refuse(ctx: ActionCtx, request: Request) -> Response:
    raise ConvexError({"why": "no"})


@http.route("/fail-streaming")
async def fail_streaming(ctx: ActionCtx, request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(int(request.query_params["after"])):
            yield b"chunk %d\n" % number
        raise ValueError("the stream broke")

    return StreamingResponse(chunks())


@http.route("/who")
async def who(ctx: ActionCtx, request: Request) -> Response:
    identity = ctx.auth.get_user_identity()
    return json_response(identity and identity.subject)


@http.route("/nobody")
async def nobody(ctx: ActionCtx, request: Request) -> Response:
    return Response("served")


@http.route("/until-gone")
async def until_gone(ctx: ActionCtx, request: Request) -> Response:
    """Streams until its client leaves, and then writes down that it was there to see it."""

    async def chunks() -> AsyncIterator[bytes]:
        while not await request.is_disconnected():
            yield b"tick\n"
            await asyncio.sleep(0.01)
        await ctx.run_mutation(api.rows.add, {"text": "ran to its end"})

    return StreamingResponse(chunks())


@http.route("/blocking-form", method="POST")
def blocking_form(ctx: BlockingActionCtx, request: BlockingRequest) -> Response:
    """What each field holds; of files their name and size."""
    shown = {}
    for name, value in request.form().multi_items():
        shown[name] = value if isinstance(value, str) else [value.filename, len(value.file.read())]
    return json_response([shown, dict(request.form()).keys() == shown.keys()])


@http.route(path_prefix="/blocking-body/", methods=["GET", "POST"])
def blocking_body(ctx: BlockingActionCtx, request: BlockingRequest) -> Response:
    """The body by each of the ways to read it."""
    how = request.url.path.rpartition("/")[2]
    if how == "body":
        return json_response([len(request.body()), request.body() == request.body()])
    if how == "text":
        return json_response([request.text(), request.text()])
    if how == "json":
        return json_response([request.json(), request.json()])
    if how == "stream":
        return json_response(sum(map(len, request.stream())))
    if how == "stream-twice":
        list(request.stream())
        return json_response(len(request.body()))
    head = [request.method, request.url.query, request.query_params["x"], request.cookies, request.headers["x-name"]]
    return json_response(head)


@http.route("/forever")
async def forever(ctx: ActionCtx, request: Request) -> Response:
    """A response without end."""

    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"tick\n"
            await asyncio.sleep(0.01)

    return StreamingResponse(chunks())


@http.route("/echo", methods=["POST"])
async def echo(ctx: ActionCtx, request: Request) -> Response:
    """Send back what comes, while it comes."""
    return StreamingResponse(request.stream(), media_type="application/octet-stream")
