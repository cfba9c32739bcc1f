"""Makes the corpus: official clients talk to a real server through relays that write down what they say.

`python -m tests.fuzz.record`, with the npm packages of tests/clients installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.clients.driver import LIVE_CLIENTS, CallError, Driver
from tests.clients.server import Server
from tests.fuzz.corpus import REQUESTS, SESSIONS, Session

APP = Path(__file__).parent.parent / "clients" / "app"
CLIENT_HEADER = "Convex-Client"


@contextlib.asynccontextmanager
async def websocket_relay(target: str, heard: list[Session]) -> AsyncIterator[str]:
    """A WebSocket server that passes messages on both ways and keeps those of clients; gives its URL."""

    async def pass_on(client: ServerConnection) -> None:
        assert client.request is not None
        header = client.request.headers.get(CLIENT_HEADER)
        session = Session(client.request.path, header, [])
        heard.append(session)
        headers = {} if header is None else {CLIENT_HEADER: header}
        url = target.replace("http", "ws", 1) + session.path
        async with connect(url, additional_headers=headers, max_size=None) as server:

            async def answer() -> None:
                async for message in server:
                    await client.send(message)

            answering = asyncio.create_task(answer())
            with contextlib.suppress(ConnectionClosed):
                async for message in client:
                    assert isinstance(message, str)
                    session.frames.append(message)
                    await server.send(message)
            answering.cancel()

    async with serve(pass_on, "127.0.0.1", 0, max_size=None) as relay:
        yield f"http://127.0.0.1:{next(iter(relay.sockets)).getsockname()[1]}"


@contextlib.asynccontextmanager
async def http_relay(port: int, heard: list[str]) -> AsyncIterator[str]:
    """A TCP relay that keeps what each client connection has sent; gives its URL."""

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, kept: list[bytes]) -> None:
        while data := await source.read(65536):
            kept.append(data)
            sink.write(data)
        sink.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        said: list[bytes] = []
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(carry(reader, upstream_writer, said), carry(upstream_reader, writer, []))
        heard.append(b"".join(said).decode("latin-1"))

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as relay:
        yield f"http://127.0.0.1:{relay.sockets[0].getsockname()[1]}"


def talk(kind: str, url: str) -> None:
    """All that a client can do, once."""
    client = Driver(kind, url)
    try:
        if kind in LIVE_CLIENTS:
            counter = client.subscribe("counters:read", {"name": kind})
            counter.next()
            client.subscribe("messages:bodies", {"channel": kind}).next()
            with contextlib.suppress(CallError):
                client.subscribe("problems:refuse_above", {"name": kind, "most": -1}).next()
        client.mutation("counters:add", {"name": kind, "by": 2})
        client.mutation("messages:send", {"channel": kind, "body": "hello"})
        client.query("messages:echo", {"value": {"list": [1, None, True, "text"], "nested": {"deep": [[]]}}})
        client.action("tasks:add_twice", {"name": kind})
        for path in ("problems:refuse", "problems:crash", "nowhere:nothing"):
            with contextlib.suppress(CallError):
                client.mutation(path, {"name": kind})
    finally:
        client.close()


async def record() -> None:
    sessions: list[Session] = []
    requests: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        server = Server(APP, Path(folder))
        server.start()
        try:
            async with websocket_relay(server.url, sessions) as live, http_relay(server.port, requests) as plain:
                for kind in LIVE_CLIENTS:
                    await asyncio.to_thread(talk, kind, live)
                for kind in ("http", "python-http"):
                    await asyncio.to_thread(talk, kind, plain)
                await asyncio.sleep(0.5)  # the relays' last reads
        finally:
            server.stop()
    SESSIONS.write_text(json.dumps([session._asdict() for session in sessions], indent=1) + "\n")
    REQUESTS.write_text(json.dumps(requests, indent=1) + "\n")
    print(f"{len(sessions)} sessions, {len(requests)} connections")


if __name__ == "__main__":
    asyncio.run(record())
