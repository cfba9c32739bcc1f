"""Workflows whose steps do nothing."""

import asyncio
from datetime import timedelta

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


@workflow.define
async def count(step: Step, steps: float) -> None:
    """Steps one after the other, then a wait, then one more."""
    for _ in range(int(steps)):
        await step.run_mutation(internal.flows.nothing, {})
    await step.await_event("go on")
    await step.run_mutation(internal.flows.nothing, {})


@workflow.define(args={})
async def sleepy(step: Step) -> None:
    """Sleeps for a month."""
    await step.sleep(timedelta(days=30))


@mutation
def begin_counting(ctx: MutationCtx, steps: float) -> str:
    """Start a `count`."""
    started: str = workflow.start(ctx, internal.flows.count, {"steps": steps})
    return started


@mutation
def begin_sleeping(ctx: MutationCtx, count: float) -> None:
    """Start that many that sleep."""
    for _ in range(int(count)):
        workflow.start(ctx, internal.flows.sleepy, {})


@mutation
def go_on(ctx: MutationCtx, workflow_id: str) -> None:
    """Let a `count` do its last step."""
    workflow.send_event(ctx, "go on", workflow_id=workflow_id)


@query
def waits(ctx: QueryCtx, workflow_id: str) -> bool:
    """Whether a `count` has come to its wait."""
    running = workflow.status(ctx, workflow_id).get("running", [])
    return any(step["kind"] == "event" for step in running)


FLOWS = {"one": internal.flows.one, "ten": internal.flows.ten, "wide": internal.flows.wide}


@mutation
def begin(ctx: MutationCtx, kind: str) -> str:
    """Start one."""
    started: str = workflow.start(ctx, FLOWS[kind], {}, start_async=True)
    return started


@query
def state(ctx: QueryCtx, workflow_id: str) -> str:
    """Whether it is `inProgress` or how it ended."""
    kind: str = workflow.status(ctx, workflow_id)["type"]
    return kind
