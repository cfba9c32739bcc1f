"""Errands: runs of this component, started by others."""

from typing import Any

from convexpy_workflow import Step, WorkflowManager

from convexpy import (
    MutationCtx,
    QueryCtx,
    components,
    create_function_handle,
    internal,
    mutation,
    query,
)

workflow = WorkflowManager(components.workflow)


@query
def errand(ctx: QueryCtx) -> str:
    """The workflow, for whoever is to run it."""
    return create_function_handle(internal.errands.run)


@query
def status(ctx: QueryCtx, run: str) -> Any:
    return workflow.status(ctx, run)


@query
def count(ctx: QueryCtx) -> int:
    return len(workflow.list(ctx)["page"])


@mutation
def report(ctx: MutationCtx, run: str, value: Any) -> None:
    workflow.send_event(ctx, "report", workflow_id=run, value=value)


@workflow.define
async def run(step: Step, what: str) -> Any:
    return [what, await step.await_event("report")]
