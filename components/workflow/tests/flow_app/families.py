"""Workflows that run other workflows as steps."""

import asyncio
from typing import Any

from convexpy_workflow import Step, StepCanceled, StepFailed, WorkflowManager

from convexpy import components, internal

workflow = WorkflowManager(components.workflow)


@workflow.define
async def adds(step: Step, a: float, b: float) -> float:
    return float(await step.run_mutation(internal.work.echo_mutation, {"value": a + b}))


@workflow.define
async def listens(step: Step, name: str = "answer") -> Any:
    answer = await step.await_event(name)
    await step.run_mutation(internal.work.add, {"name": "heard"})
    return answer


@workflow.define
async def gives_deep(step: Step, levels: float) -> Any:
    value: Any = 1.0
    for _ in range(int(levels)):
        value = [value]
    return value


@workflow.define
async def fails(step: Step) -> None:
    await step.run_mutation(internal.work.fail_mutation)


@workflow.define
async def sums_in_children(step: Step, numbers: list[float]) -> float:
    """One child after the other."""
    total = 0.0
    for number in numbers:
        total = await step.run_workflow(internal.families.adds, {"a": total, "b": number})
    return total


@workflow.define
async def parent(step: Step, child: str, args: dict[str, Any], options: dict[str, Any]) -> Any:
    """Runs one child and says how it ended."""
    try:
        return ["returned", await step.run_workflow(child, args, **options)]
    except StepFailed as failure:
        return ["failed", failure.text, failure.data, failure.name]
    except StepCanceled as canceled:
        return ["canceled", str(canceled)]


@workflow.define
async def grandparent(step: Step, depth: float, width: float, options: dict[str, Any]) -> list[Any]:
    """A tree of runs whose leaves listen."""
    if not depth:
        return [await step.await_event("answer")]
    args = {"depth": depth - 1, "width": width, "options": options}
    calls = (step.run_workflow(internal.families.grandparent, args, **options) for _ in range(int(width)))
    return list(await asyncio.gather(*calls))


@workflow.define
async def impatient(step: Step, seconds: float, options: dict[str, Any]) -> Any:
    try:
        async with asyncio.timeout(seconds):
            return await step.run_workflow(internal.families.listens, **options)
    except TimeoutError:
        return await step.run_mutation(internal.work.echo_mutation, {"value": "too late"})


@workflow.define
async def leaves_early(step: Step, options: dict[str, Any]) -> str:
    """Ends while its child listens."""
    asyncio.create_task(step.run_workflow(internal.families.listens, **options))  # noqa: RUF006
    await step.sleep(10)
    return "left"


@workflow.define
async def races(step: Step) -> Any:
    """The first of two children wins."""
    tasks = [
        asyncio.create_task(step.run_workflow(internal.families.listens, {"name": name})) for name in ("left", "right")
    ]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return done.pop().result()


@workflow.define
async def promises_less(step: Step) -> Any:
    return await step.run_workflow(internal.flows.promises, {"value": "no integer"})
