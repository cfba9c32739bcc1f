"""Functions that do not come back, or take their process along."""

import asyncio
import itertools
import os
import re
import signal
from typing import Any

from convexpy_workflow import Step, StepFailed, WorkflowManager

from convexpy import (
    ActionCtx,
    MutationCtx,
    QueryCtx,
    action,
    api,
    components,
    internal,
    internal_mutation,
    mutation,
    query,
)

workflow = WorkflowManager(components.workflow)


@query
def spin(ctx: QueryCtx) -> None:
    """Loop for ever."""
    while True:
        pass


@query
def spin_stubbornly(ctx: QueryCtx) -> None:
    """Loop for ever, and swallow whatever is raised inside."""
    while True:
        try:
            spin.handler(ctx)
        except Exception:
            continue


@mutation
def write_and_spin(ctx: MutationCtx, name: str) -> None:
    """Write, then loop for ever: the write must be gone."""
    ctx.db.insert("counters", {"name": name, "value": 1})
    while True:
        pass


@query
def backtrack(ctx: QueryCtx) -> bool:
    """A pattern that backtracks for years."""
    return re.match(r"(a+)+$", "a" * 60 + "b") is not None


@query
def hang_in_c(ctx: QueryCtx) -> bool:
    """Loop for ever inside one call of C that does not look for signals."""
    return 1 in itertools.repeat(0)


@query
def leave(ctx: QueryCtx) -> None:
    """End the process without a word."""
    os._exit(3)


@mutation
def write_and_leave(ctx: MutationCtx, name: str) -> None:
    """Write, then end the process: the write must be gone."""
    ctx.db.insert("counters", {"name": name, "value": 1})
    os._exit(3)


@query
def die_by_signal(ctx: QueryCtx) -> None:
    """What a fault in a C library looks like from outside."""
    signal.raise_signal(signal.SIGKILL)


@query
def kill_itself(ctx: QueryCtx) -> None:
    """The same through the operating system's own call."""
    os.kill(os.getpid(), signal.SIGKILL)


@query
def hoard(ctx: QueryCtx) -> int:
    """Take memory until there is none."""
    hoarded: list[Any] = []
    while True:
        hoarded.append(bytearray(16 * 1024 * 1024))


@query
def exit_politely(ctx: QueryCtx) -> None:
    """What `sys.exit()` does."""
    raise SystemExit(1)


@query
def recurse(ctx: QueryCtx) -> Any:
    """Call itself for ever."""
    return recurse.handler(ctx)


@action
async def leave_action(ctx: ActionCtx) -> None:
    """End the action worker."""
    os._exit(3)


@action
async def block_the_loop(ctx: ActionCtx) -> None:
    """Block the event loop that all actions of the worker share."""
    while True:
        pass


@action
async def answer(ctx: ActionCtx) -> str:
    """An action that behaves."""
    return "here"


@mutation
def schedule(ctx: MutationCtx, name: str) -> str:
    """Have `write_and_leave` run by the scheduler."""
    return ctx.scheduler.run_after(0, internal.runaway.write_and_leave_later, {"name": name})


@internal_mutation
def write_and_leave_later(ctx: MutationCtx, name: str) -> None:
    """See `write_and_leave`."""
    write_and_leave.handler(ctx, name)


@query
def scheduled(ctx: QueryCtx, job: str) -> Any:
    """The state of what `schedule` has scheduled."""
    row = ctx.db.system.get(job)
    return None if row is None else row["state"]


ODD_ERRORS: dict[str, BaseException] = {
    "StopIteration": StopIteration(),
    "GeneratorExit": GeneratorExit(),
    "BaseException": BaseException(),
    "BaseExceptionGroup": BaseExceptionGroup("both", [KeyboardInterrupt(), ValueError()]),
}


@action
async def raise_in_action(ctx: ActionCtx, name: str) -> None:
    """What no `except Exception` sees."""
    raise ODD_ERRORS[name]


@action
def raise_in_thread(ctx: ActionCtx, name: str) -> None:
    """The same in the thread of a `def` action."""
    raise ODD_ERRORS[name]


@workflow.define
async def stumble(step: Step, path: str, name: str) -> str:
    """Count, do what goes wrong, count again."""
    await step.run_mutation("counters:add", {"name": name})
    error = "nothing went wrong"
    try:
        kind = step.run_mutation if path.startswith("runaway:write") else step.run_query
        await kind(path, {"name": f"{name} wrongly"} if kind == step.run_mutation else {})
    except StepFailed as failure:
        error = failure.text
    await step.run_mutation("counters:add", {"name": name})
    return error


@mutation
def begin_to_stumble(ctx: MutationCtx, path: str, name: str) -> str:
    """Start one."""
    started: str = workflow.start(ctx, internal.runaway.stumble, {"path": path, "name": name})
    return started


@query
def how_it_stumbled(ctx: QueryCtx, run: str) -> str | None:
    """The error in the midst of it, None while it goes on."""
    result: str | None = workflow.status(ctx, run).get("result")
    return result


@action
async def count_and_wait(ctx: ActionCtx, name: str) -> None:
    """Count, then wait for ever."""
    await ctx.run_mutation(api.counters.add, {"name": name})
    await asyncio.Event().wait()
