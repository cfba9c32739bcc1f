"""An HTTP action in its worker: the request that the handler reads, and the response on its way to the server.

The head of a response leaves with its first chunk, so an error before that is still an answer with status 500.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import msgspec

from convexpy.functions.http_requests import BlockingRequest, HttpActionRequest
from convexpy.limits import HTTP_CHUNK_BYTES_MAX
from convexpy.runtime.failures import Failure
from convexpy.runtime.http_exchange import RequestHead, RequestPart, ResponsePart

Message = Any  # of ASGI
_pack = msgspec.msgpack.Encoder().encode
_unpack_head = msgspec.msgpack.Decoder(RequestHead).decode
_unpack_part = msgspec.msgpack.Decoder(RequestPart).decode
_unpack_bool = msgspec.msgpack.Decoder(bool).decode


class Operations(Protocol):
    """How a worker reaches the server; see `actions.Operations`."""

    async def operation(self, call_id: int, kind: str, payload: bytes) -> bytes: ...

    def operation_blocking(self, call_id: int, kind: str, payload: bytes) -> bytes: ...


class WorkerExchange:
    """The worker's side of an exchange: an ASGI scope, receive and send over operations.

    Args:
        packed_head: a `RequestHead`.
    """

    def __init__(self, call_id: int, packed_head: bytes, operations: Operations) -> None:
        self.head = _unpack_head(packed_head)
        self._call_id = call_id
        self._operations = operations
        self._is_read = not self.head.has_body
        self._start: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._is_done = False
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},  # nobody has to listen for the client's end
            "method": self.head.method,
            "scheme": self.head.scheme,
            "path": self.head.path,
            "raw_path": self.head.raw_path,
            "root_path": "",
            "query_string": self.head.query_string,
            "http_version": self.head.http_version,
            "headers": self.head.headers,
            "client": self.head.client,
            "server": self.head.server,
        }

    def request(self) -> HttpActionRequest:
        """For an `async def` action."""
        return HttpActionRequest(self.scope, self.receive, self._is_gone)

    def blocking_request(self) -> BlockingRequest:
        """For a `def` action."""
        return BlockingRequest(self.scope, self._receive_blocking, self._is_gone_blocking, asyncio.run)

    async def receive(self) -> Message:
        """The next piece of the body, as an ASGI message."""
        if self._is_read:
            return self._message(RequestPart())
        return self._message(_unpack_part(await self._operations.operation(self._call_id, "http.receive", b"")))

    def _receive_blocking(self) -> Message:
        if self._is_read:
            return self._message(RequestPart())
        return self._message(_unpack_part(self._operations.operation_blocking(self._call_id, "http.receive", b"")))

    async def _is_gone(self) -> bool:
        return _unpack_bool(await self._operations.operation(self._call_id, "http.is_gone", b""))

    def _is_gone_blocking(self) -> bool:
        return _unpack_bool(self._operations.operation_blocking(self._call_id, "http.is_gone", b""))

    def _message(self, part: RequestPart) -> Message:
        if part.is_gone:
            return {"type": "http.disconnect"}
        self._is_read = part.is_last
        return {"type": "http.request", "body": part.body, "more_body": not part.is_last}

    async def send(self, message: Message) -> None:
        """Pass an ASGI message of a response on, and wait until the server has taken it."""
        if message["type"] == "http.response.start":
            self._start = message["status"], [(bytes(name), bytes(value)) for name, value in message["headers"]]
            return
        if self._is_done:
            return  # of HEAD nobody gets the body
        body = memoryview(message.get("body", b""))
        is_last = not message.get("more_body", False)
        if self.head.method == "HEAD":
            body, is_last = body[:0], True
        position = 0
        while True:
            chunk = body[position : position + HTTP_CHUNK_BYTES_MAX]
            position += HTTP_CHUNK_BYTES_MAX
            is_whole = position >= len(body)
            part = ResponsePart(bytes(chunk), is_last and is_whole)
            if self._start is not None:
                part.status, part.headers = self._start
                self._start = None
            elif not chunk and not part.is_last:
                return
            self._is_done = part.is_last
            await self._operations.operation(self._call_id, "http.send", _pack(part))
            if is_whole:
                return


def error_body(failure: Failure, request_id: str, is_redacted: bool) -> bytes:
    """The JSON body of status 500. Source: wire-protocol 8.4."""
    code = f"[Request ID: {request_id}] Server Error"
    shown: dict[str, Any] = {"code": code}
    if not is_redacted:
        shown = {"code": f"{code}: {failure.message}", "trace": failure.frames}
    data = failure.encoded_data("json")
    if data is not None:
        shown["data"] = msgspec.Raw(data)
    return msgspec.json.encode(shown)
