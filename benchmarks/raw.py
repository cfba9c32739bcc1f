"""What the raw parts do here and now: LMDB's group commit, a WebSocket echo, a WebSocket broadcast."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import lmdb
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.common import RUNS, SECONDS, Figure, free_ports, percentile, run, scratch_folder, server_process
from benchmarks.raw_server import READY

VALUE = os.urandom(200)
TEXT = b"e" * 200
BROADCASTS = 20
MUTATION = b'{"type":"Mutation","requestId":1234,"udfPath":"notes:add","args":[{"body":"%b"}]}' % (b"x" * 150)


def group_commit(puts: int) -> Figure:
    """Durable puts a second with `puts` of them in a commit: what that many clients could share one fsync for."""
    runs = []
    for _ in range(RUNS):
        with scratch_folder() as folder:
            environment = lmdb.open(str(folder), map_size=1 << 30)
            count, began = 0, time.perf_counter()
            while time.perf_counter() < began + SECONDS:
                with environment.begin(write=True) as transaction:
                    for _ in range(puts):
                        transaction.put(os.urandom(16), VALUE)
                count += puts
            runs.append(count / (time.perf_counter() - began))
            environment.close()
    return Figure(f"raw LMDB, {puts} put{'s' if puts > 1 else ''} a commit", runs, "/s")


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


def echo(connections: int) -> Figure:
    """Messages a second that go to the server and back, one at a time on each connection."""
    return Figure(
        f"raw WebSocket echo, {connections} connection{'s' if connections > 1 else ''}",
        _with_server(lambda port: _echo(port, connections)),
        "/s",
    )


def broadcast(connections: int) -> Figure:
    """From the request to the last of `connections` deliveries of one 500-byte message."""
    return Figure(
        f"raw broadcast to {connections:,} connections, last delivery p50",
        _with_server(lambda port: _broadcast(port, connections)),
        "ms",
    )


def _with_server(measure: Callable[[int], Coroutine[Any, Any, list[float]]]) -> list[float]:
    (port,) = free_ports(1)
    with server_process([sys.executable, "-m", "benchmarks.raw_server", str(port)], READY):
        return run(measure(port))


def answers(connections: int) -> Figure:
    """The same with frames of a mutation: one request in, the two answers out, and nothing in between."""
    return Figure(
        f"raw request and two answers, {connections} connection{'s' if connections > 1 else ''}",
        _with_server(lambda port: _echo(port, connections, MUTATION, 2)),
        "/s",
    )


async def _echo(port: int, connections: int, text: bytes = TEXT, frames_back: int = 1) -> list[float]:
    loop, runs = asyncio.get_running_loop(), []
    async with _clients(port, connections) as clients:
        for _ in range(RUNS):
            count, busy, finished = 0, connections, loop.create_future()
            began = time.perf_counter()

            def came_back(client: _Client, began: float = began, finished: asyncio.Future[None] = finished) -> None:
                nonlocal count, busy
                client.frames += 1
                if client.frames % frames_back:
                    return
                count += 1
                if time.perf_counter() < began + SECONDS:
                    client.send(text)
                    return
                busy -= 1
                if busy == 0:
                    finished.set_result(None)

            for client in clients:
                client.on_text = partial(came_back, client)
                client.send(text)
            await finished
            runs.append(count / (time.perf_counter() - began))
    return runs


async def _broadcast(port: int, connections: int) -> list[float]:
    loop, runs = asyncio.get_running_loop(), []
    missing, everyone = 0, loop.create_future()

    def arrived() -> None:
        nonlocal missing
        missing -= 1
        if missing == 0:
            everyone.set_result(None)

    async with _clients(port, connections) as clients, _clients(port, 1) as speakers:
        missing = connections
        for client in clients:
            client.on_text = arrived
            client.send(b"join")
        await everyone
        for _ in range(RUNS):
            delays = []
            for _ in range(BROADCASTS):
                missing, everyone = connections, loop.create_future()
                began = time.perf_counter()
                speakers[0].send(b"all")
                await everyone
                delays.append((time.perf_counter() - began) * 1e3)
            runs.append(percentile(delays, 0.5))
    return runs
