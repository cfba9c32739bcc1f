"""Child runs: a step of one run, the parent, that is a run of its own.

The child's row names its parent's step (`parent`); the step's row names the child and the handle of its handler, so
that each reaches the other even where they are kept by two instances of this component.

    parent's wave ──start──▶ child … child ends ──tell_parent──▶ parent's next wave
          │                    ▲
          └── step given up ───┘ canceled, with all its own children
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import Any

from convexpy import UNSET, MutationCtx, QueryCtx, internal, internal_mutation, mutation
from convexpy_workflow.component.absent import end_in_app
from convexpy_workflow.component.events import release
from convexpy_workflow.component.rows import callback_of, get_run

# Ending one takes 0.2 ms and some five documents; a mutation has a second and 16,000.
CANCELED_RUNS_PER_COMMIT = 500
CANCELED_STEPS_PER_COMMIT = 2_000
DELETED_RUNS_PER_COMMIT = 16  # each with up to 256 rows of its journal

Row = dict[str, Any]
_log = logging.getLogger("convexpy_workflow")


def find_child(ctx: QueryCtx | MutationCtx, child_id: str) -> Row | None:
    """Read a child's row; None if it is gone, or kept by another instance of this component."""
    normalized = ctx.db.normalize_id("workflows", child_id)
    return None if normalized is None else ctx.db.get("workflows", normalized)


def end_run(ctx: MutationCtx, run: Row, result: Row) -> list[Row]:
    """End a run from outside, at once: pending steps are closed, their jobs canceled, later outcomes are stale.

    Returns:
        the steps that were pending; their child runs are the caller's.
    """
    jobs = [run["wake_job"]] if "wake_job" in run else []
    pending = ctx.db.query("steps").with_index("by_state", workflow=run["_id"], state="pending").collect()
    for step in pending:
        ctx.db.patch("steps", step["_id"], {"state": "canceled", "completed_ms": ctx.now_ms()})
        if "job" in step:
            jobs.append(step["job"])
    fields = {"state": "done", "result": result, "epoch": run["epoch"] + 1, "finished_ms": ctx.now_ms()}
    fields |= {"stuck": UNSET, "trouble": UNSET}
    ctx.db.patch("workflows", run["_id"], fields)
    release(ctx, run, [step["event"] for step in pending if "event" in step], is_over=True)
    callback = callback_of(ctx, run)
    end_in_app(ctx, run, {"workflowId": run["_id"], "jobs": jobs, "onComplete": callback, "result": result})
    return pending


def address_of(step: Row) -> Row:
    """Give the fields of a step that name its child run."""
    return {"child": step["child"], "child_handler": step["child_handler"]}


def ends_with_parent(step: Row) -> bool:
    """Tell whether a step has a child run that is to be canceled when its parent ends."""
    return "child" in step and step.get("on_parent_cancel") != "abandon"


def cancel_children(ctx: MutationCtx, steps: Iterable[Row]) -> None:
    """Cancel the child runs of these steps and, recursively, theirs: all of this component, in this transaction.

    Beyond `CANCELED_RUNS_PER_COMMIT` the rest follows in commits of its own, one after the other, right after this one.
    So do runs that are kept by another instance of this component.
    """
    waiting = deque(address_of(step) for step in steps)
    runs = closed = 0
    while waiting:
        if runs >= CANCELED_RUNS_PER_COMMIT or closed >= CANCELED_STEPS_PER_COMMIT:
            ctx.scheduler.run_after(0, cancel_more, {"steps": list(waiting)})
            return
        step = waiting.popleft()
        try:
            run = find_child(ctx, step["child"])
            if run is None:
                ask = {"endChild": {"workflowId": step["child"], "deletes": False}}
                ctx.scheduler.run_after(0, step["child_handler"], ask)
            elif run["state"] != "done":
                below = end_run(ctx, run, {"kind": "canceled"})
                waiting.extend(address_of(child) for child in below if ends_with_parent(child))
                closed += len(below)
                runs += 1
        except Exception as error:  # its code is gone, for one: the others are canceled all the same
            _log.error("Child workflow %s could not be canceled: %s", step["child"], error)


@internal_mutation
def cancel_more(ctx: MutationCtx, steps: list[Any]) -> None:
    """Go on with `cancel_children`."""
    cancel_children(ctx, steps)


def delete_children(ctx: MutationCtx, steps: Iterable[Row]) -> None:
    """Delete the child runs of steps that are being deleted, right after this commit; those that run are canceled.

    One that was to outlive its parent, and still runs, stays.
    """
    doomed = []
    for step in steps:
        run = find_child(ctx, step["child"])
        is_to_stay = run is not None and run["state"] != "done" and not ends_with_parent(step)
        if not is_to_stay:
            doomed.append(address_of(step))
    for begin in range(0, len(doomed), DELETED_RUNS_PER_COMMIT):
        ctx.scheduler.run_after(0, delete_more, {"steps": doomed[begin : begin + DELETED_RUNS_PER_COMMIT]})


@internal_mutation
def delete_more(ctx: MutationCtx, steps: list[Any]) -> None:
    """Go on with `delete_children`."""
    for step in steps:
        ask = {"workflowId": step["child"], "deletes": True}
        try:
            if find_child(ctx, step["child"]) is not None:
                ctx.run_mutation(internal.lifecycle.end_child, ask)
            else:
                ctx.scheduler.run_after(0, step["child_handler"], {"endChild": ask})
        except Exception as error:
            _log.error("Child workflow %s could not be deleted: %s", step["child"], error)


@mutation
def note_first_wave(ctx: MutationCtx, workflowId: str, wakeAtMs: float, job: str) -> None:  # noqa: N803  (wire spelling)
    """Record when a run that was started with a delay begins, and the job that begins it."""
    ctx.db.patch("workflows", get_run(ctx, workflowId)["_id"], {"wake_at_ms": wakeAtMs, "wake_job": job})


def tell_parent(ctx: MutationCtx, run: Row, result: Row) -> None:
    """Give a run's result to the step of its parent that waits for it, if it has one.

    A parent whose code is gone, or broken, is told again later: the child's own end stands.
    """
    if "parent" in run:
        parent = run["parent"]
        arrival = {name: parent[name] for name in ("workflowId", "position", "epoch")} | {"outcome": result}
        try:
            ctx.run_mutation(parent["handler"], {"arrive": arrival})
        except Exception as error:
            _log.error("Parent workflow %s cannot be told that a child has ended: %s", parent["workflowId"], error)
            ctx.scheduler.run_after(
                0,
                internal.children.begin_telling,
                on_complete=internal.children.tell_again,
                context={"arrival": arrival, "handler": parent["handler"]},
                on_complete_failed=internal.trouble.note,
            )


@internal_mutation
def begin_telling(ctx: MutationCtx) -> None:
    """Nothing: what follows is its completion, which the platform tries until it succeeds."""


@internal_mutation
def tell_again(ctx: MutationCtx, context: Any, outcome: Any, job_id: str) -> None:
    """Go on with `tell_parent`."""
    ctx.run_mutation(context["handler"], {"arrive": context["arrival"]})
    ctx.run_mutation(internal.trouble.overcome, {"workflowId": context["arrival"]["workflowId"], "jobs": [job_id]})
