"""The functions that run as steps, and the callback of the runs' ends."""

import asyncio
from typing import Any

from convexpy import ActionCtx, MutationCtx, internal, internal_action, internal_mutation


@internal_mutation
def leave(ctx: MutationCtx, run: str, label: str) -> str:
    """The effect of a step, exactly once."""
    ctx.db.insert("effects", {"run": run, "label": label})
    print(f"left {label}")
    return label


@internal_mutation
def leave_and_fail(ctx: MutationCtx, run: str, label: str) -> None:
    """An effect that nobody may ever see."""
    leave(ctx, run, label)
    raise ValueError(f"{label} fails")


@internal_mutation
def note_attempt(ctx: MutationCtx, run: str, label: str) -> float:
    """Count an action's attempt; gives how many there have been."""
    ctx.db.insert("attempts", {"run": run, "label": label})
    return len(ctx.db.query("attempts").with_index("by_label", run=run, label=label).collect())


@internal_action
async def work(ctx: ActionCtx, run: str, label: str, failures: float, seconds: float) -> str:
    """Takes its time and fails as often as it is told to."""
    attempt = await ctx.run_mutation(internal.effects.note_attempt, {"run": run, "label": label})
    await asyncio.sleep(seconds)
    if attempt <= failures:
        raise RuntimeError(f"attempt {attempt:g} of {label} fails")
    return label


@internal_mutation
def note_end(ctx: MutationCtx, workflowId: str, result: Any, context: str) -> None:  # noqa: N803
    """The `on_complete` of every run that a client has started."""
    ctx.db.insert("ends", {"run": context, "kind": result["kind"]})
