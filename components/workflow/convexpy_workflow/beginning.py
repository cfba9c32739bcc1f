"""How a step begins: a job of the scheduler, a wait for an event, or a child run."""

from __future__ import annotations

from typing import Any

from convexpy import MutationCtx
from convexpy_workflow.commands import Outcome, StartStep
from convexpy_workflow.definition import Definition
from convexpy_workflow.jobs import kept_news, schedule_step
from convexpy_workflow.records import outcome_from_fields


def begin_step(
    ctx: MutationCtx, definition: Definition, run: dict[str, Any], step: StartStep
) -> tuple[dict[str, Any], Outcome | None]:
    """Let a step begin.

    Returns:
        the fields of its row that say what it has become, and its outcome if it has one already.

    Raises:
        Exception: it cannot begin, so it has failed; nothing of it is written.
    """
    if step.kind == "event":
        waiting = {"workflowId": run["_id"], "position": step.position, **step.args}
        begun = ctx.run_mutation(definition.component.events.begin_wait, waiting)
        outcome = None if begun["outcome"] is None else outcome_from_fields(begun["outcome"])
        return {"event": begun["eventId"]}, outcome
    if step.kind == "workflow":
        return _start_child(ctx, run, step), None
    return {"job": schedule_step(ctx, definition, run["_id"], int(run["epoch"]), step, step.delay_ms, failures=0)}, None


def begin_child(ctx: MutationCtx, definition: Definition, run: dict[str, Any], delay_ms: float) -> dict[str, str]:
    """Make a run that is a step of another one; its handler begins after this commit.

    Args:
        run: the arguments of `journal.create`.
        delay_ms: how long after.

    Returns:
        its id and the handle of its handler, for the step's row.
    """
    workflow_id = str(ctx.run_mutation(definition.component.journal.create, run))
    news = {"poll": {"workflowId": workflow_id, "epoch": 0, "isWake": delay_ms > 0}}
    options = kept_news(definition, workflow_id, news)
    job = ctx.scheduler.run_after(delay_ms / 1000, definition.mutation, news, **options)
    if delay_ms > 0:
        first = {"workflowId": workflow_id, "wakeAtMs": ctx.now_ms() + delay_ms, "job": job}
        ctx.run_mutation(definition.component.children.note_first_wave, first)
    return {"workflowId": workflow_id, "handler": run["handler"]}


def _start_child(ctx: MutationCtx, run: dict[str, Any], step: StartStep) -> dict[str, Any]:
    parent = {"workflowId": run["_id"], "position": step.position, "epoch": run["epoch"], "handler": run["handler"]}
    begun = ctx.run_mutation(step.function, {"args": step.args, "parent": parent, "delayMs": step.delay_ms})
    if not isinstance(begun, dict) or "workflowId" not in begun:
        raise TypeError(f"{step.function} is no workflow; step.run_workflow takes what workflow.define has made.")
    return {"child": begun["workflowId"], "child_handler": begun["handler"]}
