"""The recorded sessions and requests of official clients; see corpus/README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "corpus"
SESSIONS = FOLDER / "sessions.json"
REQUESTS = FOLDER / "requests.json"


class Session(NamedTuple):
    """One WebSocket connection: where to, as which client, and the text frames that it sent."""

    path: str
    client: str | None
    frames: list[str]


def recorded_sessions() -> list[Session]:
    return [Session(**session) for session in json.loads(SESSIONS.read_text())]


def recorded_requests() -> list[bytes]:
    """Whole connections to the API port, byte for byte."""
    requests: list[str] = json.loads(REQUESTS.read_text())
    return [request.encode("latin-1") for request in requests]
