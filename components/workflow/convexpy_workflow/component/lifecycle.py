"""What becomes of a run from outside: cancel, fail, resume, clean up.

Jobs and callbacks belong to the app. So these functions change the rows here, then hand the rest to the handler's own
mutation, through the handle that the run's row keeps; both are one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convexpy import MutationCtx, QueryCtx, internal_mutation, mutation, query, size_of
from convexpy_workflow.component.children import (
    cancel_children,
    delete_children,
    end_run,
    ends_with_parent,
    find_child,
    tell_parent,
)
from convexpy_workflow.component.rows import find_run, get_run
from convexpy_workflow.errors import WorkflowNotRunning, shorten

# Far below what one transaction may read and write.
CLEANUP_ROWS_PER_COMMIT = 256
CLEANUP_BYTES_PER_COMMIT = 4 * 1024 * 1024
# The tables with rows of a run, and the index of each that begins with the run.
DELETED_BY = {"steps": "by_position", "timers": "by_workflow", "events": "by_order", "large_values": "by_workflow"}
FAIL_TEXT_CHARS_MAX = 1_000  # a run's row, which holds it, is written and read often


@mutation
def cancel(ctx: MutationCtx, workflowId: str) -> None:  # noqa: N803
    """End a run at once as canceled: pending steps are closed, their jobs canceled, later outcomes are stale.

    An action that runs is not interrupted; its result is dropped. Child runs are canceled too, unless they were started
    to outlive the run; see `children.cancel_children`.

    Raises:
        WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
    """
    _end(ctx, workflowId, {"kind": "canceled"})


@mutation
def fail(ctx: MutationCtx, workflowId: str, error: str) -> None:  # noqa: N803
    """End a run at once as failed with this text, as `cancel` ends it as canceled.

    Raises:
        WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
    """
    _end(ctx, workflowId, {"kind": "failed", "error": shorten(error, FAIL_TEXT_CHARS_MAX)})


def _end(ctx: MutationCtx, workflow_id: str, result: dict[str, str]) -> None:
    run = get_run(ctx, workflow_id)
    if run["state"] == "done":
        raise WorkflowNotRunning(workflow_id)
    pending = end_run(ctx, run, result)
    cancel_children(ctx, filter(ends_with_parent, pending))
    tell_parent(ctx, run, result)


@query
def is_current(ctx: QueryCtx, workflowId: str, epoch: int) -> bool:  # noqa: N803
    """Tell whether a run still is what a wave has loaded: nobody has ended or deleted it."""
    run = find_run(ctx, workflowId)
    return run is not None and run["epoch"] == epoch


@mutation
def resume(ctx: MutationCtx, workflowId: str) -> None:  # noqa: N803
    """Try a stuck run again with the code of now; it stays stuck if that does not fit either.

    Raises:
        WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
    """
    run = get_run(ctx, workflowId)
    if run["state"] == "done":
        raise WorkflowNotRunning(workflowId)
    ctx.run_mutation(run["handler"], {"poll": {"workflowId": run["_id"], "epoch": run["epoch"], "isWake": False}})


@mutation
def cleanup(ctx: MutationCtx, workflowId: str, force: bool = False) -> bool:  # noqa: N803
    """Delete a finished run, its journal and its child runs; a long journal goes in several commits.

    Args:
        force: cancel it first if it still runs.

    Returns:
        False if there is no such run, or if it still runs and `force` is not given.

    Raises:
        InvalidWorkflowId
    """
    run = find_run(ctx, workflowId)
    if run is None or (run["state"] != "done" and not force):
        return False
    if run["state"] != "done":
        cancel(ctx, workflowId)
    ctx.db.delete("workflows", run["_id"])
    _delete_rows(ctx, run["_id"])
    return True


@mutation
def end_child(ctx: MutationCtx, workflowId: str, deletes: bool) -> None:  # noqa: N803
    """Cancel a child run that its parent has given up, or delete it in any state. One that is gone is left alone."""
    run = find_child(ctx, workflowId)
    if run is None:
        return
    if run["state"] != "done":
        cancel_children(ctx, filter(ends_with_parent, end_run(ctx, run, {"kind": "canceled"})))
    if deletes:
        ctx.db.delete("workflows", run["_id"])
        _delete_rows(ctx, run["_id"])


@internal_mutation
def delete_journal(ctx: MutationCtx, workflow: str) -> None:
    """Go on deleting the rows of a run that is gone."""
    _delete_rows(ctx, workflow)


def _delete_rows(ctx: MutationCtx, workflow: str) -> None:
    size = 0
    deleted: list[dict[str, Any]] = []
    for table, row in _rows_of(ctx, workflow):
        if len(deleted) >= CLEANUP_ROWS_PER_COMMIT or size >= CLEANUP_BYTES_PER_COMMIT:
            ctx.scheduler.run_after(0, delete_journal, {"workflow": workflow})
            break
        ctx.db.delete(table, row["_id"])
        deleted.append(row)
        size += size_of(row)
    delete_children(ctx, [row for row in deleted if "child" in row])


def _rows_of(ctx: MutationCtx, workflow: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for table, index in DELETED_BY.items():
        for row in ctx.db.query(table).with_index(index, workflow=workflow):
            yield table, row
