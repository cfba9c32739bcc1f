"""How a step begins: a job of the scheduler, or a wait for an event."""

from __future__ import annotations

from typing import Any

from convexpy import MutationCtx
from convexpy_workflow.commands import Outcome, StartStep
from convexpy_workflow.definition import Definition
from convexpy_workflow.jobs import schedule_step
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
    return {"job": schedule_step(ctx, definition, run["_id"], int(run["epoch"]), step, step.delay_ms, failures=0)}, None
