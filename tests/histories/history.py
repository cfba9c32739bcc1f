"""What clients asked and were told, as records and as JSON lines in Jepsen's shape.

An operation is a list: its name, its arguments, and for those that answer something the answer at the end. Jepsen's own
are `["append", key, value]`, `["w", key, value]` and `["r", key, answer]`; see `model` for the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from msgspec import Struct

Operation = list[Any]
Status = Literal["ok", "fail", "info"]
JEPSEN_OPERATIONS = frozenset({"append", "w", "r"})
WRITING = frozenset({"append", "w", "put", "move", "delete", "transfer"})
ROLLED_BACK_PROCESSES = 1_000_000  # parts of transactions that were undone are processes of their own, from here on
NEVER = 2**63 - 1


class Record(Struct, kw_only=True, gc=False):
    """One transaction of one client.

    `invoked` and `completed` are instants of one clock, whatever its unit: a transaction was over before another began
    where the one's `completed` is below the other's `invoked`.
    """

    process: int
    invoked: int
    completed: int = NEVER  # status "info": nobody knows whether, or when
    status: Status = "ok"  # "fail": it has certainly not happened
    operations: list[Operation]
    ts: int | None = None  # of the commit; of the snapshot where nothing was written; None: unknown
    mark: str = ""  # see tests/histories/app/transactions.py

    @property
    def writes(self) -> bool:
        """Whether it holds operations that may write."""
        return any(operation[0] in WRITING for operation in self.operations)


def invocation_of(operation: Operation) -> Operation:
    """The operation without its answer."""
    return [*operation[:-1], None] if operation[0] not in ("append", "w", "put") else operation


def to_json_lines(records: Iterable[Record]) -> Iterator[str]:
    """Two events a transaction, an invocation and an `ok`, `fail` or `info`, in the order of time.

    Only operations that Jepsen's checkers know are told, and only transactions that have some. A subset of a
    transaction's operations is as serializable as the whole.
    """
    events: list[tuple[int, int, str, Record]] = []
    for record in records:
        if any(operation[0] in JEPSEN_OPERATIONS for operation in record.operations):
            events.append((record.invoked, 0, "invoke", record))
            events.append((record.completed, 1, record.status, record))
    events.sort(key=lambda event: event[:2])
    for index, (time, _, kind, record) in enumerate(events):
        known = [operation for operation in record.operations if operation[0] in JEPSEN_OPERATIONS]
        value = known if kind == "ok" else [invocation_of(operation) for operation in known]
        event = {"index": index, "type": kind, "process": record.process, "f": "txn", "value": value, "time": time}
        if kind == "ok" and record.ts is not None:
            event["ts"] = record.ts
        yield json.dumps(event)


def from_json_lines(lines: Iterable[str]) -> list[Record]:
    """Read what `to_json_lines` or another test harness wrote; records are in the order of invocations."""
    records: list[Record] = []
    running: dict[int, Record] = {}
    for line in lines:
        event = json.loads(line)
        if event["type"] == "invoke":
            record = Record(process=event["process"], invoked=event["time"], status="info", operations=event["value"])
            records.append(record)
            running[event["process"]] = record
            continue
        record = running.pop(event["process"])
        record.status = event["type"]
        if record.status != "info":
            record.completed = event["time"]
        if record.status == "ok":
            record.operations = event["value"]
            record.ts = event.get("ts")
    return records
