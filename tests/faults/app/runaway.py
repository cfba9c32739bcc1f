"""Functions that do not come back, or take their process along."""

import os
import re
import signal
from typing import Any

from convexpy import ActionCtx, MutationCtx, QueryCtx, action, mutation, query


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
        except Exception:  # noqa: BLE001, S112
            continue


@mutation
def write_and_spin(ctx: MutationCtx, name: str) -> None:
    """Write, then loop for ever: the write must be gone."""
    ctx.db.insert("counters", {"name": name, "value": 1})
    while True:
        pass


@query
def hang_in_c(ctx: QueryCtx) -> bool:
    """A pattern that backtracks for years inside one call of C, where no signal handler runs."""
    return re.match(r"(a+)+$", "a" * 60 + "b") is not None


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
