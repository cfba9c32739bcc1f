"""A workflow whose every step leaves a row, so that a test can see each effect and count it."""

from datetime import timedelta
from typing import Any

from convexpy_workflow import Step, WorkflowManager

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

workflow = WorkflowManager(components.workflow)


@workflow.define(args={"run": v.string(), "seconds": v.number()}, returns=v.string())
async def clean(step: Step, run: str, seconds: float) -> str:
    """Mutation, action, a pause, mutation: one step of each kind around the moment at which tests kill the server."""
    await step.run_mutation(internal.chores.leave, {"run": run, "step": "first"})
    word = await step.run_action(internal.chores.think, {"run": run}, retry=True)
    await step.sleep(timedelta(seconds=seconds))
    await step.run_mutation(internal.chores.leave, {"run": run, "step": "last"})
    return f"{run} is {word}"


@mutation
def begin(ctx: MutationCtx, run: str, seconds: float = 0.2) -> str:
    """Start a run under a name."""
    started: str = workflow.start(ctx, internal.chores.clean, {"run": run, "seconds": seconds})
    ctx.db.insert("runs", {"name": run, "workflow": started})
    return started


@internal_mutation
def leave(ctx: MutationCtx, run: str, step: str) -> None:
    """The effect of a step."""
    ctx.db.insert("effects", {"run": run, "step": step})


@internal_action
async def think(ctx: ActionCtx, run: str) -> str:
    """The action's effect is a mutation's: it may happen again after a crash, which actions are allowed to."""
    await ctx.run_mutation(internal.chores.leave, {"run": run, "step": "thought"})
    return "clean"


@query
def progress(ctx: QueryCtx, run: str) -> dict[str, Any]:
    """The state of a run, its steps, and what they have left behind."""
    row = ctx.db.query("runs").with_index("by_name", name=run).unique()
    if row is None:
        return {"kind": "unknown", "steps": [], "effects": []}
    status = workflow.status(ctx, row["workflow"])
    return {
        "kind": status["type"],
        "result": status.get("result"),
        "steps": [step["name"] for step in workflow.list_steps(ctx, row["workflow"])["page"]],
        "effects": [effect["step"] for effect in ctx.db.query("effects").with_index("by_run", run=run).collect()],
    }
