"""Answers a client's mutation once, however often it is sent: a record by (session, request number).

The record is written by the mutation's own transaction and looked up inside it, so of two racing copies one conflicts
and then finds the record. Every success is recorded, one that wrote nothing as well: its client may have been told so,
and sends it again all the same; what would happen then, nobody would hear of. A failed mutation may run again.
A session keeps its latest `SESSION_REQUESTS_MAX` records; old ones go by age (see `system_functions.forget`).
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from convexpy.limits import SESSION_REQUESTS_MAX
from convexpy.runtime.log_capture import lines_to_keep
from convexpy.storage.keys import document_key
from convexpy.transactions.system_tables import SESSION_REQUESTS
from convexpy.transactions.transaction import Transaction


class Recorded(NamedTuple):
    """The answer that was given, and the timestamp of the commit that it told of."""

    value: bytes
    log_lines: list[str]
    ts: int


def find_recorded(transaction: Transaction, session: tuple[str, int]) -> Recorded | None:
    """The answer to this request, if it has been given."""
    internal_id = _record_id(*session)
    row = transaction.get(SESSION_REQUESTS, internal_id)
    if row is None:
        return None
    ts = transaction.commit_ts_of(SESSION_REQUESTS, internal_id)
    assert ts is not None, f"record {document_key(SESSION_REQUESTS.keyspace, internal_id).hex()} was never committed"
    return Recorded(row["value"], row.get("logLines", []), ts)


def record(transaction: Transaction, session: tuple[str, int], value: bytes, log_lines: list[str]) -> None:
    """Keep the answer to this request; the one `SESSION_REQUESTS_MAX` before it goes."""
    session_id, number = session
    row: dict[str, Any] = {"value": value}
    if log_lines:
        row["logLines"] = lines_to_keep(log_lines)
    transaction.insert(SESSION_REQUESTS, row, _record_id(session_id, number))
    if number >= SESSION_REQUESTS_MAX:
        outdated = _record_id(session_id, number - SESSION_REQUESTS_MAX)
        if transaction.get(SESSION_REQUESTS, outdated) is not None:
            transaction.delete(SESSION_REQUESTS, outdated)


def _record_id(session_id: str, number: int) -> bytes:
    """Neighbouring requests of a session are neighbours on disk."""
    return hashlib.sha256(session_id.encode()).digest()[:12] + number.to_bytes(4, "big")
