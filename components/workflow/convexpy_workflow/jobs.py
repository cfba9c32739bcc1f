"""What a run has in the app: the jobs of its steps, its wake-up, and whoever hears of its end."""

from __future__ import annotations

import logging
from typing import Any

from convexpy import MutationCtx, function_kind
from convexpy_workflow.backtraces import is_users, text_of
from convexpy_workflow.commands import StartStep
from convexpy_workflow.definition import Definition

# The scheduler takes five years; a timer beyond this is reached by several wake-ups.
WAKE_AHEAD_MS_MAX = 365 * 86_400_000

_log = logging.getLogger("convexpy_workflow")


def schedule_wake(
    ctx: MutationCtx, definition: Definition, run: dict[str, Any], now_ms: int, wanted_ms: int
) -> dict[str, Any]:
    """Schedule a wave at an instant, or earlier if that is too far; gives the fields of the run's row that name it."""
    wake_at_ms = min(wanted_ms, now_ms + WAKE_AHEAD_MS_MAX)
    poll = {"workflowId": run["_id"], "epoch": run["epoch"], "isWake": True}
    # Half a millisecond more: rounded to seconds and back, the wake-up must not come before the deadline.
    news = {"poll": poll}
    options = kept_news(definition, run["_id"], news)
    job = ctx.scheduler.run_at((wake_at_ms + 0.5) / 1000, definition.mutation, news, **options)
    return {"wake_at_ms": wake_at_ms, "wake_job": job}


def kept_news(definition: Definition, workflow_id: str, news: dict[str, Any]) -> dict[str, Any]:
    """Give the options of a job of the handler's mutation that brings news of no function: a sleep is over, for one.

    If the job fails, for example because the code of that moment has no such workflow, `on_complete` brings the same
    news, and the scheduler tries that until it succeeds.
    """
    context = {"late": news}
    return {**owed_to(definition), "context": context, "lane": workflow_id}


def owed_to(definition: Definition) -> dict[str, Any]:
    """Give the options of a job that say who gets its outcome, and who hears when that fails; see `trouble`."""
    return {"on_complete": definition.mutation, "on_complete_failed": definition.component.trouble.note}


def schedule_step(
    ctx: MutationCtx,
    definition: Definition,
    workflow_id: str,
    epoch: int,
    step: StartStep,
    delay_ms: int,
    failures: int,
) -> str:
    """Write the app's scheduled function for one attempt of a step; returns its id.

    A mutation or action is its own job. A sleep is a job of the handler's mutation that brings the news itself. A
    query cannot be scheduled, so the handler's mutation runs it, as a job whose failure is the query's.

    Raises:
        TypeError: the function is of another kind than the step, so it would be run with another promise.
    """
    context = {"workflowId": workflow_id, "position": step.position, "epoch": epoch, "failures": failures}
    own = definition.mutation
    if step.kind == "sleep":
        assert step.duration_ms is not None
        news = {"slept": context}
        return ctx.scheduler.run_after(step.duration_ms / 1000, own, news, **kept_news(definition, workflow_id, news))
    function, args = step.function, step.args
    if step.kind == "query":
        function, args = own, {"query": {"function": step.function, "args": step.args}}
    elif (kind := function_kind(step.function)) != step.kind:
        raise TypeError(
            f"step.run_{step.kind} runs functions of that kind, and {step.function} is one of another: use "
            f"step.run_{kind}(…)."
        )
    queue = definition.steps.settled(ctx)
    return ctx.scheduler.run_after(
        delay_ms / 1000,
        function,
        args,
        **owed_to(definition),
        context=context,
        lane=workflow_id,
        queue=queue,
        completes_together=step.kind != "action",
    )


def cancel_jobs(ctx: MutationCtx, jobs: list[str]) -> None:
    """Cancel jobs of a run that goes on without them, as far as they can be."""
    for job in jobs:
        try:
            ctx.scheduler.cancel(job)
        except Exception:  # noqa: S112  a step that cancels its own run cannot cancel itself; its outcome is stale
            continue


def call_back(
    ctx: MutationCtx,
    definition: Definition,
    workflow_id: str,
    callback: dict[str, Any],
    result: dict[str, Any],
) -> None:
    """Call the run's `on_complete`, once; if it raises, its writes go, the error is kept and the result stands."""
    try:
        ctx.run_mutation(
            callback["function"], {"workflowId": workflow_id, "result": result, "context": callback["context"]}
        )
    except BaseException as error:
        if not is_users(error):
            raise
        text = text_of(error)
        _log.error("on_complete of workflow %s failed: %s", workflow_id, text)
        ctx.run_mutation(
            definition.component.journal.note_on_complete_error, {"workflowId": workflow_id, "error": text}
        )
