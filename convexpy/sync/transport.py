"""The WebSocket below a sync connection: uvicorn's, plus short ways for text in and for encoded text out.

ASGI knows only whole messages of `str`, and moves them by a task's await; here a message costs a plain call, either
way. Official Rust and Python clients take messages of 64 MiB but break at a frame above 16 MiB, so a long message has
to leave in several frames.

Source: wire-protocol 0 (rule 14), 1; RFC 6455 section 5.4.
"""

from __future__ import annotations

from typing import Any, Protocol

from starlette.websockets import WebSocketDisconnected
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request
from websockets.protocol import State

from convexpy.limits import CLOSE_SECONDS_MAX, FRAGMENT_BYTES_MAX

try:
    from websockets.speedups import apply_mask
except ImportError:  # no compiled one for this machine
    from websockets.utils import apply_mask

EXTENSION = "convexpy.transport"
_TEXT = 0x81  # a whole message in one frame that is not compressed: FIN, opcode 1
_MASKED = 0x80
_HEAD_END = b"\r\n\r\n"
_KEPT_BYTES_MAX = 0xFFFF


class TextReceiver(Protocol):
    """Who is told of a client's messages as they arrive."""

    def take_text(self, text: str) -> bool:
        """Take one message; False: not now, it is to be received as ASGI has it, and those after it too."""


class SyncTransport(WebSocketsSansIOProtocol):
    """A connection that its ASGI scope holds among its extensions.

    A closed transport first sends what it has buffered. To a client that does not read that never ends, and what is
    buffered would stay in memory with it, so here each close has a time by which the socket is simply gone.
    """

    _taken: list[bytes]
    _receiver: TextReceiver | None = None
    _last_bytes = b""  # of what came before there was a receiver
    _pieces: list[bytes]  # of a frame that is not whole yet
    _pieces_size = 0
    _needed_size = 0  # how many bytes of it are to be there before it is looked at again

    def handle_connect(self, event: Request) -> None:
        self._taken, self._pieces = [], []
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

    def deliver_to(self, receiver: TextReceiver) -> None:
        """Tell `receiver` of each message from now on, in the step in which it is read."""
        # Frames before the upgrade is answered are against the protocol; if any came, the library may hold part of one.
        if self._last_bytes == _HEAD_END:
            self._receiver = receiver

    def data_received(self, data: bytes) -> None:
        """Read plain text frames here; all else about a WebSocket is for the protocol's library, in whole frames."""
        if self._receiver is None:
            self._last_bytes = (self._last_bytes + data)[-len(_HEAD_END) :]
            super().data_received(data)
            return
        if self._pieces:
            self._pieces.append(data)
            self._pieces_size += len(data)
            if self._pieces_size < self._needed_size:
                return
            data = b"".join(self._pieces)
            self._pieces = []
        position, size = 0, len(data)
        while position < size and self.conn.parser_exc is None:
            start, end = _frame_ends(data, position)
            if end - start > self.config.ws_max_size:
                end = size  # by its head alone the library refuses it
            elif end > size:
                self._pieces, self._pieces_size = [data[position:]], size - position
                self._needed_size = end - position
                return
            elif self._take_frame(data, position, start, end):
                position = end
                continue
            super().data_received(data[position:end])
            position = end

    def _take_frame(self, data: bytes, position: int, start: int, end: int) -> bool:
        """Hand on a frame if it is a message as clients nearly always send them, and one is to be handed on now."""
        if data[position] != _TEXT or not data[position + 1] & _MASKED or self.frames or not self.queue.empty():
            return False
        if self.conn.state is not State.OPEN or self.close_sent:
            return False
        try:
            text = apply_mask(data[start:end], data[start - 4 : start]).decode()
        except UnicodeDecodeError:
            return False
        assert self._receiver is not None
        return self._receiver.take_text(text)

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
        else:
            self._taken.append(_framed(message))
        return True

    def write_through(self) -> None:
        """Write what `try_send_text` has taken."""
        taken = self._taken
        if taken:
            self._taken = []
            self.transport.write(taken[0] if len(taken) == 1 else b"".join(taken))

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


def _frame_ends(data: bytes, position: int) -> tuple[int, int]:
    """Where a frame's payload begins and ends; where its head is not whole, the end is that of what is needed."""
    left = len(data) - position
    if left < 2:
        return position, position + 2
    second = data[position + 1]
    size, start = second & 0x7F, position + 2
    if size >= 126:
        start += 2 if size == 126 else 8
        if start > len(data):
            return position, start
        size = int.from_bytes(data[position + 2 : start], "big")
    if second & _MASKED:
        start += 4
    return start, start + size


_last_framed = (b"", b"\x81\x00")


def _framed(message: bytes) -> bytes:
    """A text frame. What goes to many goes to one after the other, so the last one is kept if it is short."""
    global _last_framed
    last, frame = _last_framed
    if message is last:
        return frame
    size = len(message)
    if size < 126:
        head = b"\x81%c" % size
    elif size <= _KEPT_BYTES_MAX:
        head = b"\x81\x7e" + size.to_bytes(2, "big")
    else:
        return b"\x81\x7f" + size.to_bytes(8, "big") + message
    frame = head + message
    _last_framed = (message, frame)
    return frame
