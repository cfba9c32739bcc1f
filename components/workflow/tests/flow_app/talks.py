"""Workflows that wait for events, and what creates and sends them."""

import asyncio
from typing import Any

from convexpy_workflow import EventError, Step, StepFailed, WorkflowManager, define_event, v_event_id

from convexpy import (
    UNSET,
    ActionCtx,
    MutationCtx,
    QueryCtx,
    action,
    components,
    internal,
    internal_mutation,
    mutation,
    query,
    v,
)

workflow = WorkflowManager(components.workflow)
Approval = define_event("approval", v.object({"approved": v.boolean(), "counter": v.optional(v.id("counters"))}))


@mutation
def create(ctx: MutationCtx, name: str, run: str) -> str:
    event: str = workflow.create_event(ctx, name, run)
    return event


@mutation(args={"options": v.any(), "event": v.optional(v_event_id)}, returns=v_event_id)
def send(ctx: MutationCtx, options: dict[str, Any], event: str | None = None) -> str:
    """`options` has name, run, value or error; `event` is an id."""
    sent: str = workflow.send_event(
        ctx,
        options.get("name"),
        workflow_id=options.get("run"),
        event_id=event,
        value=options.get("value", UNSET),
        error=options.get("error"),
    )
    return sent


@mutation
def approve(ctx: MutationCtx, run: str, value: Any) -> None:
    workflow.send_event(ctx, Approval, workflow_id=run, value=value)


@action
async def approve_in_action(ctx: ActionCtx, run: str, value: Any) -> str:
    sent: str = await workflow.send_event(ctx, Approval, workflow_id=run, value=value)
    return sent


@action
def approve_in_blocking_action(ctx: Any, run: str, value: Any) -> str:
    sent: str = workflow.send_event(ctx, Approval, workflow_id=run, value=value)
    return sent


@mutation
def start_and_send(ctx: MutationCtx, flow: str, name: str, values: list[Any]) -> str:
    """All in one transaction: the run, and what is sent to it."""
    run: str = workflow.start(ctx, f"talks:{flow}", {"name": name, "count": len(values)})
    for value in values:
        workflow.send_event(ctx, name, workflow_id=run, value=value)
    return run


@mutation
def send_and_fail(ctx: MutationCtx, run: str, name: str) -> None:
    workflow.send_event(ctx, name, workflow_id=run, value="never")
    raise ValueError("the sender is broken")


@query
def runs_of(ctx: QueryCtx, flow: str) -> Any:
    return workflow.list_by_name(ctx, flow)


@internal_mutation
def answer_self(ctx: MutationCtx, run: str) -> None:
    workflow.send_event(ctx, "answer", workflow_id=run, value="from a step")


# --- handlers


@workflow.define
async def hears(step: Step, name: str, count: float) -> list[Any]:
    """Awaits so many events of a name, one after the other."""
    return [await step.await_event(name) for _ in range(int(count))]


@workflow.define
async def hears_later(step: Step, name: str, count: float) -> list[Any]:
    await step.sleep(60)
    return [await step.await_event(name) for _ in range(int(count))]


@workflow.define
async def hears_at_once(step: Step, name: str, count: float) -> list[Any]:
    """Awaits so many events of a name side by side."""
    return list(await asyncio.gather(*(step.await_event(name) for _ in range(int(count)))))


@workflow.define
async def asks(step: Step) -> Any:
    try:
        return await step.await_event(Approval)
    except StepFailed as failure:
        return ["refused", failure.text, failure.position, failure.name]
    except EventError as error:
        return ["does not fit", str(error)]


@workflow.define
async def awaits_ids(step: Step, wait: float) -> list[Any]:
    """Learns ids of events, then awaits them one after the other; "" ends it."""
    seen: list[Any] = []
    while event := await step.await_event("next id"):
        try:
            async with asyncio.timeout(wait):
                seen.append(await step.await_event(event_id=event))
        except StepFailed as failure:
            seen.append(failure.text)
        except TimeoutError:
            seen.append("late")
    return seen


@workflow.define
async def awaits_one_id_twice(step: Step) -> Any:
    event = await step.await_event("which")
    first = asyncio.create_task(step.await_event(event_id=event, name="first"))
    await asyncio.sleep(0)  # a task begins when the handler waits
    try:
        await step.await_event(event_id=event, name="second")
    except StepFailed as failure:
        return [failure.text, await first]


@workflow.define
async def patient(step: Step, patience: list[float]) -> list[Any]:
    """Awaits an event again and again, each time for so many seconds; then as long as it takes."""
    seen: list[Any] = []
    for seconds in patience:
        try:
            async with asyncio.timeout(seconds):
                seen.append(await step.await_event("answer"))
        except TimeoutError:
            seen.append("late")
    return [*seen, await step.await_event("answer")]


@workflow.define
async def races(step: Step) -> Any:
    """The first of two events and a sleep; then what the losers' names bring."""
    waits = [asyncio.create_task(step.await_event(name)) for name in ("left", "right")]
    limit = asyncio.create_task(step.sleep(3600))
    done, pending = await asyncio.wait([*waits, limit], return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    first = done.pop().result()
    return [first, await step.await_event("left"), await step.await_event("right")]


@workflow.define
async def answers_itself(step: Step) -> Any:
    waiting = asyncio.create_task(step.await_event("answer"))
    await step.run_mutation(internal.talks.answer_self, {"run": step.workflow_id})
    await step.run_mutation(internal.talks.answer_self, {"run": step.workflow_id}, inline=True)
    return [await waiting, await step.await_event("answer")]


@internal_mutation
def create_and_answer(ctx: MutationCtx, run: str) -> None:
    event = workflow.create_event(ctx, "answer", run)
    workflow.send_event(ctx, event_id=event, value="by id")


@workflow.define
async def answers_by_id(step: Step) -> Any:
    """The wait and the send, which is an inline step, begin in one wave."""
    waiting = asyncio.create_task(step.await_event("answer"))
    await asyncio.sleep(0)
    await step.run_mutation(internal.talks.create_and_answer, {"run": step.workflow_id}, inline=True)
    return await waiting


@workflow.define
async def leaves(step: Step) -> str:
    """Ends while it waits."""
    asyncio.create_task(step.await_event("answer"))  # noqa: RUF006
    await step.sleep(60)
    return "left"


@workflow.define
async def hears_at_once_later(step: Step, name: str, count: float) -> float:
    """The same, when all of them may have been sent already."""
    await step.sleep(60)
    return len(await asyncio.gather(*(step.await_event(name) for _ in range(int(count)))))


@workflow.define
async def lines_up(step: Step) -> list[Any]:
    """Three wait for one name; the first gives up when the third begins."""

    async def waits(name: str, seconds: float | None) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await step.await_event("answer", name=name)
        except TimeoutError:
            return "late"

    first = asyncio.create_task(waits("one", 5))
    second = asyncio.create_task(waits("two", None))
    late = await first
    third = asyncio.create_task(waits("three", None))
    return [late, await second, await third]
