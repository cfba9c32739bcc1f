"""Restart: a finished or stuck run goes on from one of its steps, with the code of now.

The steps from there on are deleted. The resolution during which the first of them was issued is undone, with all that
came after it, so that the handler takes it again; what it had consumed by then keeps its place. A kept step is in one
of four states afterwards:

    consumed    its outcome was consumed before the undone resolution: replayed
    unconsumed  it has an outcome that the handler is to take again: fed by the next wave
    unfinished  it was canceled with the run, or given up in what is undone: begun again
    ahead       it was issued during the undone resolution: waits for the handler to ask for it again, and is then
                unconsumed or unfinished. Its `issued` is AHEAD meanwhile

Jobs belong to the app, so the rest is done by the handler's own mutation; all is one transaction.
"""

from __future__ import annotations

from typing import Any

from convexpy import UNSET, MutationCtx, mutation, size_of
from convexpy_workflow.component.attached import delete_attached, detach
from convexpy_workflow.component.large_values import drop_values
from convexpy_workflow.component.rows import get_run
from convexpy_workflow.errors import StepNotFound, WorkflowStillRunning
from convexpy_workflow.records import AHEAD

# A longer journal is replayed in a transaction of its own: reading it twice would not fit one.
BYTES_IN_ONE_COMMIT_MAX = 4 * 1024 * 1024

Row = dict[str, Any]


@mutation
def restart(ctx: MutationCtx, workflowId: str, fromStep: Any = None, startAsync: bool = False) -> None:  # noqa: N803
    """Let a finished or stuck run go on.

    Args:
        fromStep: number of the first step to be deleted, or a name: the last step of that name. None keeps them all.
        startAsync: the handler runs after this commit.

    Raises:
        WorkflowNotFound, InvalidWorkflowId, WorkflowStillRunning
        StepNotFound: a negative number, or no step has this name.
    """
    run = get_run(ctx, workflowId)
    if run["state"] == "running":
        raise WorkflowStillRunning(workflowId)
    steps = ctx.db.query("steps").with_index("by_position", workflow=run["_id"]).collect()
    first = _first_deleted(run, steps, fromStep)
    kept, deleted = steps[:first], steps[first:]
    issued = [int(row["issued"]) for row in deleted if row["issued"] < AHEAD]
    undone = min([max(int(run["wave"]) - 1, 0), *issued])
    jobs = [row["job"] for row in steps if row["state"] == "pending" and "job" in row]
    if "wake_job" in run:
        jobs.append(run["wake_job"])
    unfinished = [int(row["position"]) for row in kept if _take_back(ctx, run, row, undone)]
    forget_steps(ctx, deleted)
    _reset_run(ctx, run, undone, [row for row in kept if row["issued"] < undone])
    is_long = run["journal_bytes"] > BYTES_IN_ONE_COMMIT_MAX
    restarted = {
        "workflowId": run["_id"],
        "epoch": run["epoch"] + 1,
        "jobs": jobs,
        "unfinished": unfinished,
        "keepsNothing": not kept,
        "startAsync": startAsync or is_long,
    }
    ctx.run_mutation(run["handler"], {"restarted": restarted})


@mutation
def stamp_version(ctx: MutationCtx, workflowId: str, version: int) -> None:  # noqa: N803
    """Note that a run which has kept nothing begins with the newest version of its workflow."""
    ctx.db.patch("workflows", get_run(ctx, workflowId)["_id"], {"version": version})


def forget_steps(ctx: MutationCtx, steps: list[Row]) -> None:
    """Delete steps with all that belongs to them: large values, events; child runs right after this commit."""
    for step in steps:
        drop_values(ctx, step)
        ctx.db.delete("steps", step["_id"])
    delete_attached(ctx, steps)


def _first_deleted(run: Row, steps: list[Row], from_step: Any) -> int:
    if from_step is None:
        return len(steps)
    if isinstance(from_step, str):
        positions = [int(row["position"]) for row in steps if row["name"] == from_step]
        if not positions:
            raise StepNotFound(f'Step "{from_step}" not found in workflow {run["_id"]}')
        return positions[-1]
    if from_step < 0:
        raise StepNotFound(f"Step number cannot be negative: {from_step:g}")
    return min(int(from_step), len(steps))


def _take_back(ctx: MutationCtx, run: Row, row: Row, undone: int) -> bool:
    """Take back what a kept step has of the undone resolutions; tells whether it is to be begun again at once."""
    fields: Row = {}
    is_ahead = row["issued"] >= undone
    if is_ahead:
        fields["issued"] = AHEAD
    if row.get("resolved", -1) >= undone:
        # What the handler printed then it will print again; what the step's function printed stays.
        drop_values(ctx, row, ("handler_log",))
        fields |= dict.fromkeys(("resolved", "resolved_now_ms", "handler_log", "handler_log_aside"), UNSET)
        if "logs" not in row and "logs_aside" not in row:
            fields["logged"] = UNSET
    is_given_up_before = row.get("withdrawn", undone) < undone
    is_unfinished = row["state"] == "pending" or (row["state"] == "canceled" and not is_given_up_before)
    if is_unfinished:
        gone = dict.fromkeys(("withdrawn", "completed_ms", "job", "attempts"), UNSET)
        fields |= gone | detach(ctx, run, row) | {"state": "pending"}
    elif "withdrawn" in row and not is_given_up_before:
        fields["withdrawn"] = UNSET  # its function had run all the same
    if fields:
        ctx.db.patch("steps", row["_id"], fields)
    return is_unfinished and not is_ahead


def _reset_run(ctx: MutationCtx, run: Row, undone: int, consumed: list[Row]) -> None:
    rows = len(consumed)
    for timer in ctx.db.query("timers").with_index("by_workflow", workflow=run["_id"]):
        if timer["resolution"] >= undone:
            drop_values(ctx, timer)
            ctx.db.delete("timers", timer["_id"])
        else:
            rows += 1
    drop_values(ctx, run, ("result",))
    gone = ("result", "result_aside", "finished_ms", "stuck", "wake_at_ms", "wake_job", "on_complete_error", "trouble")
    changes: Row = dict.fromkeys(gone, UNSET)
    if "patches" in run:
        changes["patches"] = [marker for marker in run["patches"] if marker["resolution"] < undone]
    if undone == 0:
        drop_values(ctx, run, ("handler_log",))
        changes |= dict.fromkeys(("started_ms", "handler_log", "handler_log_aside"), UNSET)
    changes |= {
        "state": "running",
        "epoch": run["epoch"] + 1,
        "wave": undone,
        "nonce": "",
        "journal_rows": rows,
        "journal_bytes": sum(_bytes_of(row, undone) for row in consumed),
    }
    if undone == 0:
        changes |= {"large_bytes": UNSET, "journal_parts": UNSET}  # else they stay as they are: more than there is
    ctx.db.patch("workflows", run["_id"], changes)


def _bytes_of(row: Row, undone: int) -> int:
    size = size_of(row["args"]) if "args" in row else 0
    if "outcome" in row and row.get("resolved", undone) < undone:
        size += size_of(row["outcome"])
    return size
