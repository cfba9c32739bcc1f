"""Workflows whose steps do nothing."""

import asyncio

from convexpy_workflow import Step, WorkflowManager

from convexpy import MutationCtx, QueryCtx, components, internal, internal_mutation, mutation, query

workflow = WorkflowManager(components.workflow)


@internal_mutation(args={})
def nothing(ctx: MutationCtx) -> None:
    """The step."""


@workflow.define(args={})
async def one(step: Step) -> None:
    """A single step."""
    await step.run_mutation(internal.flows.nothing, {})


@workflow.define(args={})
async def ten(step: Step) -> None:
    """Ten steps, one after the other."""
    for _ in range(10):
        await step.run_mutation(internal.flows.nothing, {})


@workflow.define(args={})
async def wide(step: Step) -> None:
    """Ten steps at once."""
    await asyncio.gather(*(step.run_mutation(internal.flows.nothing, {}) for _ in range(10)))


FLOWS = {"one": internal.flows.one, "ten": internal.flows.ten, "wide": internal.flows.wide}


@mutation
def begin(ctx: MutationCtx, kind: str) -> str:
    """Start one."""
    started: str = workflow.start(ctx, FLOWS[kind], {})
    return started


@query
def state(ctx: QueryCtx, workflow_id: str) -> str:
    """Whether it is `inProgress` or how it ended."""
    kind: str = workflow.status(ctx, workflow_id)["type"]
    return kind
