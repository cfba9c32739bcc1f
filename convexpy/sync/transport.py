"""The WebSocket below a sync connection: uvicorn's, plus a way to send text that is encoded already, in fragments.

ASGI knows only whole messages of `str`, and sends by a task's await; here a push to many costs a plain call each.
Official Rust and Python clients take messages of 64 MiB but break at a frame above 16 MiB, so a long message has to
leave in several frames.

Source: wire-protocol 0 (rule 14), 1; RFC 6455 section 5.4.
"""

from __future__ import annotations

from typing import Any

from starlette.websockets import WebSocketDisconnected
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request
from websockets.protocol import State

from convexpy.limits import CLOSE_SECONDS_MAX, FRAGMENT_BYTES_MAX

EXTENSION = "convexpy.transport"


class SyncTransport(WebSocketsSansIOProtocol):
    """A connection that its ASGI scope holds among its extensions.

    A closed transport first sends what it has buffered. To a client that does not read that never ends, and what is
    buffered would stay in memory with it, so here each close has a time by which the socket is simply gone.
    """

    _taken: list[bytes]

    def handle_connect(self, event: Request) -> None:
        self._taken = []
        super().handle_connect(event)
        if self.response.status_code == 101:  # else there is no scope: the upgrade was refused
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[EXTENSION] = self  # before the app's task has had its first step

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # a refusal is an answer too: without this uvicorn logs that none was given

    async def run_asgi(self) -> None:
        await super().run_asgi()
        if not self.disconnected:
            self.loop.call_later(CLOSE_SECONDS_MAX, self.transport.abort)

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()  # who has not answered a ping for so long does not read a close either

    def try_send_text(self, message: bytes) -> bool:
        """Take one text message if the socket has room for it now; False: it has not, or the message is a long one.

        What was taken leaves with `write_through`, all in one write.

        Raises:
            WebSocketDisconnected: the client is gone.
        """
        size = len(message)
        if size > FRAGMENT_BYTES_MAX or not self.writable.is_set():
            return False
        if self.disconnected or self.close_sent or self.conn.state is not State.OPEN:
            raise WebSocketDisconnected
        if self.conn.extensions:
            self.conn.send_text(message)
            self._taken += self.conn.data_to_send()
        elif size < 126:
            self._taken += (b"\x81%c" % size, message)
        elif size < 65536:
            self._taken += (b"\x81\x7e" + size.to_bytes(2, "big"), message)
        else:
            self._taken += (b"\x81\x7f" + size.to_bytes(8, "big"), message)
        return True

    def write_through(self) -> None:
        """Write what `try_send_text` has taken."""
        if self._taken:
            frames = b"".join(self._taken)
            self._taken = []
            self.transport.write(frames)

    async def send_text(self, message: bytes) -> None:
        """Send one text message; returns once the socket has room for the next.

        Args:
            message: UTF-8.

        Raises:
            WebSocketDisconnected: the client is gone.
        """
        if len(message) <= FRAGMENT_BYTES_MAX:
            await self._send_frame(message, is_first=True, is_last=True)
            return
        view = memoryview(message)
        for start in range(0, len(message), FRAGMENT_BYTES_MAX):
            end = start + FRAGMENT_BYTES_MAX
            await self._send_frame(bytes(view[start:end]), is_first=start == 0, is_last=end >= len(message))

    async def _send_frame(self, part: bytes, *, is_first: bool, is_last: bool) -> None:
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise WebSocketDisconnected
        self._write_frame(part, is_first=is_first, is_last=is_last)

    def _write_frame(self, part: bytes, *, is_first: bool, is_last: bool) -> None:
        try:
            if is_first:
                self.conn.send_text(part, fin=is_last)
            else:
                self.conn.send_continuation(part, fin=is_last)
        except InvalidState:
            raise WebSocketDisconnected from None
        self.transport.write(b"".join(self.conn.data_to_send()))


def transport_of(scope: Any) -> SyncTransport:
    """The connection of an ASGI scope, to send on; it must be served as `server.UVICORN_SETTINGS` says."""
    transport: SyncTransport = scope["extensions"][EXTENSION]
    return transport
