"""What every request to the API port passes: one spelling of the path, and CORS for browsers.

Source: wire-protocol 0 (rule 18), 8.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
