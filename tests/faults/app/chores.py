"""Workflows with steps of every kind; each mutation step leaves a row, so that its effects can be counted."""

import asyncio
from datetime import timedelta
from typing import Any

from convexpy_workflow import Retry, Step, StepFailed, WorkflowManager

from convexpy import (
    ActionCtx,
    MutationCtx,
    QueryCtx,
    components,
    internal,
    internal_action,
    internal_mutation,
    mutation,
    query,
    v,
)

workflow = WorkflowManager(components.workflow, default_retry=Retry(initial=0.05))


@workflow.define(args={"round": v.string(), "run": v.string()}, returns=v.string())
async def clean(step: Step, round: str, run: str) -> str:
    """Mutation, then two mutations beside an action and a sleep, then a sleep alone, then a mutation."""
    name = {"round": round, "run": run}
    await step.run_mutation(internal.chores.leave, {**name, "step": "first"})
    _, _, word, _ = await asyncio.gather(
        step.run_mutation(internal.chores.leave, {**name, "step": "left"}),
        step.run_mutation(internal.chores.leave, {**name, "step": "right"}),
        step.run_action(internal.chores.think, name, retry=True),
        step.sleep(timedelta(milliseconds=20)),
    )
    await step.sleep(timedelta(milliseconds=50))
    await step.run_mutation(internal.chores.leave, {**name, "step": "last"})
    return f"{run} is {word}"


@mutation
def begin(ctx: MutationCtx, round: str, run: str) -> None:
    """Start a run under a name."""
    started = workflow.start(ctx, internal.chores.clean, {"round": round, "run": run})
    ctx.db.insert("runs", {"round": round, "name": run, "workflow": started})


@internal_mutation
def leave(ctx: MutationCtx, round: str, run: str, step: str) -> None:
    """The effect of a step."""
    ctx.db.insert("effects", {"round": round, "run": run, "step": step})


@internal_action
async def think(ctx: ActionCtx, round: str, run: str) -> str:
    """An action may happen again after a crash, so its effect may be there twice."""
    await ctx.run_mutation(internal.chores.leave, {"round": round, "run": run, "step": "thought"})
    return "clean"


@query
def states(ctx: QueryCtx, round: str) -> dict[str, dict[str, Any]]:
    """Of each run of a round: how it stands and its result."""
    runs = ctx.db.query("runs").with_index("by_round", round=round).collect()
    return {run["name"]: _state(ctx, run["workflow"]) for run in runs}


def _state(ctx: QueryCtx, workflow_id: str) -> dict[str, Any]:
    status = workflow.status(ctx, workflow_id)
    return {"kind": status["type"], "result": status.get("result"), "error": status.get("error")}


@query
def effects(ctx: QueryCtx, round: str) -> list[dict[str, str]]:
    """What the steps of a round have left."""
    rows = ctx.db.query("effects").with_index("by_round", round=round).collect()
    return [{"run": row["run"], "step": row["step"]} for row in rows]


@workflow.define(args={"round": v.string(), "run": v.string()}, returns=v.string())
async def stumble(step: Step, round: str, run: str) -> str:
    """A step that ends its process is a failed step, which the handler gets over."""
    try:
        await step.run_mutation(internal.runaway.write_and_leave_later, {"name": run})
    except StepFailed:
        await step.run_mutation(internal.chores.leave, {"round": round, "run": run, "step": "last"})
        return "got up"
    return "never fell"


@mutation
def begin_to_stumble(ctx: MutationCtx, round: str, run: str) -> None:
    """Start a run of `stumble`."""
    started = workflow.start(ctx, internal.chores.stumble, {"round": round, "run": run})
    ctx.db.insert("runs", {"round": round, "name": run, "workflow": started})
