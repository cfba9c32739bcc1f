"""How a step begins: in the wave's own transaction, or as a job of the scheduler, a wait for an event, a child run."""

from __future__ import annotations

from typing import Any

from convexpy import MutationCtx
from convexpy_workflow.app_values import bounded
from convexpy_workflow.backtraces import describe_function_failure, is_users
from convexpy_workflow.commands import Outcome, StartStep, Success
from convexpy_workflow.definition import Definition
from convexpy_workflow.jobs import kept_news, schedule_step
from convexpy_workflow.output import HandlerOutput
from convexpy_workflow.records import outcome_from_fields, outcome_of_job


def begin_step(
    ctx: MutationCtx, definition: Definition, run: dict[str, Any], step: StartStep
) -> tuple[dict[str, Any], Outcome | None]:
    """Let a step begin.

    Returns:
        the fields of its row that say what it has become, and its outcome if it has one already.

    Raises:
        Exception: it cannot begin, so it has failed; nothing of it is written.
    """
    if step.kind == "event":
        waiting = {"workflowId": run["_id"], "position": step.position, **step.args}
        begun = ctx.run_mutation(definition.component.events.begin_wait, waiting)
        outcome = None if begun["outcome"] is None else outcome_from_fields(begun["outcome"])
        return {"event": begun["eventId"]}, outcome
    if step.kind == "workflow":
        return _start_child(ctx, definition, run, step), None
    return {"job": schedule_step(ctx, definition, run["_id"], int(run["epoch"]), step, step.delay_ms, failures=0)}, None


def may_run_here(definition: Definition, step: StartStep) -> bool:
    """Whether a step may run in the transaction of its wave. One that may be tried again is its own job from the start,
    and so is one of a queue, whose limit counts it.
    """
    is_plain = step.retry is None and not step.delay_ms and definition.steps.name is None
    return is_plain and step.kind in ("query", "mutation")


def run_here(ctx: MutationCtx, definition: Definition, step: StartStep) -> tuple[Outcome, list[str]] | None:
    """Run a step as its job would, if the transaction has room for it; gives its outcome and what it printed.

    It must not use this component: until the wave is written the run is not as the journal says.
    """
    kind: Any = step.kind
    try:
        ran = ctx.scheduler.run_here(step.function, step.args, kind=kind, apart_from=definition.component.journal.load)
    except Exception:
        return None  # there is no such function: as a job it fails with the word that people know
    if ran is None:
        return None
    return bounded(outcome_of_job(ran), "Step return value"), ran.get("log_lines", [])


def run_inline(ctx: MutationCtx, step: StartStep) -> tuple[Outcome, list[str]]:
    """Run a step whose author wants it in the wave's transaction, with the bounds of that; see `run_here`."""
    run = ctx.run_query if step.kind == "query" else ctx.run_mutation
    output = HandlerOutput()
    outcome: Outcome
    try:
        with output.catching():
            outcome = Success(run(step.function, step.args, transaction_limits=step.transaction_limits))
    except BaseException as error:
        if not is_users(error):
            raise
        outcome = describe_function_failure(error)
    output.write()
    return bounded(outcome, "Step return value"), output.take_lines()


def begin_child(ctx: MutationCtx, definition: Definition, run: dict[str, Any], delay_ms: float) -> dict[str, str]:
    """Make a run that is a step of another one; its handler begins after this commit.

    Args:
        run: the arguments of `journal.create`.
        delay_ms: how long after.

    Returns:
        its id and the handle of its handler, for the step's row.
    """
    workflow_id = str(ctx.run_mutation(definition.component.journal.create, run))
    news = {"poll": {"workflowId": workflow_id, "epoch": 0, "isWake": delay_ms > 0}}
    options = kept_news(definition, workflow_id, news)
    job = ctx.scheduler.run_after(delay_ms / 1000, definition.mutation, news, **options)
    if delay_ms > 0:
        first = {"workflowId": workflow_id, "wakeAtMs": ctx.now_ms() + delay_ms, "job": job}
        ctx.run_mutation(definition.component.children.note_first_wave, first)
    return {"workflowId": workflow_id, "handler": run["handler"]}


def _start_child(ctx: MutationCtx, definition: Definition, run: dict[str, Any], step: StartStep) -> dict[str, Any]:
    parent = {"workflowId": run["_id"], "position": step.position, "epoch": run["epoch"], "handler": run["handler"]}
    call = {"args": step.args, "parent": parent, "delayMs": step.delay_ms}
    # A call of its own, so that nothing stays of what is no workflow but a mutation that takes these arguments.
    begun = ctx.run_mutation(definition.mutation, {"beginChild": {"function": step.function, "call": call}})
    return {"child": begun["workflowId"], "child_handler": begun["handler"]}


def begin_other(ctx: MutationCtx, function: str, call: dict[str, Any]) -> dict[str, Any]:
    """Have another workflow make a run that is a step of one of ours.

    Raises:
        TypeError: the function is none; what it has done is taken back.
    """
    begun = ctx.run_mutation(function, call)
    if not isinstance(begun, dict) or begun.keys() != {"workflowId", "handler"}:
        raise TypeError(f"{function} is no workflow; step.run_workflow takes what workflow.define has made.")
    return begun
