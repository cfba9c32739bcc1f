"""Small clients on raw connections: HTTP calls that keep their connection, and the sync protocol as it goes by."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection

from tests.patience import PATIENCE_SECONDS, connect

IDLE_SECONDS_MAX = 2.0  # a connection that nobody has used for five is closed by the server
CLIENT_PATH = "/api/1.48.0/sync"


class HttpAnswer:
    """Status and body of one answer."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body

    def json(self) -> Any:
        return json.loads(self.body)


class HttpConnection:
    """A keep-alive connection to the API port, and another one after it was idle.

    What breaks it comes out as OSError or EOFError.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used_at = 0.0

    async def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> HttpAnswer:
        """Send a body as it is."""
        lines = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in {**lines, **(headers or {})}.items())
        if time.monotonic() - self._used_at > IDLE_SECONDS_MAX:
            self.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            await writer.drain()
            answer = await _read_answer(reader)
        self._used_at = time.monotonic()
        return answer

    async def call(self, kind: str, path: str, args: dict[str, Any]) -> dict[str, Any]:
        """Call a function; the answer with its `status`, whatever that is.

        Raises:
            ConnectionError: the server could not do it, which says nothing about the function.
        """
        body = json.dumps({"path": path, "args": args, "format": "json"}).encode()
        answer = await self.post(f"/api/{kind}", body)
        if answer.status >= 500:
            raise ConnectionError(f"{answer.status}: {answer.body!r}")
        assert answer.status == 200, (answer.status, answer.body)
        outcome: dict[str, Any] = answer.json()
        return outcome

    async def value(self, kind: str, path: str, args: dict[str, Any]) -> Any:
        """The value of a call that must succeed."""
        outcome = await self.call(kind, path, args)
        assert outcome["status"] == "success", outcome
        return outcome["value"]

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _read_answer(reader: asyncio.StreamReader) -> HttpAnswer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split()[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    return HttpAnswer(status, await reader.readexactly(int(headers.get("content-length", "0"))))


@contextlib.asynccontextmanager
async def http(port: int) -> AsyncIterator[HttpConnection]:
    """A connection for the length of a block."""
    connection = HttpConnection(port)
    try:
        yield connection
    finally:
        connection.close()


class SyncClient:
    """One sync session. `next` gives the server's messages in order and keeps the results of queries."""

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self.socket = socket
        self.session = session
        self.results: dict[int, dict[str, Any]] = {}
        self._version = 0

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def hello(self, connection_count: int = 0) -> None:
        await self.send(
            type="Connect",
            sessionId=self.session,
            connectionCount=connection_count,
            lastCloseReason="InitialConnect",
            clientTs=0,
        )

    async def subscribe(self, query_id: int, path: str, args: dict[str, Any]) -> None:
        """Add a query; its results come with transitions."""
        base, self._version = self._version, self._version + 1
        added = {"type": "Add", "queryId": query_id, "udfPath": path, "args": [args]}
        await self.send(type="ModifyQuerySet", baseVersion=base, newVersion=base + 1, modifications=[added])

    async def mutate(self, request_id: int, path: str, args: dict[str, Any]) -> None:
        await self.send(type="Mutation", requestId=request_id, udfPath=path, args=[args])

    async def next(self) -> dict[str, Any]:
        """The next message but pings."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                message: dict[str, Any] = json.loads(await self.socket.recv())
                if message["type"] != "Ping":
                    break
        for change in message.get("modifications", []):
            self.results[change["queryId"]] = change
        return message

    async def until(self, query_id: int, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first result of a query that fits: the modification that brought it."""
        while (result := self.results.get(query_id)) is None or not is_it(result):
            await self.next()
        return result

    async def value(self, query_id: int, is_it: Callable[[Any], bool]) -> Any:
        """The first value of a query that fits."""
        found = await self.until(query_id, lambda result: "value" in result and is_it(result["value"]))
        return found["value"]

    async def response(self, request_id: int) -> dict[str, Any]:
        """The response to a request."""
        while True:
            message = await self.next()
            if message["type"].endswith("Response") and message["requestId"] == request_id:
                return message


@contextlib.asynccontextmanager
async def sync_client(port: int, session: str | None = None, connection_count: int = 0) -> AsyncIterator[SyncClient]:
    """A session for the length of a block."""
    async with connect(f"ws://127.0.0.1:{port}{CLIENT_PATH}", max_size=None, compression=None) as socket:
        client = SyncClient(socket, session or str(uuid.uuid4()))
        await client.hello(connection_count)
        yield client
