"""Messages of a client are the same however its bytes arrive, and none passes a token that is being verified."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from convexpy.limits import SOCKET_MESSAGE_BYTES_MAX
from convexpy.runtime.identity import AdminKeyAuthenticator, Caller
from convexpy.server import UVICORN_SETTINGS, ServerSettings, create_api_app
from convexpy.sync.transport import SyncTransport
from tests.patience import connect
from tests.sync.fake_backend import FakeBackend
from tests.sync.serving import serving

ADMIN_KEY = "dev:test|secret"
TEXTS = ["short", "x" * 200, "\N{GRINNING FACE} and \N{LATIN SMALL LETTER E WITH ACUTE}", "y" * 70_000, ""]


@pytest.fixture
def transports(monkeypatch: pytest.MonkeyPatch) -> list[SyncTransport]:
    """The server's side of every connection, so that a test can choose where the bytes are cut."""
    made: list[SyncTransport] = []

    class Listed(SyncTransport):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            made.append(self)

    monkeypatch.setitem(UVICORN_SETTINGS, "ws", Listed)
    return made


def action(number: int, text: str) -> bytes:
    message = {"type": "Action", "requestId": number, "udfPath": "db:args", "args": [{"text": text}]}
    return json.dumps(message, ensure_ascii=False).encode()


def frames(chance: random.Random, payload: bytes) -> bytes:
    """A message in one frame or in several, with pings before, between and after."""
    cuts = sorted(chance.sample(range(1, len(payload)), chance.choice([0, 0, 1, 2])))
    parts = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    sent = b""
    for number, part in enumerate(parts):
        opcode = Opcode.TEXT if number == 0 else Opcode.CONT
        if chance.random() < 0.2:
            sent += Frame(Opcode.PING, b"there?").serialize(mask=True)
        sent += Frame(opcode, part, fin=number == len(parts) - 1).serialize(mask=True)
    return sent


@pytest.mark.parametrize("seed", range(20))
def test_messages_are_the_same_wherever_their_bytes_are_cut(seed: int, transports: list[SyncTransport]) -> None:
    async def scenario() -> None:
        chance = random.Random(seed)
        texts = [chance.choice(TEXTS) for _ in range(12)]
        stream = b"".join(frames(chance, action(number, text)) for number, text in enumerate(texts))
        cuts = sorted(chance.sample(range(1, len(stream)), chance.choice([0, 3, 40])))
        app = create_api_app(FakeBackend(is_automatic=True), ServerSettings("test", AdminKeyAuthenticator(ADMIN_KEY)))
        async with serving(app) as address, connect(f"ws://{address}/api/sync", compression=None) as client:
            for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
                transports[0].data_received(stream[start:end])
                if chance.random() < 0.3:
                    await asyncio.sleep(0)
            answers: dict[int, str] = {}
            while len(answers) < len(texts):
                message = json.loads(await client.recv())
                if message["type"] == "ActionResponse":
                    answers[message["requestId"]] = message["result"]["text"]
        assert [answers[number] for number in range(len(texts))] == texts

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (Frame(Opcode.TEXT, b'{"type":"\xff"}').serialize(mask=True), 1007),
        (b"\x81\xff" + (SOCKET_MESSAGE_BYTES_MAX + 1).to_bytes(8, "big") + b"mask" + b"and some of it", 1009),
        (Frame(Opcode.TEXT, b"{}").serialize(mask=False), 1002),
    ],
    ids=["not UTF-8", "too long", "not masked"],
)
def test_frames_that_no_client_may_send_close_the_socket(
    sent: bytes, code: int, transports: list[SyncTransport]
) -> None:
    async def scenario() -> None:
        app = create_api_app(FakeBackend(is_automatic=True), ServerSettings("test", AdminKeyAuthenticator(ADMIN_KEY)))
        async with serving(app) as address, connect(f"ws://{address}/api/sync", compression=None) as client:
            transports[0].data_received(sent + Frame(Opcode.TEXT, action(0, "late")).serialize(mask=True))
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == code

    asyncio.run(scenario())


def test_a_frame_that_begins_before_the_upgrade_is_answered_is_refused() -> None:
    """No client may send one so early, and what follows is not taken for the beginning of another."""

    async def scenario() -> None:
        key = base64.b64encode(bytes(16)).decode()
        head = (
            "GET /api/sync HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        frame = Frame(Opcode.TEXT, action(0, "early")).serialize(mask=True)
        backend = FakeBackend(is_automatic=True)
        app = create_api_app(backend, ServerSettings("test", AdminKeyAuthenticator(ADMIN_KEY)))
        async with serving(app) as address:
            reader, writer = await asyncio.open_connection(*address.split(":"))
            writer.write(head.encode() + frame[:20])
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            with contextlib.suppress(ConnectionError):  # closed before all of it was read
                writer.write(frame[20:])
                await reader.read()
            writer.close()
        assert backend.calls == []

    asyncio.run(scenario())


class Slow(AdminKeyAuthenticator):
    """Takes any token for Ada's, when a test says so."""

    def __init__(self) -> None:
        super().__init__(ADMIN_KEY)
        self.asked = asyncio.Event()
        self.verdict: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def user(self, token: str) -> Caller:
        self.asked.set()
        await self.verdict
        return Caller(b'{"subject":"ada"}')


def test_no_message_passes_a_token_that_is_being_verified(transports: list[SyncTransport]) -> None:
    async def scenario() -> None:
        authenticator, backend = Slow(), FakeBackend(is_automatic=True)
        app = create_api_app(backend, ServerSettings("test", authenticator))
        async with serving(app) as address, connect(f"ws://{address}/api/sync", compression=None) as client:
            token = {"type": "Authenticate", "baseVersion": 0, "tokenType": "User", "value": "jwt"}
            early = [json.dumps(token).encode(), action(0, "first"), action(1, "second")]
            transports[0].data_received(b"".join(Frame(Opcode.TEXT, each).serialize(mask=True) for each in early))
            await authenticator.asked.wait()
            await client.send(action(2, "third"), text=True)
            assert await client.ping() is not None
            for _ in range(20):
                await asyncio.sleep(0)
            assert backend.calls == []

            authenticator.verdict.set_result(None)
            kinds = [json.loads(await client.recv())["type"] for _ in range(4)]
            assert kinds[0] == "Transition"
            while len(backend.calls) < 3:
                await client.recv()
        assert [json.loads(call.args)["text"] for call in backend.calls] == ["first", "second", "third"]
        assert {call.identity for call in backend.calls} == {b'{"subject":"ada"}'}

    asyncio.run(scenario())
