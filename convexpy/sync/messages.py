"""Sync protocol messages: client messages into Structs, server messages into JSON text.

Arguments are cut out of a message as bytes and results are spliced into one as bytes: neither is ever decoded here.

Source: wire-protocol 2, 3; convex-js src/browser/sync/protocol.ts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Raw, Struct

from convexpy.limits import TRANSITION_CHUNK_BYTES
from convexpy.runtime.interface import Outcome
from convexpy.runtime.timestamps import encode_ts

_KEPT_BYTES_MAX = 0xFFFF
U32 = Annotated[int, Meta(ge=0, lt=2**32)]


class ClientMessage(Struct, tag_field="type", kw_only=True):
    """Anything a client sends; unknown fields are ignored."""


class Connect(ClientMessage, tag="Connect"):
    sessionId: UUID  # noqa: N815 - the wire's spelling, here and below
    maxObservedTimestamp: str | None = None  # noqa: N815
    clientTs: int | float | None = None  # noqa: N815  ms


class Add(Struct, tag="Add", tag_field="type", kw_only=True):
    queryId: U32  # noqa: N815
    udfPath: str  # noqa: N815
    args: list[Raw]
    journal: str | None = None
    componentPath: str | None = None  # noqa: N815


class Remove(Struct, tag="Remove", tag_field="type", kw_only=True):
    queryId: U32  # noqa: N815


class ModifyQuerySet(ClientMessage, tag="ModifyQuerySet"):
    baseVersion: U32  # noqa: N815
    newVersion: U32  # noqa: N815
    modifications: list[Add | Remove]


class Mutation(ClientMessage, tag="Mutation"):
    requestId: U32  # noqa: N815
    udfPath: str  # noqa: N815
    args: list[Raw]
    componentPath: str | None = None  # noqa: N815


class Action(ClientMessage, tag="Action"):
    requestId: U32  # noqa: N815
    udfPath: str  # noqa: N815
    args: list[Raw]
    componentPath: str | None = None  # noqa: N815


class Authenticate(ClientMessage, tag="Authenticate"):
    baseVersion: U32  # noqa: N815
    tokenType: Literal["User", "Admin", "None"]  # noqa: N815
    value: str = ""
    impersonating: Raw = Raw(b"null")
    acting_as: Raw = Raw(b"null")  # Rust's spelling of it


class Event(ClientMessage, tag="Event"):
    """Telemetry of the client; nobody here wants it."""


AnyClientMessage = Connect | ModifyQuerySet | Mutation | Action | Authenticate | Event

_decoder = msgspec.json.Decoder(AnyClientMessage)
_encode = msgspec.json.encode


def decode_client_message(text: str) -> AnyClientMessage:
    """Read one frame.

    Raises:
        msgspec.DecodeError: no JSON, or no message of the protocol; the text says where.
    """
    message: AnyClientMessage = _decoder.decode(text)
    return message


def single_argument(args: list[Raw]) -> bytes:
    """The object of a one-element argument list, as the client wrote it.

    A list of any other length is returned as it is: no object, so the function's worker refuses it with a text.
    """
    if len(args) == 1:
        return bytes(args[0])
    return b"[" + b",".join(bytes(arg) for arg in args) + b"]"


@lru_cache(maxsize=64)
def _encode_version(query_set: int, identity: int, ts: int) -> bytes:
    return b'{"querySet":%d,"identity":%d,"ts":"%b"}' % (query_set, identity, encode_ts(ts).encode())


class StateVersion(Struct, frozen=True):
    """What a client holds: the query set and identity it asked for, and the timestamp of all its results."""

    query_set: int = 0
    identity: int = 0
    ts: int = 0

    def encode(self) -> bytes:
        return _encode_version(self.query_set, self.identity, self.ts)


_last_result: tuple[Outcome | None, int, str | None, bytes] = (None, 0, None, b"")


def query_result(query_id: int, outcome: Outcome, journal: str | None) -> bytes:
    """A modification: `QueryUpdated` or `QueryFailed`. Subscribers of one query get it one after the other."""
    global _last_result
    last_outcome, last_id, last_journal, encoded = _last_result
    if outcome is not last_outcome or query_id != last_id or journal != last_journal:
        encoded = _query_result(query_id, outcome, journal)
        _last_result = (outcome, query_id, journal, encoded)
    return encoded


def _query_result(query_id: int, outcome: Outcome, journal: str | None) -> bytes:
    if outcome.ok:
        head, tail = b'{"type":"QueryUpdated","queryId":%d,"value":%b' % (query_id, outcome.value), b""
    else:
        head = b'{"type":"QueryFailed","queryId":%d,"errorMessage":%b' % (query_id, _encode(outcome.error))
        tail = _error_data(outcome)
    return b'%b,"logLines":%b,"journal":%b%b}' % (head, _encode(outcome.log_lines), _encode(journal), tail)


def query_removed(query_id: int) -> bytes:
    return b'{"type":"QueryRemoved","queryId":%d}' % query_id


_last_body: tuple[StateVersion, StateVersion, list[bytes], bytes, bytes] | None = None


def transition(
    start: StateVersion, end: StateVersion, modifications: list[bytes], skew_ms: int | None, now_ns: int
) -> bytes:
    """A `Transition`. Without a known skew, skew and server time are left out: clients take both or neither.

    Subscribers of one query get the same one after the other, so the last one is kept if it is short.
    """
    global _last_body
    last = _last_body
    if last is not None and last[0] == start and last[1] == end and last[2] == modifications:
        body, whole = last[3], last[4]
    else:
        body = b'{"type":"Transition","startVersion":%b,"endVersion":%b,"modifications":[%b]' % (
            start.encode(),
            end.encode(),
            b",".join(modifications),
        )
        whole = body + b"}"
        _last_body = (start, end, modifications, body, whole) if len(body) <= _KEPT_BYTES_MAX else None
    if skew_ms is None:
        return whole
    return b'%b,"clientClockSkew":%d,"serverTs":%d}' % (body, skew_ms, now_ns)


def transition_chunks(transition: bytes, transition_id: int) -> list[bytes]:
    """Cut a `Transition` into `TransitionChunk`s, which must be sent in this order with nothing but pings between.

    Args:
        transition_id: tells the parts of one from those of another.
    """
    text = transition.decode()
    count = -(-len(transition) // TRANSITION_CHUNK_BYTES)
    chars = -(-len(text) // count)
    return [
        _encode(
            {
                "type": "TransitionChunk",
                "chunk": text[number * chars : (number + 1) * chars],
                "partNumber": number,
                "totalParts": count,
                "transitionId": str(transition_id),
            }
        )
        for number in range(count)
    ]


def mutation_response(request_id: int, outcome: Outcome) -> bytes:
    ts = b'"%b"' % encode_ts(outcome.ts).encode() if outcome.ok else b"null"
    return _response(b"MutationResponse", request_id, outcome, b',"ts":' + ts)


def action_response(request_id: int, outcome: Outcome) -> bytes:
    return _response(b"ActionResponse", request_id, outcome, b"")


def auth_error(error: str, base_version: int, is_update: bool) -> bytes:
    """Args: base_version: identity version of the last transition sent. is_update: whether a token was just offered."""
    return _encode({"type": "AuthError", "error": error, "baseVersion": base_version, "authUpdateAttempted": is_update})


def fatal_error(error: str) -> bytes:
    return _encode({"type": "FatalError", "error": error})


PING = b'{"type":"Ping"}'


def _response(kind: bytes, request_id: int, outcome: Outcome, ts: bytes) -> bytes:
    return b'{"type":"%b","requestId":%d,"success":%b,"result":%b%b,"logLines":%b%b}' % (
        kind,
        request_id,
        b"true" if outcome.ok else b"false",
        outcome.value if outcome.ok else _encode(outcome.error),
        ts,
        _encode(outcome.log_lines),
        b"" if outcome.ok else _error_data(outcome),
    )


def _error_data(outcome: Outcome) -> bytes:
    """Present iff the function threw a ConvexError; its data may be null, which clients tell from absent."""
    return b"" if outcome.error_data is None else b',"errorData":' + outcome.error_data
