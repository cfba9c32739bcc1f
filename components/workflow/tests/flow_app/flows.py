"""The workflows of these tests, and what starts, watches and ends them."""

import asyncio
import logging
import random
import time
from datetime import timedelta
from typing import Any

from convexpy_workflow import Retry, Step, StepError, StepFailed, WorkflowManager, v_workflow_id, v_workflow_step

from convexpy import (
    ActionCtx,
    Int64,
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

workflow = WorkflowManager(components.workflow, default_retry=Retry(attempts=3, initial=1))
narrow = WorkflowManager(components.workflow, queue="narrow")
CALLS = {"query": "run_query", "mutation": "run_mutation", "action": "run_action"}


# --- what is done with runs


@mutation
def start(ctx: MutationCtx, flow: str, args: dict[str, Any], options: dict[str, Any]) -> str:
    if options.pop("notes_end", False):
        options["on_complete"] = internal.flows.note_end
    run: str = workflow.start(ctx, flow, args, **options)
    return run


@internal_action
async def start_in_action(ctx: ActionCtx, amounts: list[float]) -> Any:
    run = await workflow.start(
        ctx, internal.flows.sums, {"amounts": amounts}, on_complete=internal.flows.note_end, context="from an action"
    )
    return [run, (await workflow.status(ctx, run))["type"]]


@mutation
def limit_narrow(ctx: MutationCtx, limit: float) -> None:
    ctx.scheduler.set_queue_limit("narrow", int(limit))


@internal_mutation
def note_end(ctx: MutationCtx, workflowId: str, result: Any, context: Any) -> None:  # noqa: N803
    ctx.db.insert("ends", {"run": workflowId, "result": result, "context": context})


@internal_mutation
def fail_at_end(ctx: MutationCtx, workflowId: str, result: Any, context: Any) -> None:  # noqa: N803
    ctx.db.insert("ends", {"run": workflowId, "result": result, "context": context})
    raise ValueError("the callback is broken")


@mutation
def start_with_broken_callback(ctx: MutationCtx) -> str:
    run: str = workflow.start(ctx, internal.flows.sums, {"amounts": [1]}, on_complete=internal.flows.fail_at_end)
    return run


@mutation
def cancel(ctx: MutationCtx, run: str) -> None:
    workflow.cancel(ctx, run)


@mutation
def cancel_later(ctx: MutationCtx, run: str, delay: float) -> None:
    ctx.scheduler.run_after(delay, internal.flows.cancel_run, {"run": run})


@internal_mutation
def cancel_run(ctx: MutationCtx, run: str) -> None:
    workflow.cancel(ctx, run)


@mutation
def resume(ctx: MutationCtx, run: str) -> None:
    workflow.resume(ctx, run)


@mutation
def fail(ctx: MutationCtx, run: str, error: str) -> None:
    workflow.fail(ctx, run, error)


@mutation
def restart(ctx: MutationCtx, run: str, options: dict[str, Any]) -> None:
    if options.pop("from_add", False):
        options["from_"] = internal.work.add
    workflow.restart(ctx, run, **options)


@mutation
def cleanup(ctx: MutationCtx, run: str, force: bool = False) -> bool:
    is_gone: bool = workflow.cleanup(ctx, run, force=force)
    return is_gone


@query
def status(ctx: QueryCtx, run: str) -> Any:
    return workflow.status(ctx, run)


@query
def steps(ctx: QueryCtx, run: str, options: dict[str, Any] | None = None) -> Any:
    return workflow.list_steps(ctx, run, pagination_opts=options)


@query
def logs(ctx: QueryCtx, run: str, options: dict[str, Any] | None = None) -> Any:
    return workflow.list_logs(ctx, run, pagination_opts=options)


@query
def runs(ctx: QueryCtx, flow: str | None = None, options: dict[str, Any] | None = None) -> Any:
    if flow is None:
        return workflow.list(ctx, order="desc", pagination_opts=options)
    return workflow.list_by_name(ctx, f"flows:{flow}", pagination_opts=options)


# --- handlers


@workflow.define
async def sums(step: Step, amounts: list[float], name: str = "sum") -> float:
    """Adds one amount after the other: sequential steps."""
    total = 0.0
    for amount in amounts:
        print(f"adding {amount:g} to {name}")
        total = await step.run_mutation(internal.work.add, {"name": name, "by": amount})
    return total


@workflow.define
async def waits(step: Step, days: float) -> list[float]:
    begun = step.now()
    await step.sleep(timedelta(days=days))
    return [begun.timestamp(), step.now().timestamp()]


@workflow.define
async def catches(step: Step, kind: str, function: str) -> list[Any]:
    try:
        await getattr(step, CALLS[kind])(function)
    except StepFailed as failure:
        caught = [failure.position, failure.name, failure.text, failure.data]
        return [*caught, await step.run_query(internal.work.read, {"name": "lost"})]
    return ["nothing was raised"]


@workflow.define
async def lets_fail(step: Step) -> None:
    await step.run_mutation(internal.work.fail_mutation)


@workflow.define
async def retries(step: Step, function: str, args: dict[str, Any], retry: bool) -> Any:
    return await step.run_action(function, args, retry=retry)


@workflow.define
async def gathers(step: Step, names: list[str]) -> list[float]:
    return list(await asyncio.gather(*(step.run_mutation(internal.work.add, {"name": name}) for name in names)))


@workflow.define
async def floods(step: Step, count: float) -> str:
    calls = (step.run_mutation(internal.work.echo_mutation, {"value": n}) for n in range(int(count)))
    results = await asyncio.gather(*calls, return_exceptions=True)
    errors = [str(result) for result in results if isinstance(result, StepError)]
    return f"{len(results) - len(errors)} ran; {errors[0] if errors else 'no errors'}"


@workflow.define
async def echoes(step: Step, value: Any) -> list[Any]:
    results = []
    for method, function in (
        (step.run_query, internal.work.echo_query),
        (step.run_mutation, internal.work.echo_mutation),
        (step.run_action, internal.work.echo_action),
    ):
        results.append(await method(function, {"value": value}))
        results.append(await step.run_mutation(internal.work.echo_mutation, {"value": results[-1]}, inline=True))
    return results


@workflow.define
async def takes_bytes(step: Step, sizes: list[float]) -> list[Any]:
    """Gives sizes back, not the bytes, so that only the steps are large."""
    seen: list[Any] = []
    for size in sizes:
        try:
            seen.append(len(await step.run_mutation(internal.work.give_bytes, {"size": size})))
        except StepFailed as failure:
            seen.append(failure.text[:90])
    return seen


@workflow.define
async def passes(step: Step, large: bytes) -> bytes:
    for method, function in (
        (step.run_query, internal.work.echo_query),
        (step.run_mutation, internal.work.echo_mutation),
        (step.run_action, internal.work.echo_action),
    ):
        given: bytes = await method(function, {"value": large})
        large = given
    return large


@workflow.define
async def keeps(step: Step, large: bytes) -> bytes:
    await step.run_mutation(internal.work.echo_mutation, {"value": 1})
    await step.sleep(60)
    return large


@workflow.define(args={"value": v.any()}, returns=v.object({"count": v.int64()}))
async def promises(step: Step, value: Any) -> Any:
    return {"count": value}


@workflow.define
async def returns_junk(step: Step) -> Any:
    return object()


@workflow.define
async def slow_then_more(step: Step) -> None:
    await step.run_action(internal.work.take_time, {"seconds": 10})
    await step.run_mutation(internal.work.add, {"name": "more"})


@workflow.define
async def stalls(step: Step) -> None:
    await asyncio.get_running_loop().create_future()


@workflow.define
async def loops(step: Step, rounds: float, size: float) -> None:
    for _ in range(int(rounds)):
        await step.run_mutation(internal.work.echo_mutation, {"value": "x" * int(size)})


@workflow.define
async def gathers_bytes(step: Step, count: float, size: float) -> float:
    """Hands each large value from step to step and keeps only their sizes; a second between two of them."""
    total = 0
    value = bytes(int(size))
    for number in range(int(count)):
        value = await step.run_mutation(internal.work.echo_mutation, {"value": bytes([number % 256]) + value[1:]})
        total += len(value)
        await step.sleep(1)
    return total


@workflow.define
async def paced(step: Step, seconds: float) -> None:
    for _ in range(5):
        await step.run_mutation(internal.work.add, {"name": "paced"})
        await step.sleep(seconds)


@workflow.define
async def long(step: Step, rounds: float) -> None:
    for _ in range(int(rounds)):
        await step.run_mutation(internal.work.echo_mutation, {"value": 1})
    await step.sleep(500)


@workflow.define
async def gathers_slowly(step: Step, seconds: list[float]) -> list[str]:
    return list(await asyncio.gather(*(step.run_action(internal.work.take_time, {"seconds": n}) for n in seconds)))


@narrow.define
async def gathers_in_a_queue(step: Step, count: float) -> float:
    begun = step.now()
    calls = (step.run_action(internal.work.take_time, {"seconds": 1}) for _ in range(int(count)))
    await asyncio.gather(*calls)
    return (step.now() - begun).total_seconds()


@workflow.define
async def spins(step: Step, after: float) -> None:
    for _ in range(int(after)):
        await step.run_mutation(internal.work.add, {"name": "before spinning"})
    while True:
        await asyncio.sleep(0)


@workflow.define
async def ends_itself(step: Step) -> None:
    await step.run_mutation(internal.flows.cancel_run, {"run": step.workflow_id})
    await step.run_mutation(internal.work.add, {"name": "after the end"})


@workflow.define
async def speaks(step: Step) -> None:
    """Prints between its steps; each step's function prints too."""
    print("begun")
    await step.run_query(internal.work.speak_query, {"text": "a query"})
    logging.getLogger("flows").warning("after %s", "the query")
    await step.run_action(internal.work.speak_at_last, {"attempts": 3}, retry=True)
    print("unfinished", end="")
    await step.run_mutation(internal.work.speak, {"text": "inline"}, inline=True)
    await asyncio.sleep(5)
    print("after the timer")
    await step.run_mutation(internal.work.speak, {"text": "a mutation"})
    print("two\nlines")


@workflow.define
async def speaks_much(step: Step, rounds: float, count: float, chars: float) -> None:
    for _ in range(int(rounds)):
        print("h" * int(chars))
        await step.run_mutation(internal.work.speak_long, {"count": count, "chars": chars})


@workflow.define
async def speaks_beside(step: Step, steps: float, count: float) -> None:
    args = {"count": count, "chars": 10}
    await asyncio.gather(*(step.run_mutation(internal.work.speak_long, args) for _ in range(int(steps))))
    print("all have spoken")


@workflow.define
async def fails_in(step: Step, kind: str, function: str, inline: bool = False) -> Any:
    """Gives back what it caught, or with another kind of error lets it go."""
    options = {"inline": True} if inline else {}
    try:
        await getattr(step, CALLS[kind])(function, **options)
    except StepFailed as failure:
        return failure.traceback


@workflow.define
async def races_mutations(step: Step) -> list[str]:
    """Both run at once; the handler takes the first and gives the other up."""
    tasks = [asyncio.create_task(step.run_mutation(internal.work.speak, {"text": name})) for name in ("one", "two")]
    done, losers = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in losers:
        task.cancel()
    await step.sleep(1)
    return [f"{len(done)} done", f"{len(losers)} given up"]


@workflow.define
async def races_inline(step: Step) -> float:
    """The first of two inline steps has its outcome before the second one has begun."""
    tasks = [
        asyncio.create_task(step.run_mutation(internal.work.add, {"name": name}, inline=True))
        for name in ("winner", "loser")
    ]
    done, losers = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in losers:
        task.cancel()
    await step.sleep(1)
    return len(done)


@workflow.define
async def everything(step: Step) -> list[Any]:
    """As many constructs as one handler can hold; what it returns depends on all that it saw."""
    seen: list[Any] = [step.now().timestamp(), time.time(), random.random(), step.random.random(), str(step.uuid4())]
    print("begun")
    seen += await asyncio.gather(
        step.run_mutation(internal.work.add, {"name": "a", "by": 2}),
        step.run_query(internal.work.read, {"name": "b"}),
        step.run_action(internal.work.work_at_last, {"attempts": 2}, retry=True),
    )
    await asyncio.sleep(5)
    seen.append(time.time())
    try:
        async with asyncio.timeout(3):
            await step.run_action(internal.work.take_time, {"seconds": 60})
    except TimeoutError:
        print("late")
        seen.append("late")
    tasks = [
        asyncio.create_task(step.run_action(internal.work.take_time, {"seconds": seconds})) for seconds in (9, 2, 4)
    ]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    seen.append(done.pop().result())
    seen.append(await step.run_mutation(internal.work.add, {"name": "a", "by": 5}, inline=True))
    try:
        await step.run_mutation(internal.work.fail_mutation)
    except StepFailed as failure:
        seen += [failure.text, failure.data]
    await step.sleep(timedelta(hours=1))
    seen += [Int64(7), random.random(), step.now().timestamp()]
    return seen


@workflow.define
async def asks_a_component(step: Step) -> float:
    """A step may be a function of a component: here one that lists runs."""
    page = await step.run_query(components.workflow.runs.list_runs, {"name": "flows:none"})
    return float(len(page["page"]))


class Untellable(Exception):
    """Neither its text nor its data can be had."""

    @property
    def data(self) -> Any:
        raise RuntimeError("no data")

    def __str__(self) -> str:
        raise RuntimeError("no text")


ODD_ERRORS: dict[str, BaseException] = {
    "untellable": Untellable(),
    "surrogate": ValueError("\ud800"),
    "interrupt": KeyboardInterrupt(),
    "exit": SystemExit(3),
    "generator exit": GeneratorExit(),
    "base": BaseException("base"),
    "group": BaseExceptionGroup("both", [KeyboardInterrupt(), ValueError()]),
}


@internal_mutation
def raise_odd(ctx: MutationCtx, odd: str) -> None:
    raise ODD_ERRORS[odd]


@workflow.define
async def raises_odd(step: Step, odd: str, place: str) -> str:
    if place == "handler":
        await step.run_mutation(internal.work.add, {"name": "odd"})
        raise ODD_ERRORS[odd]
    try:
        await step.run_mutation(internal.flows.raise_odd, {"odd": odd}, inline=place == "inline")
    except StepFailed as error:
        return str(error)
    return "nothing was raised"


@internal_mutation
def raise_odd_at_end(ctx: MutationCtx, workflowId: str, result: Any, context: str) -> None:  # noqa: N803
    raise ODD_ERRORS[context]


@mutation
def start_with_odd_callback(ctx: MutationCtx, odd: str) -> str:
    run: str = workflow.start(
        ctx, internal.flows.sums, {"amounts": [1]}, on_complete=internal.flows.raise_odd_at_end, context=odd
    )
    return run


@internal_mutation
def end_run(ctx: MutationCtx, run: str, deletes: bool) -> None:
    if deletes:
        workflow.cleanup(ctx, run, force=True)
    else:
        workflow.cancel(ctx, run)


@workflow.define
async def ends_itself_beside(step: Step, undoes: bool) -> str:
    """From an inline step that stands before another one."""
    ending = internal.flows.try_to_end_run if undoes else internal.flows.end_run
    args = {"run": step.workflow_id} | ({} if undoes else {"deletes": False})
    await asyncio.gather(
        step.run_mutation(ending, args, inline=True),
        step.run_mutation(internal.work.add, {"name": "inline beside"}, inline=True),
    )
    await step.run_mutation(internal.work.add, {"name": "inline after"}, inline=True)
    return "went on"


@internal_mutation
def try_to_end_run(ctx: MutationCtx, run: str) -> None:
    """What a function does that then raises has not happened."""
    try:
        ctx.run_mutation(internal.flows.end_run_and_raise, {"run": run})
    except Exception:
        print("it runs on")


@internal_mutation
def end_run_and_raise(ctx: MutationCtx, run: str) -> None:
    workflow.cancel(ctx, run)
    raise ValueError("changed its mind")


@workflow.define
async def ends_itself_inline(step: Step, deletes: bool) -> None:
    """From an inline step, beside steps that begin in the same wave."""
    asyncio.create_task(step.run_mutation(internal.work.add, {"name": "beside"}))  # noqa: RUF006
    asyncio.create_task(step.run_workflow(internal.flows.sums, {"amounts": [1]}))  # noqa: RUF006
    await asyncio.sleep(0)
    await step.run_mutation(internal.flows.end_run, {"run": step.workflow_id, "deletes": deletes}, inline=True)
    await step.run_mutation(internal.work.add, {"name": "after"})


@workflow.define
async def ends_itself_last(step: Step) -> str:
    await step.run_mutation(internal.flows.end_run, {"run": step.workflow_id, "deletes": False}, inline=True)
    return "too late"


@workflow.define
async def sleeps_in_turn(step: Step, outer: float, inner: float) -> list[float]:
    """A timer that is set after a later one is due before it; gives how long each lasted."""
    begun = step.now().timestamp()

    async def lasts(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return step.now().timestamp() - begun

    waiting = asyncio.create_task(lasts(outer))
    await step.run_action(internal.work.take_time, {"seconds": 1})
    return [await lasts(inner), await waiting]


@workflow.define
async def bounds(step: Step, limits: dict[str, float], inline: bool) -> Any:
    limited: Any = {name: int(most) for name, most in limits.items()}
    options: Any = {"inline": inline, "transaction_limits": limited}
    try:
        await step.run_mutation(internal.work.add, {"name": "bounded"}, **options)
        return await step.run_query(internal.work.read, {"name": "bounded"}, **options)
    except StepFailed as failure:
        return failure.text


@query(returns=v.array(v_workflow_step))
def checked_steps(ctx: QueryCtx, run: str) -> Any:
    return workflow.list_steps(ctx, run)["page"]


@mutation(returns=v_workflow_id)
def start_checked(ctx: MutationCtx, flow: str) -> Any:
    return workflow.start(ctx, f"flows:{flow}")


@workflow.define
async def refusals(step: Step, calls: list[str]) -> list[str]:
    """Makes calls that are wrong, each as a Python expression, and tells how each was refused."""
    texts = []
    for call in calls:
        try:
            await eval(call)
        except Exception as error:
            texts.append(f"{type(error).__name__}: {error}")
        else:
            texts.append("it was taken")
    return texts
