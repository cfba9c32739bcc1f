"""Bends recorded sessions and requests out of shape, from a seed: values, structure, bytes, order."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.fuzz.corpus import Session

STRANGE_TEXTS = (
    "",
    "\x00",
    "null",
    "../../etc/passwd",
    "a" * 70_000,
    "\ud800",
    "\U0001f600",
    "_system/cli/tables",
    "counters.js:add",
    ":",
    "::",
    "a:b:c",
    "function://1/x:y",
    "Bearer x",
    "dev:test|00",
    "AAAAAAAAAAA=",
    "//////////8=",
    "AAAA",
    "4339ecba-272a-47a4-a95c-26938a22326a",
)
STRANGE_NUMBERS = (-1, 0, 1, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, 10**40, -0.0, 0.5, 1e308, 1e-320)
STRANGE_RAW = (
    "NaN",
    "-Infinity",
    "1e999",
    "01",
    "'x'",
    "{",
    "]",
    '"\\ud800"',
    '"\\x"',
    "[" * 2000,
    '{"a":' * 2000,
    "\u2028",
)
STRANGE_OBJECTS: tuple[Any, ...] = (
    {"$integer": "AAAA"},
    {"$integer": "AAAAAAAAAAA="},
    {"$float": "AAAAAAAA+H8="},
    {"$bytes": "*"},
    {"$undefined": None},
    {"$x": 1},
    {"$integer": "AAAAAAAAAAA=", "b": 1},
    [],
    {},
    [[]],
    [{}] * 3,
    True,
    None,
)
FURTHER_FRAMES: tuple[dict[str, Any], ...] = (
    {"type": "Authenticate", "baseVersion": 0, "tokenType": "User", "value": "e30.e30.e30"},
    {"type": "Authenticate", "baseVersion": 0, "tokenType": "None"},
    {
        "type": "Authenticate",
        "baseVersion": 0,
        "tokenType": "Admin",
        "value": "dev:x|00",
        "impersonating": {"subject": "1"},
    },
    {"type": "Event", "eventType": "ClientConnect", "event": {"marks": [1, 2]}},
    {
        "type": "ModifyQuerySet",
        "baseVersion": 0,
        "newVersion": 1,
        "modifications": [
            {
                "type": "Add",
                "queryId": 7,
                "udfPath": "messages:bodies",
                "args": [{"channel": "c"}],
                "journal": "nonsense",
                "componentPath": "workflow",
            }
        ],
    },
    {
        "type": "Connect",
        "sessionId": "4339ecba-272a-47a4-a95c-26938a22326a",
        "connectionCount": 3,
        "lastCloseReason": None,
        "maxObservedTimestamp": "//////////8=",
        "clientTs": 1.5,
    },
)


def bend_session(session: Session, others: list[Session], random: Random) -> Session:
    """One session made of another: some frames changed, dropped, doubled, moved, or taken from elsewhere."""
    frames = list(session.frames)
    for _ in range(random.randrange(1, 4)):
        if not frames:
            break
        at = random.randrange(len(frames))
        match random.randrange(9):
            case 0:
                del frames[at]
            case 1:
                frames.insert(at, random.choice(frames))
            case 2:
                frames.insert(at, random.choice(random.choice(others).frames))
            case 3:
                frames.insert(at, json.dumps(_bend_value(random.choice(FURTHER_FRAMES), random)))
            case 4:
                other = random.randrange(len(frames))
                frames[at], frames[other] = frames[other], frames[at]
            case 5:
                frames[at] = bend_bytes(frames[at].encode(), random).decode(errors="replace")
            case _:
                frames[at] = bend_json(frames[at], random)
    path = session.path if random.random() < 0.95 else random.choice(("/api/sync", "//api//sync", "/api/1.0/sync"))
    return Session(path, session.client, frames)


def bend_json(text: str, random: Random) -> str:
    """Replace, add or remove something within a JSON text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # it was bent before, perhaps to be deeper than Python reads
        return bend_bytes(text.encode(), random).decode(errors="replace")
    bent = json.dumps(_bend_value(value, random))
    if random.random() < 0.1:
        place = random.choice(("0", "1", "true", '"type"', "[", "{"))
        bent = bent.replace(place, random.choice(STRANGE_RAW), 1)
    return bent


def _bend_value(value: Any, random: Random) -> Any:
    """Descend to a random place and change it."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(list(value))
        match random.randrange(10):
            case 0:
                return {name: item for name, item in value.items() if name != key}
            case 1:
                return {**value, random.choice(STRANGE_TEXTS): value[key]}
            case 2:
                return {**value, key: value[random.choice(list(value))]}
            case _:
                return {**value, key: _bend_value(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.85:
        at = random.randrange(len(value))
        match random.randrange(8):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value + [value[at]] * random.choice((1, 2, 1000))
            case _:
                return [*value[:at], _bend_value(value[at], random), *value[at + 1 :]]
    match random.randrange(5):
        case 0:
            return random.choice(STRANGE_TEXTS)
        case 1:
            return random.choice(STRANGE_NUMBERS)
        case 2:
            return random.choice(STRANGE_OBJECTS)
        case 3:
            return nested(random.choice((10, 63, 64, 65, 500)), random)
        case _:
            return str(value)


def nested(depth: int, random: Random) -> Any:
    """Lists or objects inside each other."""
    value: Any = 1
    is_list = random.random() < 0.5
    for _ in range(depth):
        value = [value] if is_list else {"a": value}
    return value


def bend_bytes(raw: bytes, random: Random) -> bytes:
    """Flip, drop, double or cut bytes."""
    bent = bytearray(raw)
    for _ in range(random.randrange(1, 4)):
        if not bent:
            break
        at = random.randrange(len(bent))
        end = at + random.randrange(1, 20)
        match random.randrange(5):
            case 0:
                bent[at] ^= 1 << random.randrange(8)
            case 1:
                del bent[at:end]
            case 2:
                bent[at:at] = bent[at:end]
            case 3:
                bent[at:end] = random.randbytes(random.randrange(20))
            case _:
                del bent[at:]
    return bytes(bent)


def bend_request(raw: bytes, random: Random) -> bytes:
    """One HTTP connection made of another: its bytes, or the body of one of its requests with a length that fits."""
    if random.random() < 0.4:
        return bend_bytes(raw, random)
    head, separator, rest = raw.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    body, further = rest[:length], rest[length:]
    if random.random() < 0.7:
        is_json = body[:1] in (b"{", b"[")
        body = (
            bend_json(body.decode(), random).encode("utf-8", "surrogatepass") if is_json else bend_bytes(body, random)
        )
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
        head = b"\r\n".join([*lines, b"content-length: %d" % len(body)])
    else:
        head = bend_bytes(head, random)
    return head + separator + body + further
