"""What the server asks of a worker on its own behalf: scheduling, and the upkeep of the platform's tables.

Each is a function of a run and a plain payload, executed and committed like any mutation; so they are serializable
with user code, and need no second way to the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from convexpy.functions.scheduled_rows import Row, queue_key
from convexpy.functions.scheduling import Scheduler
from convexpy.limits import SCHEDULED_ROW_DAYS, SESSION_REQUEST_DAYS
from convexpy.runtime.execution import Frame, Run
from convexpy.runtime.job_batches import Room
from convexpy.runtime.job_hints import job_hint
from convexpy.runtime.jobs import complete
from convexpy.runtime.push import PUSH_FUNCTIONS
from convexpy.runtime.storage_functions import STORAGE_FUNCTIONS
from convexpy.runtime.table_deletion import TABLE_FUNCTIONS
from convexpy.storage.keys import ID_BYTES
from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.system_tables import QUEUES, SCHEDULED_FUNCTIONS, SESSION_REQUESTS
from convexpy.values import decode_id, decode_json, encode_id, index_key

Payload = dict[str, Any]
DAY_MS = 24 * 3600 * 1000
FORGET_ROWS_PER_COMMIT = 500


def schedule(run: Run, payload: Payload) -> str:
    """Schedule for an action: `component`, `function` (a handle or name), and what `Scheduler.run_at` takes.

    `args` and `context` are JSON.
    """
    scheduler = _scheduler_of(run, payload["component"])
    return scheduler.run_at(
        payload["due_ms"] / 1000,
        payload["function"],
        decode_json(payload["args"]),
        on_complete=payload["on_complete"],
        on_complete_failed=payload["on_complete_failed"],
        context=decode_json(payload["context"]),
        lane=payload["lane"],
        queue=payload["queue"],
        completes_together=payload["completes_together"],
    )


def cancel(run: Run, payload: Payload) -> None:
    """Cancel for an action: `component`, `job_id`."""
    _scheduler_of(run, payload["component"]).cancel(payload["job_id"])


class _PlatformFrame(Frame):
    """The place of an action's call in its component, without a function of its own."""

    def __init__(self, run: Run, component: str) -> None:
        instance = run.generation.application.instances[component]
        self.run, self.instance, self.namespace = run, instance, run.resolver.namespace_of(component)
        self.transaction, self.now_ms, self.job_id = run.transaction, run.now_ms, run.job_id
        self.scheduled, self.finished_jobs = run.scheduled, run.finished_jobs


def _scheduler_of(run: Run, component: str) -> Scheduler:
    return Scheduler(_PlatformFrame(run, component))


def finish_action(run: Run, payload: Payload) -> dict[str, Any]:
    """Record the outcome of a scheduled action and complete its row; one that was canceled meanwhile stays so.

    Payload: `job_id`, `outcome` {"kind", "value" as JSON | "error", "data" as JSON, "log_lines"}.
    """
    run.transaction.is_unlimited = False
    internal_id = decode_id(payload["job_id"])[1]
    row = run.transaction.get(SCHEDULED_FUNCTIONS, internal_id)
    if row is None or row["state"]["kind"] != "inProgress":
        return {"kind": "gone"}
    outcome = dict(payload["outcome"])
    for name in ("value", "data"):
        if name in outcome:
            outcome[name] = decode_json(outcome[name])
    row = {name: value for name, value in row.items() if name != "running"}
    if not run.call.is_alone:
        run.room = Room(run)
    complete(run, internal_id, row, outcome)
    return {"kind": "done"}


def running_actions(run: Run, payload: Payload) -> list[str]:
    """Ids of the rows whose action had begun; after a start of the server nobody is running them."""
    rows = run.transaction.scan(SCHEDULED_FUNCTIONS, SCHEDULED_FUNCTIONS.indexes["by_running"], IndexBounds())
    return [row["_id"] for row in _first(rows, payload["limit"])]


def due_rows(run: Run, payload: Payload) -> list[list[Any]]:
    """Hints of the pending rows of one queue, earliest first: at most `limit`."""
    prefix = index_key([payload["queue"]])
    rows = run.transaction.scan(
        SCHEDULED_FUNCTIONS, SCHEDULED_FUNCTIONS.indexes["by_due"], IndexBounds(prefix, prefix + b"\xff")
    )
    hints = []
    for row in _first(rows, payload["limit"]):
        hint = job_hint(row["_id"], row)
        hints.append([hint.id, hint.due_ns, hint.is_action, hint.lane, hint.queue, hint.completes_together])
    return hints


def pending_queues(run: Run, payload: Payload) -> list[str]:
    """Names of all queues that have pending rows; skips from one to the next in the index."""
    found: list[str] = []
    index = SCHEDULED_FUNCTIONS.indexes["by_due"]
    start = b""
    while len(found) < payload["limit"]:
        rows = run.transaction.scan(SCHEDULED_FUNCTIONS, index, IndexBounds(start))
        row = next(iter(rows), None)
        if row is None:
            break
        found.append(row["pending_queue"])
        start = index_key([row["pending_queue"]]) + b"\xff"
    return found


def hurry_failing(run: Run, payload: Payload) -> int:
    """Let completions that wait out a back-off be tried at once, as new code may be what they need.

    Payload: `push`, the id of the push that has brought it; `limit`.

    Returns:
        how many these are; below the limit there are no more. None is hurried twice for one push.
    """
    index = SCHEDULED_FUNCTIONS.indexes["by_failing"]
    waiting = IndexBounds(index_key([True, float(run.now_ms)]) + b"\xff", index_key([True]) + b"\xff")
    rows = run.transaction.scan(SCHEDULED_FUNCTIONS, index, waiting)
    hurried = _first((row for row in rows if row.get("hurried") != payload["push"]), payload["limit"])
    for row in hurried:
        # A new row: the scheduler may hold the old one in memory with the instant until which it was to wait.
        run.transaction.delete(SCHEDULED_FUNCTIONS, decode_id(row["_id"])[1], row)
        kept = {name: value for name, value in row.items() if name not in ("_id", "_creationTime")}
        again = {**kept, "scheduledTime": float(run.now_ms), "hurried": payload["push"]}
        run.jobs.append(job_hint(run.transaction.insert(SCHEDULED_FUNCTIONS, again), again))
    return len(hurried)


def queue_limits(run: Run, payload: Payload) -> dict[str, int]:
    """Limits of all named queues, by their key in the due index."""
    rows = run.transaction.scan(QUEUES, QUEUES.indexes["by_name"], IndexBounds())
    return {queue_key(row["namespace"], row["name"]): int(row["limit"]) for row in rows}


def document_of_key(run: Run, payload: Payload) -> dict[str, str] | None:
    """Which document a stored key belongs to: `table`, with its component's path before it, and `id`."""
    key: bytes = payload["key"]
    catalog = run.transaction.catalog
    table = catalog.table_of_key(key)
    if table is None:
        return None
    component = catalog.component_paths.get(table.namespace, "")
    name = f"{component}/{table.name}" if component else table.name
    return {"table": name, "id": encode_id(table.number, key[-ID_BYTES:])}


def forget(run: Run, payload: Payload) -> int:
    """Delete finished scheduled functions and session records that are past their time; answers how many."""
    count = 0
    finished_before = run.now_ms - SCHEDULED_ROW_DAYS * DAY_MS
    rows = run.transaction.scan(
        SCHEDULED_FUNCTIONS,
        SCHEDULED_FUNCTIONS.indexes["by_finished"],
        IndexBounds(b"", index_key([finished_before])),
    )
    count += _delete_all(run, SCHEDULED_FUNCTIONS, _first(rows, FORGET_ROWS_PER_COMMIT))
    recorded_before = run.now_ms - SESSION_REQUEST_DAYS * DAY_MS
    rows = run.transaction.scan(
        SESSION_REQUESTS,
        SESSION_REQUESTS.indexes["by_creation_time"],
        IndexBounds(b"", index_key([recorded_before])),
    )
    return count + _delete_all(run, SESSION_REQUESTS, _first(rows, FORGET_ROWS_PER_COMMIT))


def _delete_all(run: Run, table: TableInfo, rows: list[Row]) -> int:
    for row in rows:
        run.transaction.delete(table, decode_id(row["_id"])[1])
    return len(rows)


def _first(rows: Iterator[Row], limit: int) -> list[Row]:
    found = []
    for row in rows:
        found.append(row)
        if len(found) >= limit:
            break
    return found


SYSTEM_FUNCTIONS: dict[str, Callable[[Run, Any], Any]] = {
    "schedule": schedule,
    "cancel": cancel,
    "finish_action": finish_action,
    "running_actions": running_actions,
    "due_rows": due_rows,
    "pending_queues": pending_queues,
    "hurry_failing": hurry_failing,
    "queue_limits": queue_limits,
    "document_of_key": document_of_key,
    "forget": forget,
    **PUSH_FUNCTIONS,
    **STORAGE_FUNCTIONS,
    **TABLE_FUNCTIONS,
}
