"""What the raw parts do here and now: LMDB's commit, a WebSocket's echo and broadcast, a frame between processes.

Each function is one run.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import lmdb
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.common import SECONDS, T, free_ports, percentile, run, scratch_folder, server_process
from benchmarks.countdown import Countdown
from benchmarks.load import BODY, one_after_another
from benchmarks.raw_server import READY

VALUE = os.urandom(200)
TEXT = b"e" * 200
FRAME = b"f" * 300  # about the length of a small mutation's call
BROADCASTS = 20
MUTATION = b'{"type":"Mutation","requestId":1234,"udfPath":"notes:add","args":[{"body":"%b"}]}' % BODY.encode()


def puts_a_second(puts: int) -> float:
    """Durable puts with `puts` of them in a commit: what that many clients could share one fsync for."""
    return puts * 1e3 / statistics.mean(_commits(puts))


def commit_p50_ms() -> float:
    """Durable commits of one put each."""
    return percentile(_commits(1), 0.5)


def _commits(puts: int) -> list[float]:
    """Milliseconds of each commit."""

    async def commit() -> None:
        with environment.begin(write=True) as transaction:
            for _ in range(puts):
                transaction.put(os.urandom(16), VALUE)

    with scratch_folder() as folder, lmdb.open(str(folder), map_size=1 << 30) as environment:
        (taken,) = run(one_after_another([commit], SECONDS))
    return taken


def echoes_a_second(connections: int) -> float:
    """Messages that go to the WebSocket server and back, one at a time on each connection."""
    return _with_server(lambda port: _exchanges_a_second(port, connections, TEXT, 1))


def answers_a_second(connections: int) -> float:
    """The same with frames of a mutation: one request in, the two answers out, and nothing in between."""
    return _with_server(lambda port: _exchanges_a_second(port, connections, MUTATION, 2))


def echo_p50_ms() -> float:
    """Messages that go to the WebSocket server and back, one at a time on one connection."""
    return percentile(_with_server(_echoes), 0.5)


def round_trip_p50_ms() -> float:
    """Frames that go through a unix socket to another process and back, one at a time.

    As between server and worker: here a loop, there a process that blocks until something comes.
    """
    ours, theirs = socket.socketpair()
    other = multiprocessing.get_context("fork").Process(target=_send_back, args=(theirs, ours), daemon=True)
    other.start()
    theirs.close()

    async def measure() -> list[float]:
        loop = asyncio.get_running_loop()
        back: asyncio.Future[None] = loop.create_future()

        class Ours(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                back.set_result(None)

        ours.setblocking(False)
        transport, _ = await loop.create_unix_connection(Ours, sock=ours)

        async def there_and_back() -> None:
            nonlocal back
            back = loop.create_future()
            transport.write(FRAME)
            await back

        (taken,) = await one_after_another([there_and_back], SECONDS)
        transport.close()
        return taken

    try:
        return percentile(run(measure()), 0.5)
    finally:
        other.join(5)
        other.close()


def _send_back(theirs: socket.socket, ours: socket.socket) -> None:
    ours.close()
    while data := theirs.recv(65536):
        theirs.sendall(data)


def broadcast_p50_ms(connections: int) -> float:
    """From the request to the last of `connections` deliveries of one 500-byte message."""
    return percentile(_with_server(lambda port: _broadcasts(port, connections)), 0.5)


def _with_server(measure: Callable[[int], Coroutine[Any, Any, T]]) -> T:
    (port,) = free_ports(1)
    with server_process([sys.executable, "-m", "benchmarks.raw_server", str(port)], READY):
        return run(measure(port))


class _Client(WSListener):
    transport: WSTransport
    on_text: Callable[[], None]
    frames = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.on_text()

    def send(self, text: bytes) -> None:
        self.transport.send(WSMsgType.TEXT, text)


@contextlib.asynccontextmanager
async def _clients(port: int, count: int) -> AsyncIterator[list[_Client]]:
    clients = []
    for _ in range(count):
        client = _Client()
        await ws_connect(lambda client=client: client, f"ws://127.0.0.1:{port}/")
        clients.append(client)
    yield clients
    for client in clients:
        client.transport.disconnect()


async def _exchanges_a_second(port: int, connections: int, text: bytes, frames_back: int) -> float:
    """By callbacks alone: a task for each client would take processor time from the server."""
    exchanges, ended = 0, Countdown(connections)
    async with _clients(port, connections) as clients:
        began = time.perf_counter()
        until = began + SECONDS

        def came_back(client: _Client) -> None:
            nonlocal exchanges
            client.frames += 1
            if client.frames % frames_back:
                return
            exchanges += 1
            if time.perf_counter() < until:
                client.send(text)
            else:
                ended.arrived()

        for client in clients:
            client.on_text = partial(came_back, client)
            client.send(text)
        ended_at = (await ended.last).seconds
    return exchanges / (ended_at - began)


async def _echoes(port: int) -> list[float]:
    """Milliseconds of each."""
    async with _clients(port, 1) as (client,):

        def echo() -> Awaitable[Any]:
            answer = Countdown(1)
            client.on_text = answer.arrived
            client.send(TEXT)
            return answer.last

        (taken,) = await one_after_another([echo], SECONDS)
    return taken


async def _broadcasts(port: int, connections: int) -> list[float]:
    delays = []
    async with _clients(port, connections) as clients, _clients(port, 1) as (speaker,):
        joined = Countdown(connections)
        for client in clients:
            client.on_text = joined.arrived
            client.send(b"join")
        await joined.last
        for _ in range(BROADCASTS):
            board = Countdown(connections)
            for client in clients:
                client.on_text = board.arrived
            began = time.perf_counter()
            speaker.send(b"all")
            delays.append(((await board.last).seconds - began) * 1e3)
    return delays
