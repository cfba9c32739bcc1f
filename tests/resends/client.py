"""A client that behaves as the official JavaScript one does when its connection breaks, and breaks it by itself.

It keeps its session over connections, has several mutations on their way at once, and after a reconnect sends again
what has no answer yet, and what has one but was in no transition.

Source: wire-protocol 3.7; convex-js src/browser/sync/request_manager.ts.
"""

from __future__ import annotations

import asyncio
import json
import struct
import uuid
from random import Random
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from convexpy.runtime.timestamps import decode_ts
from tests.faults.convex_client import CLIENT_PATH
from tests.patience import PATIENCE_SECONDS, connect

IN_FLIGHT = 8
MESSAGES_PER_CONNECTION_MAX = 120
RECONNECT_SECONDS = 0.05

AWAY = (OSError, EOFError, ConnectionClosed, InvalidHandshake)


class Stuck(AssertionError):
    """A request had no answer for so long that none is to be expected."""


class ResendingClient:
    """Sends `count` mutations `rows:stamp`, numbered, and keeps every answer that it is given.

    Args:
        random: decides after how many messages, and in the middle of what, each connection is cut.
    """

    def __init__(self, port: int, name: str, count: int, random: Random) -> None:
        self.name = name
        self.answers: dict[int, set[str]] = {}
        self.connections = 0
        self.sent = 0
        self._url = f"ws://127.0.0.1:{port}{CLIENT_PATH}"
        self._count = count
        self._random = random
        self._session = str(uuid.UUID(int=random.getrandbits(128)))
        self._next = 0
        self._waiting: dict[int, int | None] = {}  # by request: the commit it was told of, once it was answered
        self._observed_ts: str | None = None

    async def run(self) -> None:
        """Until every mutation is answered and in a transition.

        Raises:
            Stuck: an answer does not come.
        """
        while self._next < self._count or self._waiting:
            try:
                await self._connect_and_talk()
            except TimeoutError:
                raise Stuck(f"client {self.name} waits for {sorted(self._waiting)}") from None
            except AWAY:
                await asyncio.sleep(RECONNECT_SECONDS)  # the server may be starting; a client backs off as well

    async def _connect_and_talk(self) -> None:
        lifetime = self._random.randrange(1, MESSAGES_PER_CONNECTION_MAX)
        async with connect(self._url, compression=None) as socket:
            await self._greet(socket)
            # What was answered comes first: the server tells it again, and a transition that has it.
            for number in sorted(self._waiting, key=lambda number: (self._waiting[number] is None, number)):
                self._waiting[number] = None
                await self._send(socket, number)
            while self._next < self._count or self._waiting:
                while len(self._waiting) < IN_FLIGHT and self._next < self._count:
                    self._waiting[self._next] = None
                    self._next += 1
                    await self._send(socket, self._next - 1)
                if lifetime == 0:
                    self._cut(socket)
                    return
                lifetime -= 1
                async with asyncio.timeout(PATIENCE_SECONDS):
                    message = await socket.recv()
                self._take(json.loads(message))

    async def _greet(self, socket: ClientConnection) -> None:
        hello: dict[str, Any] = {
            "type": "Connect",
            "sessionId": self._session,
            "connectionCount": self.connections,
            "lastCloseReason": "InitialConnect",
        }
        if self._observed_ts is not None:
            hello["maxObservedTimestamp"] = self._observed_ts
        self.connections += 1
        await socket.send(json.dumps(hello))
        await socket.send('{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":[]}')

    async def _send(self, socket: ClientConnection, number: int) -> None:
        args = {"round": self.name, "name": str(number)}
        message = {"type": "Mutation", "requestId": number, "udfPath": "rows:stamp", "args": [args]}
        self.sent += 1
        await socket.send(json.dumps(message))

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "MutationResponse":
            number = message["requestId"]
            assert message["success"], message
            assert number in self._waiting, f"request {number} was answered though nobody waits for it"
            self.answers.setdefault(number, set()).add(message["result"])
            self._waiting[number] = decode_ts(message["ts"])
        elif message["type"] == "Transition":
            self._observed_ts = message["endVersion"]["ts"]
            reached = decode_ts(message["endVersion"]["ts"])
            for number, ts in list(self._waiting.items()):
                if ts is not None and ts <= reached:
                    del self._waiting[number]

    def _cut(self, socket: ClientConnection) -> None:
        """Be gone without a word, now and then in the middle of a frame."""
        if self._random.random() < 0.3:
            # A masked text frame that announces more than follows: RFC 6455 section 5.2.
            socket.transport.write(struct.pack("!BBH4s", 0x81, 0xFE, 500, b"mask") + b"x" * 100)
        socket.transport.abort()
