"""The app's part of a restart: jobs that are of no use any more, steps that are begun again, the next wave."""

from __future__ import annotations

from typing import Any

from convexpy import MutationCtx
from convexpy_workflow.arrivals import schedule_arrival
from convexpy_workflow.beginning import begin_step
from convexpy_workflow.definition import Definition
from convexpy_workflow.jobs import cancel_jobs, kept_news
from convexpy_workflow.records import step_from_fields
from convexpy_workflow.wave import run_wave


def take_restart(ctx: MutationCtx, definition: Definition, restarted: dict[str, Any]) -> None:
    """Let a run go on that `component/restarts.py` has put back to one of its steps."""
    workflow_id, epoch = restarted["workflowId"], int(restarted["epoch"])
    journal = definition.component.journal
    cancel_jobs(ctx, restarted["jobs"])
    if restarted["keepsNothing"]:
        stamp = {"workflowId": workflow_id, "version": definition.version}
        ctx.run_mutation(definition.component.restarts.stamp_version, stamp)
    for position in restarted["unfinished"]:
        loaded = ctx.run_query(journal.load_step, {"workflowId": workflow_id, "position": position})
        step = step_from_fields(loaded["step"])
        fields, outcome = begin_step(ctx, definition, loaded["run"], step)
        address = {"workflowId": workflow_id, "position": position}
        ctx.run_mutation(definition.component.attached.note_begun, address | {"fields": fields})
        if outcome is not None:
            schedule_arrival(ctx, definition, address | {"epoch": epoch})
    if restarted["startAsync"]:
        news = {"poll": {"workflowId": workflow_id, "epoch": epoch, "isWake": False}}
        ctx.scheduler.run_after(0, definition.mutation, news, **kept_news(definition, workflow_id, news))
    else:
        run_wave(ctx, definition, workflow_id, epoch)
