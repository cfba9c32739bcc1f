"""A workflow that does what a random program says: awaits events and runs children, side by side, with time limits."""

import asyncio
from typing import Any

from convexpy_workflow import Step, StepError, WorkflowManager

from convexpy import components, internal

workflow = WorkflowManager(components.workflow)


@workflow.define
async def converse(step: Step, program: dict[str, Any]) -> Any:
    return await perform(step, program)


async def perform(step: Step, node: dict[str, Any]) -> Any:
    try:
        async with asyncio.timeout(node["limit"]):
            return await perform_unlimited(step, node)
    except TimeoutError:
        return "late"
    except StepError as error:
        return type(error).__name__


async def perform_unlimited(step: Step, node: dict[str, Any]) -> Any:
    parts = node["parts"]
    match node["kind"]:
        case "event":
            return await step.await_event(node["name"])
        case "child":
            args = {"program": parts[0]}
            return await step.run_workflow(internal.conversations.converse, args, on_parent_cancel=node["end"])
        case "add":
            return await step.run_mutation(internal.work.add, {"name": node["name"]})
        case "all":
            return await asyncio.gather(*(perform(step, part) for part in parts))
        case "race":
            tasks = [asyncio.create_task(perform(step, part)) for part in parts]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            return sorted(str(task.result()) for task in done)
    return [await perform(step, part) for part in parts]
