"""Frames on a stream socket: a 4-byte big-endian length, then one msgpack value.

Three readers share one parser: workers block, the committer polls, the server has an asyncio protocol. On the server a
frame costs one callback and no task.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import msgspec

from convexpy.errors import FrameTooLarge
from convexpy.limits import FRAME_BYTES_MAX

LENGTH = struct.Struct(">I")
READ_BYTES = 256 * 1024

_encoder = msgspec.msgpack.Encoder()


def pack_frame(message: Any) -> bytearray:
    """Encode one message with its length in front.

    Raises:
        FrameTooLarge: beyond FRAME_BYTES_MAX; nothing may be sent then.
    """
    frame = bytearray(LENGTH.size)
    _encoder.encode_into(message, frame, LENGTH.size)
    size = len(frame) - LENGTH.size
    _check_size(size)
    LENGTH.pack_into(frame, 0, size)
    return frame


def _check_size(size: int) -> None:
    if size > FRAME_BYTES_MAX:
        raise FrameTooLarge(f"A message between two processes has {size} bytes, at most {FRAME_BYTES_MAX} are allowed.")


class FrameParser:
    """Cuts a byte stream into frames; a frame that arrives in many pieces is joined once."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._needed = LENGTH.size

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived; returns the contents of all frames that are now whole, in order.

        Raises:
            FrameTooLarge: the stream cannot be read on.
        """
        if self._pieces:
            self._pieces.append(data)
            self._size += len(data)
            if self._size < self._needed:
                return []
            data = b"".join(self._pieces)
            self._pieces.clear()
        frames: list[bytes] = []
        position = 0
        while True:
            start = position + LENGTH.size
            if start > len(data):
                self._needed = LENGTH.size
                break
            size: int = LENGTH.unpack_from(data, position)[0]
            _check_size(size)
            end = start + size
            if end > len(data):
                self._needed = end - position
                break
            frames.append(data[start:end])
            position = end
        if position < len(data):
            self._pieces.append(data[position:])
        self._size = len(data) - position
        return frames


class FrameSocket:
    """The blocking end, for a process that does one thing at a time."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._socket = sock
        self._parser = FrameParser()
        self._frames: deque[bytes] = deque()
        # Read into one buffer: a fresh one of this size is mapped and unmapped by the kernel each time.
        self._buffer = memoryview(bytearray(READ_BYTES))

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def has_frame(self) -> bool:
        """A whole frame is here and has not been read."""
        return bool(self._frames)

    def read(self) -> bytes | None:
        """Wait for one frame; None when the other side has closed or died."""
        while not self._frames:
            if not self._receive(0):
                return None
        return self._frames.popleft()

    def read_ready(self) -> bytes | None:
        """Take one frame if it is here already; None if there is none yet, or there will be none any more."""
        while not self._frames:
            try:
                if not self._receive(socket.MSG_DONTWAIT):
                    return None
            except BlockingIOError:
                return None
        return self._frames.popleft()

    def _receive(self, flags: int) -> bool:
        try:
            size = self._socket.recv_into(self._buffer, 0, flags)
        except ConnectionError:
            return False
        self._frames.extend(self._parser.feed(bytes(self._buffer[:size])))
        return size > 0

    def send(self, message: Any) -> None:
        """Write one message and wait until the kernel has taken it.

        Raises:
            FrameTooLarge: nothing was sent.
            ConnectionError: the other side is gone.
        """
        self._socket.sendall(pack_frame(message))


class FrameConnection(asyncio.Protocol):
    """The server's end: a callback a frame, and news of backpressure and of the end.

    Args:
        on_frame: called with each frame's content. If it raises, the connection is closed: the error is ours.
        on_close: called once, after the last frame.
        on_writable: called when the other side has read enough for more to be sent, after `is_writable` was False.
    """

    def __init__(
        self,
        on_frame: Callable[[bytes], None],
        on_close: Callable[[], None],
        on_writable: Callable[[], None] | None = None,
    ) -> None:
        self._on_frame = on_frame
        self._on_close = on_close
        self._on_writable = on_writable
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None
        self.is_open = False
        self.is_writable = True

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        on_frame: Callable[[bytes], None],
        on_close: Callable[[], None],
        on_writable: Callable[[], None] | None = None,
    ) -> FrameConnection:
        """Take over a connected unix socket; it is closed with the connection."""
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(lambda: cls(on_frame, on_close, on_writable), sock=sock)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        for frame in self._parser.feed(data):
            self._on_frame(frame)

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        if self._on_writable is not None:
            self._on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._on_close()

    def send(self, message: Any) -> None:
        """Queue one message; without effect once the connection is closed (`on_close` tells).

        Raises:
            FrameTooLarge: nothing was sent.
        """
        self.send_packed(pack_frame(message))

    def send_packed(self, frame: bytearray) -> None:
        """`send` for a message that `pack_frame` has encoded; it must not be changed afterwards."""
        if self._transport is not None and self.is_open:
            self._transport.write(frame)

    def close(self) -> None:
        """Close when all that was sent is written; `on_close` follows."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; `on_close` follows."""
        if self._transport is not None:
            self._transport.abort()
