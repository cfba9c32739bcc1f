"""The endpoint over real sockets, with a plain WebSocket client and with the official Python one."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio import client as websockets_client
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from convexpy.limits import FRAGMENT_BYTES_MAX, TRANSITION_CHUNK_BYTES
from convexpy.runtime.identity import AdminKeyAuthenticator, Caller
from convexpy.server import UVICORN_SETTINGS, ServerSettings, create_api_app
from convexpy.sync.transport import SyncTransport
from tests.manual_environment import SECOND_NS, ManualEnvironment
from tests.patience import PATIENCE_SECONDS, connect
from tests.sync.fake_backend import FakeBackend
from tests.sync.serving import serving

ADMIN_KEY = "dev:test|secret"

OFFICIAL_CLIENT = """
import json, sys
from convex import ConvexClient, ConvexError
client = ConvexClient(sys.argv[1])
told = []
for update in client.subscribe("db:read", {"keys": ["n"]}):
    told.append(update["n"])
    if len(told) == 1:
        client.mutation("db:write", {"key": "n", "value": 7.0})
        read_own_write = client.query("db:read", {"keys": ["n"]})["n"]
    if told[-1] == 7.0:
        break
try:
    client.mutation("db:refuse", {})
except ConvexError as error:
    refusal = error.data
try:
    client.mutation("db:fail", {})
except Exception as error:
    failure = str(error)
print(json.dumps({"told": told, "read_own_write": read_own_write, "refusal": refusal, "failure": failure,
                  "action": client.action("db:act", {})}))
"""


class Socket:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def receive(self, *, with_pings: bool = False) -> dict[str, Any]:
        """The next message; pings are between them only where a machine is slow."""
        while True:
            message: dict[str, Any] = json.loads(await self.connection.recv())
            if with_pings or message["type"] != "Ping":
                return message

    async def closing(self) -> tuple[int | None, str | None]:
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await self.connection.recv()
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code, closed.value.rcvd.reason


class Served:
    """A running server and its backend."""

    def __init__(self, backend: FakeBackend, address: str) -> None:
        self.backend = backend
        self.address = address

    def connect(self, path: str = "/api/1.48.0/sync") -> websockets_client.connect:
        return connect(f"ws://{self.address}{path}")


def served() -> Any:
    """A context manager: the API app over a fake backend whose runs end by themselves."""
    import contextlib

    @contextlib.asynccontextmanager
    async def run() -> AsyncIterator[Served]:
        backend = FakeBackend(is_automatic=True)
        app = create_api_app(backend, ServerSettings("test", AdminKeyAuthenticator(ADMIN_KEY)))
        async with serving(app) as address:
            yield Served(backend, address)

    return run()


def test_a_query_is_told_of_commits_and_a_mutation_before_its_transition() -> None:
    async def scenario() -> None:
        async with served() as server, server.connect() as connection:
            socket = Socket(connection)
            await socket.send(type="Connect", sessionId="4339ecba-272a-47a4-a95c-26938a22326a", clientTs=5)
            add = {"type": "Add", "queryId": 0, "udfPath": "db:read", "args": [{"keys": ["n"]}]}
            await socket.send(type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[add])
            first = await socket.receive()
            assert first["modifications"][0]["value"] == {"who": None, "n": None}
            assert isinstance(first["serverTs"], int) and isinstance(first["clientClockSkew"], int)

            server.backend.commit("n", 1)
            assert (await socket.receive())["modifications"][0]["value"]["n"] == 1

            await socket.send(type="Mutation", requestId=0, udfPath="db:write", args=[{"key": "n", "value": 2}])
            response, transition = await socket.receive(), await socket.receive()
            assert (response["type"], transition["type"]) == ("MutationResponse", "Transition")
            assert transition["startVersion"]["querySet"] == 1
            values = [change["value"]["n"] for change in transition["modifications"]]
            if not values:
                values = [change["value"]["n"] for change in (await socket.receive())["modifications"]]
            assert values == [2]

    asyncio.run(scenario())


def test_the_official_python_client_subscribes_mutates_and_sees_errors() -> None:
    """In a process of its own: it holds the interpreter lock while it waits."""

    async def scenario() -> None:
        async with served() as server:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                OFFICIAL_CLIENT,
                f"http://{server.address}",
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            output, errors = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
        assert process.returncode == 0, errors.decode()
        # The client itself prints log lines before our one line of JSON.
        result = json.loads(output.decode().splitlines()[-1])
        assert result["told"][0] is None and result["told"][-1] == 7.0
        assert result["read_own_write"] == 7.0
        assert result["refusal"] is None
        assert "broken" in result["failure"]
        assert result["action"] == {"acted": True}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("frame", "code", "reason"),
    [
        (b"binary", 1011, "InternalServerError"),
        ('{"type":"Wat"}', 1000, ""),
        ('{"type":"Authenticate","baseVersion":0,"tokenType":"User","value":"jwt"}', 1000, ""),
        ('{"type":"Mutation","requestId":0,"udfPath":"db:overload","args":[{}]}', 1013, "TooManyConcurrentRequests"),
        ('{"type":"Action","requestId":0,"udfPath":"db:lose","args":[{}]}', 1011, "InternalServerError"),
    ],
)
def test_how_the_socket_is_closed(frame: str | bytes, code: int, reason: str) -> None:
    async def scenario() -> None:
        async with served() as server, server.connect("//api//sync") as connection:
            await connection.send(frame)
            assert await Socket(connection).closing() == (code, reason)

    asyncio.run(scenario())


@pytest.mark.parametrize(("path", "is_in_chunks"), [("/api/1.27.9/sync", False), ("/api/1.28.0/sync", True)])
def test_a_long_transition_leaves_in_chunks_for_those_who_know_them(path: str, is_in_chunks: bool) -> None:
    async def scenario() -> None:
        text = "\N{GRINNING FACE}" * (TRANSITION_CHUNK_BYTES // 2)
        async with served() as server, connect(f"ws://{server.address}{path}", max_size=None) as connection:
            socket = Socket(connection)
            add = {"type": "Add", "queryId": 0, "udfPath": "db:args", "args": [{"text": text}]}
            await connection.send(json.dumps(add_only(add), ensure_ascii=False))
            message = await socket.receive()
            if is_in_chunks:
                chunks = [message]
                while len(chunks) < chunks[0]["totalParts"]:
                    chunks.append(await socket.receive())
                assert [chunk["partNumber"] for chunk in chunks] == list(range(len(chunks)))
                assert {chunk["transitionId"] for chunk in chunks} == {chunks[0]["transitionId"]}
                assert len(chunks) > 1
                message = json.loads("".join(chunk["chunk"] for chunk in chunks))
            assert message["type"] == "Transition"
            assert message["modifications"][0]["value"] == {"text": text}

    asyncio.run(scenario())


def test_a_long_message_leaves_in_fragments() -> None:
    """The official Python client refuses a frame above 16 MiB, and takes messages of 64."""

    async def scenario() -> None:
        text = "x" * (3 * FRAGMENT_BYTES_MAX)
        async with (
            served() as server,
            connect(f"ws://{server.address}/api/sync", max_size=None, compression=None) as connection,
        ):
            add = {"type": "Add", "queryId": 0, "udfPath": "db:args", "args": [{"text": text}]}
            await connection.send(json.dumps(add_only(add)))
            fragments = [fragment async for fragment in connection.recv_streaming(decode=False)]
            assert max(map(len, fragments)) <= FRAGMENT_BYTES_MAX
            assert json.loads(b"".join(fragments))["modifications"][0]["value"] == {"text": text}

    asyncio.run(scenario())


def test_an_idle_connection_hears_a_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that hear nothing for long reconnect; a frame of the WebSocket's own does not count for JavaScript."""
    monkeypatch.setattr("convexpy.sync.websocket.PING_SECONDS", 0.01)

    async def scenario() -> None:
        async with served() as server, server.connect() as connection:
            socket = Socket(connection)
            assert await socket.receive(with_pings=True) == {"type": "Ping"}
            assert await socket.receive(with_pings=True) == {"type": "Ping"}

    asyncio.run(scenario())


class Doorman(AdminKeyAuthenticator):
    """Takes any token for Ada's, valid for a minute."""

    def __init__(self, environment: ManualEnvironment) -> None:
        super().__init__(ADMIN_KEY)
        self._environment = environment

    async def user(self, token: str) -> Caller:
        return Caller(b'{"subject":"ada"}', expires_ns=self._environment.now_ns() + 60 * SECOND_NS)


def test_a_client_that_says_nothing_learns_that_its_token_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would otherwise be pushed what that user may see for as long as it stays. A fresh token in time is enough."""
    monkeypatch.setattr("convexpy.sync.websocket.AUTH_EXPIRY_LOOK_SECONDS_MAX", 0.005)

    async def scenario() -> None:
        environment = ManualEnvironment()
        backend = FakeBackend(is_automatic=True)
        settings = ServerSettings("test", Doorman(environment), environment=environment)
        async with serving(create_api_app(backend, settings)) as address, connect(f"ws://{address}/api/sync") as client:
            socket = Socket(client)
            await socket.send(type="Authenticate", baseVersion=0, tokenType="User", value="first")
            assert (await socket.receive())["endVersion"]["identity"] == 1
            environment.advance(59)
            await socket.send(type="Authenticate", baseVersion=1, tokenType="User", value="second")
            assert (await socket.receive())["endVersion"]["identity"] == 2

            environment.advance(59)
            await socket.send(type="Action", requestId=0, udfPath="db:act", args=[{}])
            assert (await socket.receive())["success"]
            assert (await socket.receive())["type"] == "Transition"

            environment.advance(1)
            error = await socket.receive()
            assert (error["type"], error["authUpdateAttempted"], error["baseVersion"]) == ("AuthError", False, 2)
            assert (await socket.closing())[0] == 1000

    asyncio.run(scenario())


def add_only(addition: dict[str, Any]) -> dict[str, Any]:
    """The first change of a query set: this one query."""
    return {"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [addition]}


@pytest.mark.parametrize(
    ("path", "header", "code"),
    [
        ("/api/banana/sync", None, "InvalidClientVersion"),
        ("/api/0.19.1/sync", None, "ClientVersionUnsupported"),
        ("/api/sync", "python-0.0.2", "ClientVersionUnsupported"),
        ("/api/1.48.0/sync", "nonsense", "InvalidClientVersion"),
    ],
)
def test_a_client_that_is_too_old_or_unreadable_is_refused_at_the_upgrade(
    path: str, header: str | None, code: str
) -> None:
    async def scenario() -> None:
        async with served() as server:
            headers = {} if header is None else {"Convex-Client": header}
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://{server.address}{path}", additional_headers=headers)
        response = refused.value.response
        assert response.status_code == 400
        assert json.loads(response.body or b"")["code"] == code

    asyncio.run(scenario())


class Transports(list[SyncTransport]):
    """The server's side of every connection, by which a test sees and does what only time would."""

    def stalled(self) -> SyncTransport | None:
        """One whose socket takes no more."""
        return next((transport for transport in self if not transport.writable.is_set()), None)


@pytest.fixture
def transports(monkeypatch: pytest.MonkeyPatch) -> Transports:
    made = Transports()

    class Listed(SyncTransport):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            made.append(self)

    monkeypatch.setitem(UVICORN_SETTINGS, "ws", Listed)
    return made


async def stall(server: Served, connection: ClientConnection, transports: Transports) -> SyncTransport:
    """Subscribe to more than the socket's buffers hold, and read nothing of it."""
    add = {"type": "Add", "queryId": 0, "udfPath": "db:read", "args": [{"keys": ["n"]}]}
    await connection.send(json.dumps(add_only(add)))
    async with asyncio.timeout(PATIENCE_SECONDS):
        number = 0
        while (transport := transports.stalled()) is None:
            server.backend.commit("n", str(number) * 1_000_000)
            number = (number + 1) % 10
            await asyncio.sleep(0)
    return transport


def test_a_client_that_does_not_read_holds_two_transitions_and_is_gone_after_the_ping_timeout(
    transports: Transports,
) -> None:
    async def scenario() -> None:
        async with (
            served() as server,
            connect(f"ws://{server.address}/api/sync", max_size=None, max_queue=1, compression=None) as connection,
        ):
            transport = await stall(server, connection, transports)
            for number in range(200):
                server.backend.commit("n", str(number % 10) * 1_000_000)
                await asyncio.sleep(0)
            assert transport.transport.get_write_buffer_size() < 3_000_000

            transport.keepalive_timeout()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not transport.disconnected or server.backend.entries:
                    await asyncio.sleep(0)
            connection.transport.abort()

    asyncio.run(scenario())


def test_a_client_that_does_not_read_is_cut_off_when_its_session_ends(
    transports: Transports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convexpy.sync.websocket.CLOSE_SECONDS_MAX", 0.0)
    monkeypatch.setattr("convexpy.sync.transport.CLOSE_SECONDS_MAX", 0.0)

    async def scenario() -> None:
        async with (
            served() as server,
            connect(f"ws://{server.address}/api/sync", max_size=None, max_queue=1, compression=None) as connection,
        ):
            transport = await stall(server, connection, transports)
            await connection.send("no message of the protocol")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not transport.disconnected or server.backend.entries:
                    await asyncio.sleep(0)
            connection.transport.abort()

    asyncio.run(scenario())


def test_a_lost_socket_ends_its_subscriptions() -> None:
    async def scenario() -> None:
        async with served() as server:
            async with server.connect() as connection:
                add = {"type": "Add", "queryId": 0, "udfPath": "db:read", "args": [{"keys": ["n"]}]}
                modify = {"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [add]}
                await connection.send(json.dumps(modify))
                await connection.recv()
                assert server.backend.entries
            async with asyncio.timeout(PATIENCE_SECONDS):
                while server.backend.entries:
                    await asyncio.sleep(0)

    asyncio.run(scenario())
