"""What requests pass before routing: one spelling of the path, CORS for browsers, an answer when the server stops.

Source: wire-protocol 0 (rule 18), 8.
"""

from __future__ import annotations

import asyncio
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convexpy.http.errors import overloaded

METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
MAX_AGE_SECONDS = 86_400


class CollapseSlashes:
    """Read `//api/query` as `/api/query`: clients put their base URL and the path together as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and "//" in scope["path"]:
            scope = {**scope, "path": re.sub("/{2,}", "/", scope["path"])}
        await self._app(scope, receive, send)


class MirrorCors:
    """Let any origin in, with credentials, by repeating what the browser says.

    Not for `/http/`: an app's own HTTP actions decide for themselves.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/http/"):
            await self._app(scope, receive, send)
            return
        request = Headers(scope=scope)
        origin = request.get("origin")
        if origin is None:
            await self._app(scope, receive, send)
            return
        allowed = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        }
        if scope["method"] == "OPTIONS" and "access-control-request-method" in request:
            allowed["Access-Control-Allow-Methods"] = METHODS
            allowed["Access-Control-Max-Age"] = str(MAX_AGE_SECONDS)
            if asked := request.get("access-control-request-headers"):
                allowed["Access-Control-Allow-Headers"] = asked
            await Response(headers=allowed)(scope, receive, send)
            return

        async def send_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(allowed)
            await send(message)

        await self._app(scope, receive, send_allowed)


class AnswerAtTheEnd:
    """Answer 503 to a request that the server's own end cancels; a response that has begun is cut off."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def send_noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except asyncio.CancelledError:  # uvicorn cancels what still runs some seconds after it was told to stop
            if not has_begun:
                answer = overloaded("ServerStopping", "The server was stopped before this call was done.")
                await answer(scope, receive, send)
