"""Serves an HTTP request with an HTTP action, from the server's side, and answers when the action fails."""

from __future__ import annotations

from typing import Protocol

import msgspec

from convexpy.limits import HTTP_RETRY_AFTER_SECONDS
from convexpy.runtime.http_exchange import HttpExchange, RequestHead, RequestPart, ResponsePart
from convexpy.runtime.http_routes import RouteMatch, RouteTable
from convexpy.runtime.interface import FunctionRequest
from convexpy.runtime.messages import Reply

_JSON = [(b"content-type", b"application/json")]


class HttpBackend(Protocol):
    """What runs HTTP actions."""

    http_routes: RouteTable

    async def http_action(self, request: FunctionRequest, exchange: HttpExchange) -> Reply:
        """Run one at most once; `args` of the request is a packed `RequestHead`, `path` the key of a route."""


class _Watched:
    """Knows how far a response has come."""

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange
        self.is_started = self.is_complete = False

    async def receive(self) -> RequestPart:
        return await self._exchange.receive()

    async def is_gone(self) -> bool:
        return await self._exchange.is_gone()

    async def send(self, part: ResponsePart) -> None:
        self.is_started = True
        await self._exchange.send(part)
        self.is_complete = part.is_last


async def serve_http_request(
    backend: HttpBackend, match: RouteMatch, head: RequestHead, identity: bytes | None, exchange: HttpExchange
) -> bool:
    """Serve one request.

    Returns:
        Whether the client has a whole response. If not, the action failed in the middle of it, and the connection is
        to be cut: nothing else tells a client that a response is not what it was to be.
    """
    watched = _Watched(exchange)
    request = FunctionRequest(
        component=match.component,
        path=match.key,
        args=msgspec.msgpack.encode(head),
        identity=identity,
        caller="HttpEndpoint",
    )
    reply = await backend.http_action(request, watched)
    if not reply.is_ok and not watched.is_started:
        await watched.send(_failure(reply))
    return watched.is_complete


def _failure(reply: Reply) -> ResponsePart:
    if reply.loss == "overloaded":
        body = msgspec.json.encode({"code": "TooManyConcurrentRequests", "message": reply.error})
        return ResponsePart(body, True, 503, [*_JSON, (b"retry-after", b"%d" % HTTP_RETRY_AFTER_SECONDS)])
    return ResponsePart(reply.value, True, 500, _JSON)
