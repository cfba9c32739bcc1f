"""A workflow whose child belongs to another component."""

import asyncio
from typing import Any

from convexpy_workflow import Step, StepCanceled, StepFailed, WorkflowManager

from convexpy import MutationCtx, QueryCtx, components, mutation, query

workflow = WorkflowManager(components.workflow)


@mutation
def start(ctx: MutationCtx, flow: str, args: dict[str, Any], options: dict[str, Any]) -> str:
    handle = ctx.run_query(components.agency.errands.errand, {})
    run: str = workflow.start(ctx, flow, args | {"errand": handle})
    return run


@query
def status(ctx: QueryCtx, run: str) -> Any:
    return workflow.status(ctx, run)


@query
def steps(ctx: QueryCtx, run: str) -> Any:
    return workflow.list_steps(ctx, run)["page"]


@mutation
def cancel(ctx: MutationCtx, run: str) -> None:
    workflow.cancel(ctx, run)


@mutation
def cleanup(ctx: MutationCtx, run: str) -> bool:
    is_gone: bool = workflow.cleanup(ctx, run, force=True)
    return is_gone


@workflow.define
async def delegates(step: Step, errand: str, what: str, seconds: float) -> Any:
    try:
        async with asyncio.timeout(seconds):
            return await step.run_workflow(errand, {"what": what}, name="errand")
    except (TimeoutError, StepCanceled) as error:
        return type(error).__name__


@workflow.define
async def delegates_by_reference(step: Step, errand: str) -> Any:
    try:
        return await step.run_workflow(components.agency.errands.run, {"what": "x"})
    except StepFailed as failure:
        return failure.text
