"""Workflows whose steps run so many at a time, as the code says it or somebody while they run."""

import asyncio
from typing import Any

from convexpy_workflow import Retry, Step, WorkflowManager

from convexpy import MutationCtx, components, internal, mutation

workflow = WorkflowManager(components.workflow, max_parallelism=2, retry_actions_by_default=True)
unbound = WorkflowManager(components.workflow)


@workflow.define
async def wide(step: Step) -> None:
    await asyncio.gather(*(step.run_mutation(internal.work.add, {"name": "wide"}) for _ in range(6)))


@unbound.define(max_parallelism=1)
async def single(step: Step) -> None:
    await asyncio.gather(*(step.run_mutation(internal.work.add, {"name": "single"}) for _ in range(6)))


@unbound.define(default_retry=Retry(attempts=2, initial=1), retry_actions_by_default=True)
async def tries_twice(step: Step) -> None:
    await step.run_action(internal.work.fail_action)


@workflow.define(retry_actions_by_default=False)
async def tries_once(step: Step) -> None:
    await step.run_action(internal.work.fail_action)


SIZED: dict[str, tuple[WorkflowManager, Any]] = {"wide": (workflow, None), "single": (unbound, single)}


@mutation
def resize(ctx: MutationCtx, flow: str, most: Any) -> None:
    manager, own = SIZED[flow]
    manager.update_config(ctx, max_parallelism=most, workflow=own)


@mutation
def resize_nothing(ctx: MutationCtx) -> None:
    unbound.update_config(ctx, max_parallelism=1)
