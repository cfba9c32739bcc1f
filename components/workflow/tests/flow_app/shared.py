"""Workflows whose steps may share a transaction, and functions that make something of it."""

import asyncio
from typing import Any

from convexpy_workflow import Step, StepFailed

from convexpy import MutationCtx, internal, internal_mutation

from .flows import narrow, workflow


@internal_mutation
def write_many(ctx: MutationCtx, count: float) -> None:
    for number in range(int(count)):
        ctx.db.insert("notes", {"number": number})


@internal_mutation
def look(ctx: MutationCtx, run: str) -> dict[str, Any]:
    """What a step sees of its own run."""
    steps = workflow.list_steps(ctx, run)["page"]
    return {
        "done": [step["stepNumber"] for step in steps if step["runResult"] is not None],
        "running": [step["stepNumber"] for step in workflow.status(ctx, run)["running"]],
    }


@workflow.define(args={})
async def watches_itself(step: Step) -> list[Any]:
    seen = []
    for _ in range(3):
        await step.run_mutation(internal.work.add, {"name": "between"})
        seen.append(await step.run_mutation(internal.shared.look, {"run": step.workflow_id}))
    return seen


@workflow.define
async def goes_on_after_failures(step: Step, rounds: float) -> list[str]:
    errors = []
    for _ in range(int(rounds)):
        await step.run_mutation(internal.work.add, {"name": "kept"})
        try:
            await step.run_mutation(internal.work.fail_mutation, {})
        except StepFailed as error:
            errors.append(error.text)
    return errors


@workflow.define
async def writes_much(step: Step, counts: list[float]) -> list[bool]:
    fits = []
    for count in counts:
        try:
            await step.run_mutation(internal.shared.write_many, {"count": count})
            fits.append(True)
        except StepFailed:
            fits.append(False)
    return fits


@narrow.define
async def queued(step: Step, rounds: float) -> None:
    for _ in range(int(rounds)):
        await step.run_mutation(internal.work.add, {"name": "queued"})


@workflow.define(args={})
async def acts_between(step: Step) -> None:
    await step.run_mutation(internal.work.add, {"name": "before"})
    await step.run_action(internal.work.take_time, {"seconds": 1})
    await step.run_mutation(internal.work.add, {"name": "after"})
    await step.run_mutation(internal.work.add, {"name": "after"})


@workflow.define
async def fans_out_after_a_step(step: Step, width: float) -> list[float]:
    await step.run_mutation(internal.work.add, {"name": "first"})
    echoes = (step.run_mutation(internal.work.echo_mutation, {"value": n}) for n in range(int(width)))
    done: list[float] = []
    for finished in asyncio.as_completed(list(echoes)):
        done.append(await finished)
    return done


@workflow.define
async def spins_after(step: Step, rounds: float) -> None:
    for _ in range(int(rounds)):
        await step.run_mutation(internal.work.add, {"name": "before the spin"})
    while True:
        await asyncio.sleep(0)


@workflow.define(args={})
async def spins_beside_what_it_gave_up(step: Step) -> None:
    """Starts three at once, gives up the second when the first is done, and cannot take the third."""
    await step.run_mutation(internal.work.add, {"name": "first"})
    tasks = [asyncio.ensure_future(step.run_mutation(internal.work.add, {"name": f"task {n}"})) for n in range(3)]
    await tasks[0]
    tasks[1].cancel()
    await tasks[2]
    while True:
        await asyncio.sleep(0)


@workflow.define
async def takes_a_wrong_turn(step: Step, wrong: str) -> str:
    await step.run_mutation(internal.work.add, {"name": "before"})
    try:
        match wrong:
            case "nowhere":
                await step.run_mutation(internal.nowhere.to_be_found, {})
            case "mutation as query":
                await step.run_query(internal.work.add, {"name": "wrong"})
            case "query as mutation":
                await step.run_mutation(internal.work.read, {"name": "wrong"})
            case "action as mutation":
                await step.run_mutation(internal.work.echo_action, {"value": 1})
    except StepFailed as error:
        return f"StepFailed: {error.text}"
    return "it was taken for what it is"
