"""Functions that are scheduled, and functions that schedule."""

import asyncio
import logging
from typing import Any

from convexpy import (
    ActionCtx,
    ConvexError,
    MutationCtx,
    QueryCtx,
    internal,
    internal_action,
    internal_mutation,
    internal_query,
    mutation,
    v,
)


@internal_mutation(args={"text": v.string()})
def record(ctx: MutationCtx, text: str) -> str:
    ctx.db.insert("events", {"text": text, "at": ctx.now_ms(), "who": ctx.auth.get_user_identity()})
    return text.upper()


@internal_mutation(args={"text": v.string()})
def record_then_fail(ctx: MutationCtx, text: str) -> None:
    record(ctx, text)
    ctx.scheduler.run_after(0, internal.jobs.record, {"text": "scheduled by who failed"})
    raise ConvexError({"text": text})


def say_lines(lines: float, is_failing: bool) -> str:
    for number in range(int(lines)):
        print(f"line {number}")
    logging.getLogger("jobs").warning("all said")
    print("unfinished", end="")
    if is_failing:
        raise ValueError("after speaking")
    return "said"


@internal_mutation
def speak(ctx: MutationCtx, lines: float, is_failing: bool = False) -> str:
    return say_lines(lines, is_failing)


@internal_action
async def speak_in_action(ctx: ActionCtx, lines: float, is_failing: bool = False) -> str:
    return say_lines(lines, is_failing)


@internal_mutation
def speak_long(ctx: MutationCtx, count: float) -> None:
    for _ in range(int(count)):
        print("ü" * 10_000)


@internal_mutation(args={})
def increment(ctx: MutationCtx) -> None:
    row = ctx.db.query("counters").first()
    if row is None:
        ctx.db.insert("counters", {"value": 1})
    else:
        ctx.db.patch(row["_id"], {"value": row["value"] + 1})


@internal_mutation(args={"context": v.any(), "outcome": v.any(), "job_id": v.id("_scheduled_functions")})
def complete(ctx: MutationCtx, context: Any, outcome: Any, job_id: str) -> None:
    ctx.db.insert("completions", {"context": context, "outcome": outcome, "job": job_id, "at": ctx.now_ms()})
    if ctx.db.query("broken").first() is not None:
        ctx.scheduler.run_after(0, internal.jobs.record, {"text": "scheduled by a failing completion"})
        raise ValueError("the completion is broken")


@internal_mutation
def note_failure(ctx: MutationCtx, **told: Any) -> None:
    ctx.db.insert("failures", told)
    if told["context"] == "nobody listens":
        raise ValueError("not even this works")


@internal_mutation
def complete_together(ctx: MutationCtx, **fields: Any) -> None:
    """Keep each delivery as it came: one completion, or several."""
    ctx.db.insert("deliveries", fields)
    ctx.scheduler.run_after(0, internal.jobs.record, {"text": "scheduled by a completion"})
    if "completions" in fields and ctx.db.query("broken").first() is not None:
        raise ValueError("several at once are too many")


@internal_mutation
def go_on(ctx: MutationCtx, context: list[Any], outcome: Any, job_id: str) -> None:
    """Run what the context names, each here if there is room, else later; keep what came of it."""
    came: list[Any] = []
    for name, args in context:
        apart_from = internal.jobs.use_the_app if name == "use_the_app" else None
        kind: Any = "query" if name == "count_events" else "mutation"
        ran = ctx.scheduler.run_here(f"jobs:{name}", args, kind=kind, apart_from=apart_from)
        came.append(None if ran is None else ran.get("value", ran["kind"]))
        if ran is None:
            ctx.scheduler.run_after(0, f"jobs:{name}", args)
    is_own = ctx.meta.request_metadata()["scheduledFunctionId"] == job_id
    ctx.db.insert("came", {"outcomes": came, "is_own": is_own})
    if ctx.db.query("broken").first() is not None and came[0] is not None:
        raise ValueError("broken where there is room")


@internal_mutation
def use_the_app(ctx: MutationCtx, text: str) -> None:
    """Every function of an app uses it."""
    print(f"using {text}")
    ctx.scheduler.run_after(0, record, {"text": text})


@internal_query(args={})
def count_events(ctx: QueryCtx) -> float:
    return len(ctx.db.query("events").collect())


@internal_mutation(args={"count": v.number()})
def record_many(ctx: MutationCtx, count: float) -> float:
    for number in range(int(count)):
        record(ctx, f"{number}")
    return count


@internal_mutation(args={"lane": v.string()})
def cancel_all_in_lane(ctx: MutationCtx, lane: str) -> None:
    for row in ctx.db.query("jobs_of_lanes").collect():
        if row["lane"] == lane and row["job"] != ctx.meta.request_metadata()["scheduledFunctionId"]:
            ctx.scheduler.cancel(row["job"])


@internal_mutation(args={"id": v.string()})
def cancel(ctx: MutationCtx, id: str) -> None:
    ctx.scheduler.cancel(id)


@internal_mutation(args={})
def cancel_itself(ctx: MutationCtx) -> None:
    for row in ctx.db.system.query("_scheduled_functions"):
        ctx.scheduler.cancel(row["_id"])


@internal_mutation(args={})
def schedule_and_fail(ctx: MutationCtx) -> None:
    ctx.scheduler.run_after(0, internal.jobs.record, {"text": "never"})
    raise ValueError("after scheduling")


@mutation(args={})
def schedule_in_failing_child(ctx: MutationCtx) -> None:
    ctx.scheduler.run_after(0, record, {"text": "kept"})
    try:
        ctx.run_mutation(schedule_and_fail)
    except ValueError:
        ctx.scheduler.run_after(0, record, {"text": "kept too"})


@internal_mutation(args={"times": v.number()})
def schedule_itself(ctx: MutationCtx, times: float) -> None:
    record(ctx, f"{times:g}")
    if times > 0:
        ctx.scheduler.run_after(3600, schedule_itself, {"times": times - 1})


@internal_mutation(args={})
def schedule_for_ever(ctx: MutationCtx) -> None:
    ctx.scheduler.run_after(1, schedule_for_ever)


@internal_query(args={})
def look(ctx: QueryCtx) -> None:
    return None


@internal_action(args={"text": v.string(), "seconds": v.number()})
async def work(ctx: ActionCtx, text: str, seconds: float) -> str:
    """Takes some time between two marks."""
    await ctx.run_mutation(record, {"text": f"{text} begins"})
    await asyncio.sleep(seconds)
    await ctx.run_mutation(record, {"text": f"{text} ends"})
    return text


@internal_action(args={})
async def work_then_tell(ctx: ActionCtx) -> None:
    """Takes a minute, and tells of its end whatever that is."""
    try:
        await asyncio.sleep(60)
    finally:
        await ctx.run_mutation(record, {"text": "ended"})


@internal_action(args={})
async def fail_in_action(ctx: ActionCtx) -> None:
    raise ConvexError("the action")


@internal_action(args={"seconds": v.number()})
async def sleep_and_schedule(ctx: ActionCtx, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await ctx.scheduler.run_after(5, record, {"text": "late"})
    await ctx.run_mutation(schedule_one)


@internal_mutation(args={})
def schedule_one(ctx: MutationCtx) -> None:
    ctx.scheduler.run_after(0, record, {"text": "by its mutation"})


@internal_action(args={})
async def schedule_then_fail_in_action(ctx: ActionCtx) -> None:
    await ctx.scheduler.run_after(1, record, {"text": "scheduled all the same"})
    raise ValueError("afterwards")
