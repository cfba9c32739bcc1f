"""Frames survive whatever a stream does to them."""

from __future__ import annotations

import asyncio
import random
import socket
import threading

import msgspec
import pytest

from convexpy.errors import FrameTooLarge
from convexpy.processes import frames
from convexpy.processes.frames import FrameConnection, FrameParser, FrameSocket, pack_frame
from tests.processes.rig import run


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_cut_anywhere_gives_the_same_frames(seed: int) -> None:
    """The kernel keeps the order of bytes and nothing else."""
    choice = random.Random(seed)
    messages = [choice.randbytes(choice.choice([0, 1, 3, 4, 5, 1000, 70_000])) for _ in range(30)]
    stream = b"".join(bytes(pack_frame(message)) for message in messages)
    parser = FrameParser()

    received = []
    position = 0
    while position < len(stream):
        size = choice.choice([1, 2, 3, 4, 5, 100, 50_000])
        received += parser.feed(stream[position : position + size])
        position += size

    assert [msgspec.msgpack.decode(frame) for frame in received] == messages, f"seed {seed}"


def test_a_frame_over_the_bound_is_refused_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A length that is garbage must not make the reader wait for gigabytes."""
    monkeypatch.setattr(frames, "FRAME_BYTES_MAX", 100)

    with pytest.raises(FrameTooLarge, match="at most 100"):
        pack_frame(b"x" * 101)
    with pytest.raises(FrameTooLarge):
        FrameParser().feed(b"\xff\xff\xff\xff")


def test_the_blocking_end_reads_one_frame_at_a_time_and_knows_the_end() -> None:
    """Frames that arrived together are handed out one by one; what was cut off at the end is no frame."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = FrameSocket(ours)
        assert reader.read_ready() is None

        theirs.sendall(bytes(pack_frame("a")) + bytes(pack_frame("b")) + b"\x00\x00")
        theirs.shutdown(socket.SHUT_WR)

        assert reader.read() == msgspec.msgpack.encode("a")
        assert reader.has_frame
        assert reader.read_ready() == msgspec.msgpack.encode("b")
        assert reader.read() is None


def test_a_connection_passes_frames_on_and_tells_of_backpressure_and_of_the_end() -> None:
    """A side that does not read is noticed before its messages pile up without bound."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        received: list[bytes] = []
        closed, writable = asyncio.Event(), asyncio.Event()
        connection = await FrameConnection.open(ours, received.append, closed.set, writable.set)

        while connection.is_writable:
            connection.send(b"x" * 100_000)
        reader = FrameSocket(theirs)
        draining = threading.Thread(target=lambda: [None for _ in iter(reader.read, None)])
        draining.start()
        await writable.wait()
        assert connection.is_writable

        connection.close()
        await closed.wait()
        draining.join()
        theirs.close()
        connection.send("nobody hears this")
        assert not connection.is_open

    run(main())


def test_an_error_in_a_frame_callback_closes_the_connection() -> None:
    """Half a batch published is worse than a server that ends: the owner hears of the close and decides."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        closed = asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)

        def fail(frame: bytes) -> None:
            raise AssertionError("a bug")

        await FrameConnection.open(ours, fail, closed.set)
        with theirs:
            theirs.sendall(pack_frame(1))
            await closed.wait()

    run(main())
