"""How many writes a second, and how soon are they pushed, beside PocketBase and Parse Server?

Each run starts every backend in turn, alone, and gives it the same load with the same clients. PocketBase does not sync
every commit to the disk, so its counterpart is ours with `--durability=relaxed`; Parse Server's PostgreSQL does, as we
do by default. The peers take writes over HTTP; ours are measured over the WebSocket that its clients use, and over
HTTP. A push is a changed result with us, the new record with PocketBase (server-sent events) and Parse (WebSocket).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks import peer_servers
from benchmarks.common import SECONDS, Figure, convexpy_server, each_run, percentile, run, scratch_folder
from benchmarks.http_client import EventStream, HttpConnection, request
from benchmarks.load import BODY, Backend, SyncBackend, Writer, creates_a_second, pushes

CLIENTS = (1, 16, 64)
MANY = 1_000
WRITES = 100
WRITES_TO_MANY = 20
WARM_SECONDS = 1.0  # node compiles what it finds to be in use
CONNECTING_AT_ONCE = 50
POCKETBASE, PARSE = "PocketBase 0.40", "Parse Server 9, PostgreSQL"

Found = dict[str, float]


class HttpWriter:
    """One client that writes over HTTP."""

    def __init__(self, connection: HttpConnection, build: Callable[[int | None, str], bytes], create: bytes) -> None:
        self._connection, self._build, self._create = connection, build, create
        self.close = connection.close

    def create(self) -> Awaitable[Any]:
        """See `Writer`."""
        return self._connection.send(self._create)

    def publish(self, topic: int | None, text: str) -> Awaitable[Any]:
        """See `Writer`."""
        return self._connection.send(self._build(topic, text))


class HttpBackend(SyncBackend):
    """Ours, its writes over HTTP."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._port = urlsplit(url).port or 80

    async def writers(self, count: int) -> Sequence[Writer]:  # type: ignore[override]
        """See `Backend`."""

        def mutation(path: str, args: dict[str, Any]) -> bytes:
            return request("POST", "/api/mutation", {"path": path, "args": args, "format": "json"})

        def build(topic: int | None, text: str) -> bytes:
            if topic is None:
                return mutation("notes:publish", {"body": text})
            return mutation("notes:publish_topic", {"name": f"topic {topic}", "body": text})

        create = mutation("notes:add", {"body": BODY})
        return [HttpWriter(await HttpConnection.open(self._port), build, create) for _ in range(count)]


class PocketBase:
    """Records over HTTP, server-sent events."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def writers(self, count: int) -> Sequence[Writer]:
        """See `Backend`."""

        def build(topic: int | None, text: str) -> bytes:
            return request("POST", "/api/collections/notes/records", {"topic": f"t{topic}", "body": text})

        return [HttpWriter(await HttpConnection.open(self._port), build, build(None, BODY)) for _ in range(count)]

    async def watchers(
        self, count: int, are_topics: bool, pushed: Callable[[str | bytes], None]
    ) -> Sequence[Callable[[], None]]:
        """See `Backend`."""

        async def watch(number: int) -> EventStream:
            client_id: asyncio.Future[str] = asyncio.get_running_loop().create_future()

            def arrived(event: bytes) -> None:
                if client_id.done():
                    pushed(event)
                else:
                    client_id.set_result(json.loads(event.partition(b"data:")[2])["clientId"])

            stream = await EventStream.listen(self._port, "/api/realtime", arrived)
            topic = "notes/*"
            if are_topics:
                topic += "?options=" + quote(json.dumps({"query": {"filter": f"topic='t{number}'"}}))
            asked = await HttpConnection.open(self._port)
            subscription = {"clientId": await client_id, "subscriptions": [topic]}
            await asked.send(request("POST", "/api/realtime", subscription))
            asked.close()
            return stream

        return [stream.close for stream in await _some_at_once(watch, count)]


class ParseServer:
    """Objects over HTTP, LiveQuery over WebSockets."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def writers(self, count: int) -> Sequence[Writer]:
        """See `Backend`."""

        def build(topic: int | None, text: str) -> bytes:
            body = {"topic": f"t{topic}", "body": text}
            return request("POST", "/parse/classes/Notes", body, peer_servers.PARSE_HEADERS)

        return [HttpWriter(await HttpConnection.open(self._port), build, build(None, BODY)) for _ in range(count)]

    async def watchers(
        self, count: int, are_topics: bool, pushed: Callable[[str | bytes], None]
    ) -> Sequence[Callable[[], None]]:
        """See `Backend`."""

        async def watch(number: int) -> LiveQuery:
            where = {"topic": f"t{number}"} if are_topics else {}
            live = LiveQuery(where, pushed)
            await ws_connect(lambda: live, f"ws://127.0.0.1:{self._port}/")
            await live.subscribed
            return live

        return [live.close for live in await _some_at_once(watch, count)]


class LiveQuery(WSListener):
    """One connection with one subscription."""

    def __init__(self, where: dict[str, str], pushed: Callable[[str | bytes], None]) -> None:
        super().__init__()
        self._where, self._pushed = where, pushed
        self._transport: WSTransport
        self.subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Introduce itself."""
        self._transport = transport
        self._send({"op": "connect", "applicationId": "bench"})

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A push, or a step on the way to the subscription."""
        text = frame.get_payload_as_bytes()
        if text.startswith(b'{"op":"create"'):
            self._pushed(text)
        elif text.startswith(b'{"op":"connected"'):
            self._send({"op": "subscribe", "requestId": 1, "query": {"className": "Notes", "where": self._where}})
        elif text.startswith(b'{"op":"subscribed"'):
            self.subscribed.set_result(None)
        elif text.startswith(b'{"op":"error"'):
            self.subscribed.set_exception(RuntimeError(text.decode()))

    def close(self) -> None:
        """Drop the connection."""
        self._transport.disconnect()

    def _send(self, message: dict[str, Any]) -> None:
        self._transport.send(WSMsgType.TEXT, json.dumps(message).encode())


async def _some_at_once(watch: Callable[[int], Awaitable[Any]], count: int) -> list[Any]:
    found = []
    for first in range(0, count, CONNECTING_AT_ONCE):
        found += await asyncio.gather(*map(watch, range(first, min(count, first + CONNECTING_AT_ONCE))))
    return found


@contextmanager
def _ours(folder: Path, *options: str) -> Iterator[list[tuple[str, Backend]]]:
    with convexpy_server(folder, *options) as url:
        yield [("", SyncBackend(url)), (", over HTTP", HttpBackend(url))]


@contextmanager
def _pocketbase(folder: Path) -> Iterator[list[tuple[str, Backend]]]:
    with peer_servers.pocketbase(folder) as port:
        yield [("", PocketBase(port))]


@contextmanager
def _parse(folder: Path) -> Iterator[list[tuple[str, Backend]]]:
    with peer_servers.parse_server(folder) as port:
        yield [("", ParseServer(port))]


STARTS: dict[str, Callable[[Path], AbstractContextManager[list[tuple[str, Backend]]]]] = {
    "durable": _ours,
    "relaxed": lambda folder: _ours(folder, "--durability", "relaxed"),
    POCKETBASE: _pocketbase,
    PARSE: _parse,
}
GOALS = {"/s": "> 1", "ms": "< 1"}  # beside the peer that promises as much about its disk
COUNTERPARTS = {"durable": (PARSE, POCKETBASE), "relaxed": (POCKETBASE,)}


def measure() -> list[Figure]:
    """Creates and pushes of ours, durable and relaxed, each beside its counterparts."""
    peer_servers.check_installed()
    runs = [{name: _one_turn(start) for name, start in STARTS.items()} for _ in each_run()]
    return [
        Figure(
            f"{measured}, {kind}",
            [each[kind][measured] for each in runs],
            unit,
            [
                Figure(peer, [each[peer][_at_peer(measured)] for each in runs], unit, goal="" if place else GOALS[unit])
                for place, peer in enumerate(peers)
            ],
        )
        for kind, peers in COUNTERPARTS.items()
        for measured, unit in ((name, "/s" if name.startswith("creates") else "ms") for name in runs[0][kind])
    ]


def _at_peer(measured: str) -> str:
    return measured.replace(", over HTTP", "")  # what the peers are measured over in any case


def _one_turn(start: Callable[[Path], AbstractContextManager[list[tuple[str, Backend]]]]) -> Found:
    """All figures of one backend on a fresh folder."""
    found: Found = {}
    with scratch_folder() as folder, start(folder) as ways:
        for way, backend in ways:
            run(creates_a_second(backend, 16, WARM_SECONDS))
            for clients in CLIENTS:
                name = f"creates, {clients} client{'s' if clients > 1 else ''}{way}"
                found[name] = run(creates_a_second(backend, clients, SECONDS))
        _, backend = ways[0]
        alone = run(pushes(backend, 1, WRITES))
        together = run(pushes(backend, MANY, WRITES_TO_MANY))
        apart = run(pushes(backend, MANY, WRITES_TO_MANY, are_topics=True))
    for name, each, share in (
        ("write → push, one subscriber, p50", alone, 0.5),
        ("write → push, one subscriber, p95", alone, 0.95),
        (f"write → last push of {MANY:,} subscribers of one query, p50", together, 0.5),
        (f"write → the one concerned of {MANY:,} different subscriptions, p50", apart, 0.5),
    ):
        found[name] = percentile([push.milliseconds for push in each], share)
    return found
