"""An HTTP client that costs little, so that what is measured is the server: one keep-alive connection, no pool.

The same client loads convexpy and its peers; requests are bytes that are built once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import httptools

START_SECONDS_MAX = 60
HOST = "127.0.0.1"


def request(method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of one request; a body is sent as JSON."""
    payload = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}"]
    if payload:
        lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + payload


class HttpConnection(asyncio.Protocol):
    """One connection; answers come in the order of the requests."""

    def __init__(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._pieces: list[bytes] = []
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, port: int) -> HttpConnection:
        """Connect on this machine."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, HOST, port)
        return connection

    def send(self, message: bytes) -> asyncio.Future[bytes]:
        """Send what `request` has built; the body of the answer.

        Raises:
            RuntimeError: by the future: the answer's status is not one of success.
            ConnectionError: by the future: the server has closed the connection.
        """
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._transport.write(message)
        return future

    def close(self) -> None:
        """Drop the connection."""
        self._transport.close()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_exception(ConnectionError("the server has closed the connection"))

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        body, self._pieces = b"".join(self._pieces), []
        status, future = self._parser.get_status_code(), self._waiting.popleft()
        if future.cancelled():
            return
        if 200 <= status < 300:
            future.set_result(body)
        else:
            future.set_exception(RuntimeError(f"the server answered {status}: {body[:500]!r}"))


class EventStream(HttpConnection):
    """An answer that never ends: server-sent events, each one's bytes given to `on_event`."""

    def __init__(self, on_event: Callable[[bytes], None]) -> None:
        super().__init__()
        self._on_event = on_event
        self._rest = b""

    @classmethod
    async def listen(cls, port: int, path: str, on_event: Callable[[bytes], None]) -> EventStream:
        """Connect on this machine and ask for the stream."""
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(lambda: cls(on_event), HOST, port)
        stream._transport.write(request("GET", path, headers={"Accept": "text/event-stream"}))
        return stream

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            self._on_event(event)


async def wait_until_answered(port: int, message: bytes) -> bytes:
    """Send a request again and again until it succeeds: how one waits for a server's start.

    Raises:
        RuntimeError: it has not within START_SECONDS_MAX; the text is that of the last answer.
    """
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            connection = await HttpConnection.open(port)
            try:
                return await connection.send(message)
            finally:
                connection.close()
        except (OSError, RuntimeError) as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no success on port {port} after {START_SECONDS_MAX} s: {error}") from error
        await asyncio.sleep(0.1)
