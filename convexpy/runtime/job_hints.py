"""What the scheduler needs to know of a pending row of `_scheduled_functions` without reading it."""

from __future__ import annotations

from convexpy.functions.scheduled_rows import Row
from convexpy.runtime.messages import JobHint


def job_hint(job_id: str, row: Row) -> JobHint:
    """The hint for a row, which goes with the commit that writes it."""
    return JobHint(
        id=job_id,
        due_ns=int(row["scheduledTime"] * 1_000_000),
        is_action=bool(row.get("is_action")),
        lane=row.get("lane"),
        queue=row["pending_queue"],
        completes_together=completes_together(row),
    )


def completes_together(row: Row) -> bool:
    """Whether a pending row may run in one transaction with others of its lane that complete with the same function."""
    callback = row.get("on_complete")
    return callback is not None and "is_together" in callback and "retry" not in row and not row.get("is_action")
