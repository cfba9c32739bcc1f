"""A workflow that plays a program, and what clients do with its runs; `tests/chaos/programs.py` makes the programs."""

import asyncio
import json
from contextlib import suppress
from typing import Any

from convexpy_workflow import Retry, Step, StepError, WorkflowManager

from convexpy import MutationCtx, QueryCtx, components, internal, mutation, query

workflow = WorkflowManager(components.workflow, default_retry=Retry(attempts=4, initial=0.05))

Program = dict[str, Any]


@workflow.define
async def play(step: Step, name: str, text: str) -> list[str]:
    """Play a program, given as JSON, as it may be nested more deeply than values are.

    Returns:
        labels of the effects that the handler has seen done, in the order in which it saw them.
    """
    program: Program = json.loads(text)
    player = Player(step, name)
    print(f"{name} begins")
    await player.play(program)
    if program.get("is_failing"):
        raise ValueError(f"{name} fails at its end")
    return player.done


class Player:
    """One run's handler: a method for each kind of program."""

    def __init__(self, step: Step, name: str) -> None:
        self.step, self.name = step, name
        self.done: list[str] = []

    async def play(self, program: Program) -> None:
        await getattr(self, program["kind"])(program)

    async def calmly(self, program: Program) -> None:
        with suppress(StepError, TimeoutError):
            await self.play(program)

    def args(self, program: Program) -> dict[str, Any]:
        return {"run": self.name, "label": program["label"]}

    # --- steps

    async def effect(self, program: Program) -> None:
        is_inline = program["is_inline"]
        label = await self.step.run_mutation(internal.effects.leave, self.args(program), inline=is_inline)
        self.done.append(label)

    async def failure(self, program: Program) -> None:
        await self.step.run_mutation(internal.effects.leave_and_fail, self.args(program))

    async def action(self, program: Program) -> None:
        args = self.args(program) | {"failures": program["failures"], "seconds": program["seconds"]}
        await self.step.run_action(internal.effects.work, args, retry=True)

    async def sleep(self, program: Program) -> None:
        await self.step.sleep(program["seconds"])

    async def timer(self, program: Program) -> None:
        await asyncio.sleep(program["seconds"])

    async def event(self, program: Program) -> None:
        sent = await self.step.await_event(program["label"])
        self.done.append(await self.step.run_mutation(internal.effects.leave, self.args({"label": sent})))

    async def nested(self, program: Program) -> None:
        args = {"name": f"{self.name} / {program['label']}", "text": json.dumps(program["program"])}
        await self.step.run_workflow(internal.flows.play, args)

    # --- what holds others

    async def sequence(self, program: Program) -> None:
        for part in program["parts"]:
            await self.calmly(part)

    async def parallel(self, program: Program) -> None:
        await asyncio.gather(*map(self.calmly, program["parts"]))

    async def group(self, program: Program) -> None:
        with suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for part in program["parts"]:
                    group.create_task(self.play(part))

    async def race(self, program: Program) -> None:
        tasks = [asyncio.create_task(self.calmly(part)) for part in program["parts"]]
        _, losers = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in losers:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def timeout(self, program: Program) -> None:
        async with asyncio.timeout(program["seconds"]):
            await self.sequence(program)

    async def cleanup(self, program: Program) -> None:
        first, last = program["parts"]
        try:
            await self.play(first)
        finally:
            await self.calmly(last)


# --- what clients do


@mutation
def begin(ctx: MutationCtx, name: str, text: str) -> str:
    """Start a run of this name, unless it is there."""
    known = ctx.db.query("runs").with_index("by_name", name=name).unique()
    if known is not None:
        return str(known["workflow"])
    args = {"name": name, "text": text}
    run: str = workflow.start(ctx, internal.flows.play, args, on_complete=internal.effects.note_end, context=name)
    ctx.db.insert("runs", {"name": name, "workflow": run})
    return run


@mutation
def tell(ctx: MutationCtx, run: str, event: str) -> None:
    """Send an event to a run, once; not at all if it has ended."""
    known = ctx.db.query("told").with_index("by_event", run=run, event=event).first()
    if known is None and workflow.status(ctx, run)["type"] == "inProgress":
        ctx.db.insert("told", {"run": run, "event": event})
        workflow.send_event(ctx, event, workflow_id=run, value=f"effect of {event}")


@mutation
def stop(ctx: MutationCtx, run: str) -> bool:
    """Cancel a run; False if it has ended."""
    if workflow.status(ctx, run)["type"] != "inProgress":
        return False
    workflow.cancel(ctx, run)
    return True


@query
def states(ctx: QueryCtx, names: list[str]) -> dict[str, str]:
    """How these runs stand; those that are not there are left out."""
    rows = [ctx.db.query("runs").with_index("by_name", name=name).unique() for name in names]
    return {row["name"]: workflow.status(ctx, row["workflow"])["type"] for row in rows if row is not None}


@query
def report(ctx: QueryCtx, options: dict[str, Any]) -> dict[str, Any]:
    """Of a page of all runs, children too: how each ended, what its steps say that they did, and what they did."""
    page = workflow.list_by_name(ctx, internal.flows.play, pagination_opts=options)
    runs = [_account(ctx, run) for run in page["page"]]
    return {"runs": runs, "isDone": page["isDone"], "continueCursor": page["continueCursor"]}


def _account(ctx: QueryCtx, run: dict[str, Any]) -> dict[str, Any]:
    name = run["args"]["name"]
    steps = workflow.list_steps(ctx, run["workflowId"], pagination_opts={"numItems": 1000, "cursor": None})["page"]
    succeeded = [step for step in steps if (step["runResult"] or {}).get("kind") == "success"]
    result = run["runResult"] or {}
    logs = workflow.list_logs(ctx, run["workflowId"], pagination_opts={"numItems": 1000, "cursor": None})["page"]
    return {
        "name": name,
        "state": run["state"],
        "kind": result.get("kind"),
        "error": result.get("error"),
        "done": result.get("value"),
        "positions": [step["stepNumber"] for step in steps],
        "open": [step["stepNumber"] for step in steps if step["runResult"] is None],
        "workflowId": run["workflowId"],
        "children": {
            step["nestedWorkflowId"]: step["runResult"]["kind"]
            for step in steps
            if step["nestedWorkflowId"] is not None and step["runResult"] is not None
        },
        "succeeded": [step["args"]["label"] for step in succeeded if step["name"] == "effects:leave"],
        "effects": [row["label"] for row in ctx.db.query("effects").with_index("by_run", run=name)],
        "ends": [row["kind"] for row in ctx.db.query("ends").with_index("by_run", run=name)],
        "said": [line["text"] for line in logs],
    }
