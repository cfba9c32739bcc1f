"""How a row of `_scheduled_functions` looks: pending, finished, and the one that delivers an outcome.

Fields: `namespace` (of who scheduled), `target` {namespace, path}, `name`, `args` [object], `scheduledTime` ms,
`state`, `pending_queue` (only while pending: which queue's index range it waits in), and, beyond Convex, `on_complete`
{namespace, path, context, is_together, on_failure}, `lane`, `is_action`, `running` (an action that has begun), `retry`
(a completion that is owed: attempts so far and the last error), with it `is_failing` once there was one,
`hurried` (the push whose code has had it at once) and `on_failure` {namespace, path}. A row with `on_complete` is
deleted by the commit that completes it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Row = dict[str, Any]
PENDING = {"kind": "pending"}


class Target(NamedTuple):
    """A function by the namespace of its component instance and its path there."""

    namespace: int
    path: str
    is_action: bool


def new_row(
    namespace: int,
    target: Target,
    args: dict[str, Any],
    due_ms: float,
    on_complete: Target | None,
    context: Any,
    lane: str | None,
    queue: str | None,
) -> Row:
    """A pending row."""
    row: Row = {
        "namespace": namespace,
        "target": {"namespace": target.namespace, "path": target.path},
        "name": _stored_name(target.path),
        "args": [args],
        "scheduledTime": float(due_ms),
        "state": PENDING,
        "pending_queue": queue_key(namespace, queue),
    }
    if target.is_action:
        row["is_action"] = True
    if on_complete is not None:
        row["on_complete"] = {"namespace": on_complete.namespace, "path": on_complete.path, "context": context}
    if lane is not None:
        row["lane"] = f"{namespace}:{lane}"
    return row


def completion_row(row: Row, job_id: str, outcome: Row, now_ms: int) -> Row:
    """A pending row that delivers `outcome` to the `on_complete` of `row`."""
    callback = row["on_complete"]
    args = {"context": callback["context"], "outcome": outcome, "job_id": job_id}
    target = Target(callback["namespace"], callback["path"], is_action=False)
    completion = new_row(row["namespace"], target, args, now_ms, None, None, None, None)
    completion["retry"] = {"attempt": 0}  # it is owed exactly once, so a failure is tried again
    if "on_failure" in callback:
        completion["on_failure"] = callback["on_failure"]
    if "lane" in row:
        completion["lane"] = row["lane"]
    return completion


def finished_row(row: Row, state: Row, now_ms: int) -> Row:
    """The row once its function has run, failed or been canceled."""
    kept = {name: value for name, value in row.items() if name not in ("pending_queue", "running", "is_failing")}
    return {**kept, "state": state, "completedTime": float(now_ms), "finished_ms": now_ms}


def queue_key(namespace: int, queue: str | None) -> str:
    """Which range of the due index a pending row waits in; rows without a queue share the range of ""."""
    return "" if queue is None else f"{namespace}:{queue}"


def _stored_name(path: str) -> str:
    module, _, name = path.partition(":")
    return f"{module}.js:{name}"
