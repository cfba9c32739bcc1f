"""One HTTP request and its response between the server and the action worker that serves it.

The worker asks for every chunk of the request and waits for every chunk of the response to be taken, by operations of
its action. So at most one chunk of each is on its way, and a slow side slows the other down.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
from msgspec import Struct

from convexpy.errors import ConvexpyError

Headers = list[tuple[bytes, bytes]]


class RequestHead(Struct, array_like=True, kw_only=True):
    """A request without its body; `path` is below the origin of the site."""

    method: str
    path: str
    raw_path: bytes
    query_string: bytes
    headers: Headers
    scheme: str = "http"
    http_version: str = "1.1"
    client: tuple[str, int] | None = None
    server: tuple[str, int | None] | None = None
    has_body: bool = False
    identity_error: str = ""  # why nobody can be said to call; shown when the action asks who does


class ResponsePart(Struct, array_like=True):
    """A piece of a response; the first one has the status and the headers."""

    body: bytes
    is_last: bool
    status: int | None = None
    headers: Headers = []


class RequestPart(Struct, array_like=True):
    """A piece of a request's body; `is_gone`: the client has left, and there is no more."""

    body: bytes = b""
    is_last: bool = True
    is_gone: bool = False


class HttpExchange(Protocol):
    """The client's side, held by the server."""

    async def receive(self) -> RequestPart:
        """Wait for the next piece of the body."""

    async def send(self, part: ResponsePart) -> None:
        """Pass a piece on; returns when there is room for another. What a client who has left would get is dropped."""

    async def is_gone(self) -> bool:
        """Whether the client is known to have left."""


_pack = msgspec.msgpack.Encoder().encode
_unpack_response = msgspec.msgpack.Decoder(ResponsePart).decode


class Exchanges:
    """The exchanges of the HTTP actions that run now, by the ids of their calls."""

    def __init__(self) -> None:
        self._running: dict[int, HttpExchange] = {}

    def begin(self, call_id: int, exchange: HttpExchange) -> None:
        self._running[call_id] = exchange

    def end(self, call_id: int) -> None:
        del self._running[call_id]

    async def handle(self, call_id: int, kind: str, payload: bytes) -> bytes:
        """An operation `http.…` of an HTTP action.

        Raises:
            ConvexpyError: the action has ended, or its response cannot be sent.
        """
        exchange = self._running.get(call_id)
        if exchange is None:
            raise ConvexpyError("The HTTP request of this action has been answered already.")
        if kind == "http.receive":
            return _pack(await exchange.receive())
        if kind == "http.is_gone":
            return _pack(await exchange.is_gone())
        assert kind == "http.send", kind
        try:
            await exchange.send(_unpack_response(payload))
        except (RuntimeError, ValueError) as error:
            raise ConvexpyError(f"The response cannot be sent: {error}") from error
        return b""
