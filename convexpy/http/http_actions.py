"""HTTP actions behind ASGI: finds the route, tells who calls, and moves chunks between client and action.

Source: wire-protocol 8.4.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from convexpy.errors import ConvexpyError, Unauthenticated
from convexpy.http.authorization import caller_of
from convexpy.http.errors import overloaded
from convexpy.limits import HTTP_ACTIONS_IN_FLIGHT_MAX
from convexpy.runtime.http_calls import HttpBackend, serve_http_request
from convexpy.runtime.http_exchange import RequestHead, RequestPart, ResponsePart
from convexpy.runtime.http_routes import RouteMatch
from convexpy.runtime.identity import Authenticator


class AppHttpActions:
    """Implements `site.HttpActions` for the code that is live. With HTTP_ACTIONS_IN_FLIGHT_MAX running it refuses more:
    an action may run for minutes, and waiting behind it would look like a dead server.
    """

    def __init__(self, backend: HttpBackend, authenticator: Authenticator) -> None:
        self._backend = backend
        self._authenticator = authenticator
        self._in_flight = 0

    @property
    def is_empty(self) -> bool:
        """See `site.HttpActions`."""
        return self._backend.http_routes.is_empty

    def find(self, method: str, path: str) -> ASGIApp | None:
        """See `site.HttpActions`."""
        match = self._backend.http_routes.find(method, path)
        if match is None:
            return None

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if self._in_flight >= HTTP_ACTIONS_IN_FLIGHT_MAX:
                text = f"{HTTP_ACTIONS_IN_FLIGHT_MAX} HTTP actions are running. Try again later."
                await overloaded("TooManyConcurrentRequests", text)(scope, receive, send)
                return
            self._in_flight += 1
            try:
                await self._serve(match, path, scope, receive, send)
            finally:
                self._in_flight -= 1

        return serve

    async def _serve(self, match: RouteMatch, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        identity: bytes | None = None
        identity_error = ""
        try:
            identity = (await caller_of(Request(scope), self._authenticator)).identity
        except Unauthenticated as error:
            identity_error = str(error)  # the header may be meant for the app alone
        except ConvexpyError as error:
            identity_error = str(error)
        names = {name for name, _ in scope["headers"]}
        raw_path: bytes = scope.get("raw_path") or path.encode()
        head = RequestHead(
            method=scope["method"],
            path=path,
            raw_path=raw_path.removeprefix(scope.get("root_path", "").encode()),
            query_string=scope["query_string"],
            headers=list(scope["headers"]),
            scheme=scope["scheme"],
            http_version=scope["http_version"],
            client=scope.get("client"),
            server=scope.get("server"),
            has_body=b"content-length" in names or b"transfer-encoding" in names,
            identity_error=identity_error,
        )
        exchange = _AsgiExchange(receive, send)
        try:
            # A response that is not whole is left as it is: uvicorn then closes the connection.
            await serve_http_request(self._backend, match, head, identity, exchange)
        finally:
            exchange.close()


class _AsgiExchange:
    """Implements `HttpExchange` over an ASGI server."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._watch: asyncio.Task[None] | None = None
        self._is_gone = False

    async def receive(self) -> RequestPart:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._is_gone = True
            return RequestPart(is_gone=True)
        return RequestPart(message.get("body", b""), not message.get("more_body", False))

    async def send(self, part: ResponsePart) -> None:
        if part.status is not None:
            await self._send({"type": "http.response.start", "status": part.status, "headers": part.headers})
        await self._send({"type": "http.response.body", "body": part.body, "more_body": not part.is_last})

    async def is_gone(self) -> bool:
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._watch_for_end(), name="watch an HTTP client")
            await asyncio.sleep(0)
        return self._is_gone

    async def _watch_for_end(self) -> None:
        """Who asks whether the client is there has read what it wants of the body; the rest is dropped."""
        while not self._is_gone:
            self._is_gone = (await self._receive())["type"] == "http.disconnect"

    def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
