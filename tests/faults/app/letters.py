"""A workflow that runs another one, which awaits an event; each leaves rows, so that effects can be counted."""

from typing import Any

from convexpy_workflow import Step, WorkflowManager, define_event

from convexpy import MutationCtx, QueryCtx, components, internal, mutation, query, v

workflow = WorkflowManager(components.workflow)
Letter = define_event("letter", v.object({"text": v.string()}))


@workflow.define(args={"round": v.string(), "run": v.string(), "seconds": v.number()}, returns=v.string())
async def correspond(step: Step, **name: Any) -> str:
    """What the child has read is the result."""
    text: str = await step.run_workflow(internal.letters.receive, name)
    await step.run_mutation(internal.chores.leave, {"round": name["round"], "run": name["run"], "step": "answered"})
    return text


@workflow.define(args={"round": v.string(), "run": v.string(), "seconds": v.number()}, returns=v.string())
async def receive(step: Step, round: str, run: str, seconds: float) -> str:
    """Sleep, then wait for a letter; one that comes earlier is kept."""
    if seconds:
        await step.sleep(seconds)
    text: str = (await step.await_event(Letter))["text"]
    await step.run_mutation(internal.chores.leave, {"round": round, "run": run, "step": "read"})
    return text


@workflow.define(args={"count": v.number()}, returns=v.array(v.string()))
async def collect(step: Step, count: float) -> list[str]:
    """Await so many letters, one after the other."""
    return [(await step.await_event(Letter))["text"] for _ in range(int(count))]


@mutation
def begin_to_collect(ctx: MutationCtx, round: str, run: str, count: float) -> str:
    """Start a run of `collect`; returns its id."""
    started: str = workflow.start(ctx, internal.letters.collect, {"count": count})
    ctx.db.insert("runs", {"round": round, "name": run, "workflow": started})
    return started


@mutation
def send_to(ctx: MutationCtx, run: str, text: str) -> None:
    """Send a letter to a run by its id."""
    workflow.send_event(ctx, Letter, workflow_id=run, value={"text": text})


@mutation
def begin(ctx: MutationCtx, round: str, run: str, seconds: float) -> None:
    """Start a run under a name."""
    started = workflow.start(ctx, internal.letters.correspond, {"round": round, "run": run, "seconds": seconds})
    ctx.db.insert("runs", {"round": round, "name": run, "workflow": started})


@mutation
def send(ctx: MutationCtx, round: str, run: str, text: str) -> bool:
    """Send a letter to the child; False if it has ended already."""
    row = next(row for row in ctx.db.query("runs").with_index("by_round", round=round) if row["name"] == run)
    waiting = workflow.status(ctx, row["workflow"]).get("waiting")
    if not waiting or waiting[0]["state"] != "running":
        return False
    workflow.send_event(ctx, Letter, workflow_id=waiting[0]["workflowId"], value={"text": text})
    return True


@query
def childless(ctx: QueryCtx, round: str) -> list[str]:
    """The runs whose child does not wait for its letter yet."""
    names = []
    for row in ctx.db.query("runs").with_index("by_round", round=round):
        waiting = workflow.status(ctx, row["workflow"]).get("waiting", [])
        kinds = [wait["kind"] for each in waiting for wait in _waits_of(ctx, each["workflowId"])]
        if kinds != ["event"]:
            names.append(row["name"])
    return names


def _waits_of(ctx: QueryCtx, run: str) -> list[dict[str, Any]]:
    waits: list[dict[str, Any]] = workflow.status(ctx, run).get("waiting", [])
    return waits
