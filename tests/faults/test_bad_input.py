"""What no client should send, over real sockets: an error or a closed socket, and a server that goes on.

Source of the reactions: wire-protocol 1, 2.6, 4.2, 8.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import struct
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from convexpy.limits import HTTP_BODY_BYTES_MAX, SOCKET_MESSAGE_BYTES_MAX
from tests.clients.server import Server
from tests.faults.convex_client import http, sync_client
from tests.patience import PATIENCE_SECONDS, connect
from tests.seeds import asked_seed

SESSION = "4339ecba-272a-47a4-a95c-26938a22326a"
DEPTH = 200_000


@pytest.fixture(autouse=True)
def unharmed(server: Server) -> Any:
    """After each test the server serves, in the same process, and has nothing to say about what it was sent."""
    before = server.complaints.so_far()
    yield
    assert server.is_running
    name = f"after {len(before)}"
    assert call(server, "mutation", "counters:add", {"name": name})["status"] == "success"
    assert "Traceback" not in server.complaints.so_far()[len(before) :]


def call(server: Server, kind: str, path: str, args: Any) -> dict[str, Any]:
    async def call() -> dict[str, Any]:
        async with http(server.port) as connection:
            return await connection.call(kind, path, args)

    return asyncio.run(call())


def post(server: Server, path: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and decoded body of one answer."""

    async def post() -> tuple[int, Any]:
        async with http(server.port) as connection:
            answer = await connection.post(path, body, headers)
            return answer.status, answer.json()

    return asyncio.run(post())


def say(server: Server, *frames: str | bytes) -> tuple[list[dict[str, Any]], int, str]:
    """Send frames on a connection that has said Connect: what comes before the close, its code and its reason."""

    async def say() -> tuple[list[dict[str, Any]], int, str]:
        answers: list[dict[str, Any]] = []
        async with sync_client(server.port) as client, asyncio.timeout(PATIENCE_SECONDS):
            try:
                for frame in frames:
                    await client.socket.send(frame)
                while True:
                    answers.append(json.loads(await client.socket.recv()))
            except ConnectionClosed as closed:
                return answers, closed.rcvd.code if closed.rcvd else 1006, closed.rcvd.reason if closed.rcvd else ""

    return asyncio.run(say())


def add(query_id: int, **changes: Any) -> dict[str, Any]:
    return {"type": "Add", "queryId": query_id, "udfPath": "counters:read", "args": [{"name": "x"}], **changes}


def modify(base: Any, new: Any, *modifications: Any) -> str:
    message = {"type": "ModifyQuerySet", "baseVersion": base, "newVersion": new, "modifications": modifications}
    return json.dumps(message)


def mutation(**changes: Any) -> str:
    return json.dumps({"type": "Mutation", "requestId": 0, "udfPath": "counters:add", "args": [{}], **changes})


# --- the sync socket


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{",
        "nonsense",
        "[]",
        "null",
        "NaN",
        '{"type":"ModifyQuerySet"}',
        '{"type":"Explode"}',
        '{"type":null}',
        '{"baseVersion":0}',
        json.dumps({"type": "Connect", "sessionId": "no uuid", "connectionCount": 0}),
        json.dumps({"type": "Connect", "sessionId": SESSION, "maxObservedTimestamp": "%%%"}),
        json.dumps({"type": "Connect", "sessionId": SESSION, "maxObservedTimestamp": "AAAA"}),
        json.dumps({"type": "Authenticate", "baseVersion": 0, "tokenType": "Wizard", "value": "x"}),
        modify(-1, 0),
        modify(2**40, 2**41),
        modify(0, 1, add(-1)),
        modify(0, 1, add(0, args={"name": "x"})),
        modify(0, 1, {"type": "Replace", "queryId": 0}),
        mutation(requestId=2**32),
        mutation(requestId=1.5),
        mutation(udfPath=None),
        '{"type":"Mutation","requestId":0,"udfPath":"counters:add","args":[{"name":NaN}]}',
        '{"type":"Mutation","requestId":0,"udfPath":"\\ud800","args":[{}]}',
        '{"type":"Mutation","requestId":0,"udfPath":"counters:add","args":[{"name":"\\ud800"}]}',
        '{"type":"Event","event":' + "[" * DEPTH + "]" * DEPTH + "}",
    ],
    ids=lambda frame: frame[:60],
)
def test_what_is_no_message_is_a_fatal_error(server: Server, frame: str) -> None:
    """With the place of the fault in its text, then the socket is closed."""
    answers, code, _ = say(server, frame)

    assert [answer["type"] for answer in answers] == ["FatalError"]
    assert answers[0]["error"].startswith("Received Invalid JSON on websocket: ")
    assert code == 1000


def test_a_wrong_base_version_is_a_fatal_error(server: Server) -> None:
    """The query sets of client and server have come apart."""
    answers, code, _ = say(server, modify(5, 6))

    assert answers == [{"type": "FatalError", "error": "Base version 5 passed up doesn't match the current version 0"}]
    assert code == 1000


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x01 binary",
        b"",
        modify(0, 0),
        modify(0, 1, add(0), add(0)),
        modify(0, 1, {"type": "Remove", "queryId": 7}),
        modify(0, 1, add(0, componentPath="workflow")),
        mutation(componentPath="workflow"),
        json.dumps({"type": "Authenticate", "baseVersion": 3, "tokenType": "None"}),
        json.dumps({"type": "Connect", "sessionId": SESSION, "maxObservedTimestamp": "/////////38="}),
    ],
    ids=lambda frame: repr(frame[:80]),
)
def test_a_breach_of_the_protocol_closes_the_socket(server: Server, frame: str | bytes) -> None:
    """As an internal error, at which clients reconnect."""
    answers, code, reason = say(server, frame)

    assert (answers, code, reason) == ([], 1011, "InternalServerError")


@pytest.mark.parametrize("token_type", ["User", "Admin"])
def test_a_token_that_proves_nothing_is_refused(server: Server, token_type: str) -> None:
    """`AuthError`, then a close: a client counts its identity on without a word when it gives up."""
    frame = json.dumps({"type": "Authenticate", "baseVersion": 0, "tokenType": token_type, "value": "not a token"})

    answers, code, _ = say(server, frame)

    assert [(answer["type"], answer["authUpdateAttempted"]) for answer in answers] == [("AuthError", True)]
    assert "not a token" not in answers[0]["error"]
    assert code == 1000


def test_a_message_beyond_the_bound_closes_the_socket(server: Server) -> None:
    """1009, by the WebSocket layer, which does not read on."""
    _, code, _ = say(server, "x" * (SOCKET_MESSAGE_BYTES_MAX + 1))

    assert code == 1009


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/api/one.two.three/sync", {}, "InvalidClientVersion"),
        ("/api/0.1.0/sync", {}, "ClientVersionUnsupported"),
        ("/api/sync", {"Convex-Client": "python-0.0.1"}, "ClientVersionUnsupported"),
    ],
)
def test_an_upgrade_of_a_client_that_is_not_served(
    server: Server, path: str, headers: dict[str, str], code: str
) -> None:
    """400 with a body that says why."""

    async def upgrade() -> InvalidStatus:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://127.0.0.1:{server.port}{path}", additional_headers=headers):
                pass
        return refused.value

    response = asyncio.run(upgrade()).response

    assert response.status_code == 400
    assert json.loads(response.body)["code"] == code


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("nowhere:nothing", "Could not find public function for 'nowhere:nothing'."),
        ("rows:secret", "Could not find public function for 'rows:secret'."),
        ("counters:add", "Trying to execute counters.js:add as Query, but it is defined as Mutation."),
        ("../../etc/passwd", "Could not find public function for '../../etc/passwd'."),
        ("", "Could not find public function for ''."),
    ],
)
def test_a_query_that_cannot_be_called_fails_alone(server: Server, path: str, text: str) -> None:
    """Data, not a protocol error: what else the socket watches goes on. An internal function does not exist."""

    async def watch() -> tuple[dict[str, Any], dict[str, Any]]:
        async with sync_client(server.port) as client:
            await client.subscribe(0, path, {})
            await client.subscribe(1, "counters:read", {"name": "beside"})
            return await client.until(0, lambda result: True), await client.until(1, lambda result: True)

    failed, beside = asyncio.run(watch())

    assert failed["type"] == "QueryFailed"
    assert text in failed["errorMessage"]
    assert beside["type"] == "QueryUpdated"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ("[]", "must be one object"),
        ("[{},{}]", "must be one object"),
        ("[7]", "must be one object"),
        ('[{"name":1}]', "ArgumentValidationError"),
        ('[{"nme":"x"}]', "ArgumentValidationError"),
        ('[{"name":"x","by":{"$integer":"AAAA"}}]', "Invalid arguments for counters:add"),
        ('[{"name":"x","by":{"$magic":1}}]', "Invalid arguments for counters:add"),
        ('[{"name":' + "[" * 100 + "]" * 100 + "}]", "Invalid arguments for counters:add"),
        ('[{"name":' + "[" * 900 + "]" * 900 + "}]", "Invalid arguments for counters:add"),
    ],
    ids=lambda text: text[:40],
)
def test_arguments_that_are_no_values_fail_the_call_alone(server: Server, args: str, text: str) -> None:
    """The same over both transports."""
    body = f'{{"path":"counters:add","args":{args}}}'.encode()

    async def mutate() -> dict[str, Any]:
        async with sync_client(server.port) as client:
            message = f'{{"type":"Mutation","requestId":0,"udfPath":"counters:add","args":{args}}}'
            await client.socket.send(message)
            return await client.response(0)

    response = asyncio.run(mutate())
    status, outcome = post(server, "/api/mutation", body)

    assert not response["success"]
    assert text in response["result"]
    assert (status, outcome["status"]) == (200, "error")
    assert text in outcome["errorMessage"]


# --- HTTP


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 400, "BadJsonBody"),
        (b"{", {}, 400, "BadJsonBody"),
        (b"[]", {}, 400, "BadJsonBody"),
        (b"\xff\xfe", {}, 400, "BadJsonBody"),
        (b'{"args":{}}', {}, 400, "BadJsonBody"),
        (b'{"path":7,"args":{}}', {}, 400, "BadJsonBody"),
        (b'{"path":"counters:read","args":{"name":NaN}}', {}, 400, "BadJsonBody"),
        (b'{"path":"counters:read","args":{"name":"\\ud800"}}', {}, 400, "BadJsonBody"),
        (b'{"path":"counters:read","args":{}}', {"Content-Type": "text/plain"}, 400, "BadJsonBody"),
        (b'{"path":"counters:read","args":{},"format":"xml"}', {}, 400, "BadFormat"),
        (b'{"path":"../../etc/passwd","args":{}}', {}, 400, "BadConvexFunctionIdentifier"),
        (b'{"path":"counters:read","args":' + b"[" * DEPTH + b"]" * DEPTH + b"}", {}, 400, "BadJsonBody"),
        (b'{"path":"counters:read","args":{}}', {"Convex-Client": "nonsense"}, 400, "InvalidClientVersion"),
        (b'{"path":"counters:read","args":{}}', {"Authorization": "Convex not-a-key"}, 403, "BadDeployKey"),
        (b" " * (HTTP_BODY_BYTES_MAX + 1), {}, 413, "BodyTooLarge"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_a_bad_request_is_an_error_with_a_code(
    server: Server, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """A status of the 400s and a sentence."""
    answered, said = post(server, "/api/query", body, headers)

    assert (answered, said["code"]) == (status, code), said
    assert said["message"]


@pytest.mark.parametrize(("path", "status"), [("/api/nothing", 404), ("/api/sync", 404), ("/nowhere", 404)])
def test_an_unknown_route(server: Server, path: str, status: int) -> None:
    """A sentence as well."""
    answered, said = post(server, path, b"{}")

    assert answered == status
    assert set(said) == {"code", "message"}


def test_an_admin_route_wants_the_key(server: Server) -> None:
    """Internal functions included."""
    status, said = post(server, "/api/function", b'{"path":"rows:secret","args":{}}')

    assert status in (401, 403)
    assert said["code"]


def test_arguments_beyond_the_bound_of_a_call_fail_it(server: Server) -> None:
    """More than 16 MiB as Convex counts, sent over the socket, which takes larger messages than HTTP."""

    async def mutate() -> dict[str, Any]:
        async with sync_client(server.port) as client:
            await client.mutate(0, "rows:add", {"round": "huge", "name": "x" * (16 * 1024 * 1024)})
            return await client.response(0)

    response = asyncio.run(mutate())

    assert not response["success"]
    assert "Arguments for rows:add are too large" in response["result"]


def test_a_document_beyond_the_bound_is_not_written(server: Server) -> None:
    """1 MiB."""
    outcome = call(server, "mutation", "rows:add", {"round": "large", "name": "x" * (1024 * 1024)})

    assert outcome["status"] == "error"
    assert "too large" in outcome["errorMessage"]
    assert call(server, "query", "rows:names", {"round": "large"})["value"] == []


# --- bytes


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00" * 100,
        b"GET\r\n\r\n",
        b"POST /api/query HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/query HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nshort",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"GET /api/sync HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
    ids=lambda sent: repr(sent[:50]),
)
def test_bytes_that_are_no_http(server: Server, sent: bytes) -> None:
    """And a client that hangs up in the middle of a request. A server that closes before it has read all resets the
    connection, which may come before its answer has been read: that is an end as well."""

    async def send() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        async with asyncio.timeout(PATIENCE_SECONDS):
            with contextlib.suppress(ConnectionError):
                writer.write(sent)
                writer.write_eof()
                await reader.read()
        writer.close()

    asyncio.run(send())


def test_random_frames(server: Server) -> None:
    """Messages with something changed at random: each connection gets an answer or is closed, none hangs."""
    chance = random.Random(asked_seed("FAULT_SEED"))
    good = [modify(0, 1, add(0)), mutation(), json.dumps({"type": "Event", "event": 1})]

    def spoil(frame: str) -> str:
        where = chance.randrange(len(frame))
        return frame[:where] + chance.choice(['"', "{", "]", "0", "-", "\\", "\x00", "é", ""]) + frame[where + 1 :]

    async def send() -> None:
        for _ in range(100):
            async with sync_client(server.port) as client:
                with contextlib.suppress(ConnectionClosed):  # after the first of them already
                    for frame in [spoil(frame) for frame in good]:
                        await client.socket.send(frame)
                await client.socket.close()

    asyncio.run(send())


def test_frames_that_break_the_websocket_protocol(server: Server) -> None:
    """An unmasked frame and one with a reserved opcode end their connection."""

    async def send(frame: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET /api/1.48.0/sync HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert b"101" in (await reader.readuntil(b"\r\n\r\n"))[:20]
            writer.write(frame)
            rest = await reader.read()
        writer.close()
        return rest

    closed = [asyncio.run(send(frame)) for frame in (b"\x81\x02hi", b"\x8b\x80\x00\x00\x00\x00")]

    for frame in closed:
        assert frame[0] == 0x88
        assert struct.unpack(">H", frame[2:4]) == (1002,)
