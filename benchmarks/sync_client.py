"""A client of the sync protocol that costs little, so that what is measured is the server.

It sends and reads the frames that the official clients do, and counts a mutation as done when they do: when a
transition has reached its commit. It is no client to write apps with: no reconnecting, no values, no cache.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

CONNECTING_AT_ONCE = 50


class _Modification(msgspec.Struct):
    type: str
    queryId: int  # noqa: N815 - the wire's spelling
    value: Any = None
    errorMessage: str | None = None  # noqa: N815


class _Version(msgspec.Struct):
    ts: str


class _Message(msgspec.Struct):
    type: str
    requestId: int = -1  # noqa: N815
    success: bool = False
    result: Any = None
    ts: str | None = None
    endVersion: _Version | None = None  # noqa: N815
    modifications: list[_Modification] = []
    error: str | None = None


_decode = msgspec.json.Decoder(_Message).decode
_encode = msgspec.json.Encoder().encode


def _ts(text: str) -> int:
    return int.from_bytes(base64.b64decode(text), "little")


class Acknowledged(msgspec.Struct):
    """A mutation that is done: its commit timestamp (ns, the server's wall clock), and when the client knew."""

    value: Any
    commit_ts: int
    response_at: float  # time.perf_counter() of the MutationResponse


class SyncClient(WSListener):
    """One connection. Use `connect`."""

    def __init__(self) -> None:
        super().__init__()
        self._transport: WSTransport | None = None
        self._request_ids = itertools.count()
        self._query_ids = itertools.count()
        self._query_set_version = 0
        self._sent: dict[int, asyncio.Future[Acknowledged]] = {}
        self._answered: list[tuple[Acknowledged, asyncio.Future[Acknowledged]]] = []
        self._watchers: dict[int, Callable[[Any], None]] = {}
        self._firsts: set[asyncio.Future[Any]] = set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Introduce itself as the first frame."""
        self._transport = transport
        self._send({"type": "Connect", "sessionId": str(uuid.uuid4()), "connectionCount": 0, "lastCloseReason": None})

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Sort one message of the server to those who wait for it."""
        if frame.msg_type != WSMsgType.TEXT:
            return
        message = _decode(frame.get_payload_as_memoryview())
        if message.type == "Transition":
            assert message.endVersion is not None
            for modification in message.modifications:
                if modification.type == "QueryFailed":
                    self._fail(RuntimeError(f"a query failed: {modification.errorMessage}"))
                watcher = self._watchers.get(modification.queryId)
                if watcher is not None and modification.type == "QueryUpdated":
                    watcher(modification.value)
            if self._answered:
                self._resolve(_ts(message.endVersion.ts))
        elif message.type == "MutationResponse":
            future = self._sent.pop(message.requestId)
            if message.success and message.ts is not None:
                done = Acknowledged(message.result, _ts(message.ts), time.perf_counter())
                self._answered.append((done, future))
            else:
                future.set_exception(RuntimeError(f"a mutation failed: {message.result}"))
        elif message.type in {"FatalError", "AuthError"}:
            self._fail(RuntimeError(f"the server sent {message.type}: {message.error}"))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Everyone who still waits hears of it."""
        self._fail(ConnectionError("the server has closed the connection"))

    def mutation(self, path: str, args: dict[str, Any]) -> asyncio.Future[Acknowledged]:
        """Send a mutation; done when its writes are in a transition of this connection."""
        request_id = next(self._request_ids)
        future = self._sent[request_id] = asyncio.get_running_loop().create_future()
        self._send({"type": "Mutation", "requestId": request_id, "udfPath": path, "args": [args]})
        return future

    def subscribe(self, path: str, args: dict[str, Any], watcher: Callable[[Any], None]) -> int:
        """Call `watcher` with every value of a query; returns the id to unsubscribe with."""
        query_id = next(self._query_ids)
        self._watchers[query_id] = watcher
        self._change({"type": "Add", "queryId": query_id, "udfPath": path, "args": [args]})
        return query_id

    def unsubscribe(self, query_id: int) -> None:
        """Stop watching a query."""
        del self._watchers[query_id]
        self._change({"type": "Remove", "queryId": query_id})

    async def first(self, path: str, args: dict[str, Any], is_it: Callable[[Any], bool] = lambda _: True) -> Any:
        """Watch a query until a value fits."""
        found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def look(value: Any) -> None:
            if is_it(value) and not found.done():
                found.set_result(value)

        self._firsts.add(found)
        query_id = self.subscribe(path, args, look)
        value = await found
        self._firsts.discard(found)
        self.unsubscribe(query_id)
        return value

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.disconnect()

    def _resolve(self, reached_ts: int) -> None:
        still = []
        for done, future in self._answered:
            if done.commit_ts <= reached_ts:
                future.set_result(done)
            else:
                still.append((done, future))
        self._answered = still

    def _fail(self, error: Exception) -> None:
        """Raise `error` in everyone who waits; an exception out of a frame's callback would only be logged."""
        for future in [*self._sent.values(), *(future for _, future in self._answered), *self._firsts]:
            if not future.done():
                future.set_exception(error)

    def _change(self, modification: dict[str, Any]) -> None:
        base, self._query_set_version = self._query_set_version, self._query_set_version + 1
        self._send(
            {"type": "ModifyQuerySet", "baseVersion": base, "newVersion": base + 1, "modifications": [modification]}
        )

    def _send(self, message: dict[str, Any]) -> None:
        assert self._transport is not None
        self._transport.send(WSMsgType.TEXT, _encode(message))


def _itself(client: SyncClient) -> SyncClient:
    return client


async def connect(url: str, count: int) -> list[SyncClient]:
    """Open connections to the server at `url`, a few at a time so that none waits in a full backlog."""
    address = url.replace("http://", "ws://", 1) + "/api/1.48.0/sync"
    clients: list[SyncClient] = []
    for start in range(0, count, CONNECTING_AT_ONCE):
        size = min(CONNECTING_AT_ONCE, count - start)
        opened = [SyncClient() for _ in range(size)]
        await asyncio.gather(*(ws_connect(partial(_itself, client), address) for client in opened))
        clients += opened
    return clients
