"""The app's mutation behind a workflow: all that begins, feeds and ends its runs comes through it.

It is internal, goes under the handler's own name, and takes these shapes:

    {args, parent, delayMs}                      a step of another run: make a child run, which begins later
    {args, startAsync?, onComplete?, context?}   a direct call: make a run, and run its first wave unless startAsync
    {context, outcome, job_id}                   the scheduler: a step's job has its outcome
    {completions: [{context, outcome, job_id}]}  the scheduler: several steps' jobs of a run have theirs
    {slept: {…}}                                 the scheduler: a step's sleep is over
    {context: {late}, outcome, job_id}           the scheduler: one of the two below it has been tried; if it failed, it
                                                 is done now
    {poll: {…}}                                  the scheduler: a timer of the handler is due, or the run shall begin
    {query: {function, args}}                    the scheduler: run the query of a step
    {arrive: {…}}                                the component: a step has its event, or its child run has ended
    {arrived: true}                              the scheduler: nothing; its completion is the wave that takes it
    {beginChild: {function, call}}               a wave: call another workflow's mutation for a child run
    {endChild: {…}}                              the component: the run's parent has given it up
    {canceled: {…}}                              the component: the run was ended; end what belongs to the app
    {restarted: {…}}                             the component: the run goes on from one of its steps
    {checked: value}                             a wave: validate the handler's result, which the platform does with
                                                 arguments, and nothing else
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from convexpy import (
    MutationCtx,
    QueryCtx,
    create_function_handle,
    function_name,
    internal_mutation,
    internal_query,
    v,
)
from convexpy_workflow.app_values import bounded, storable
from convexpy_workflow.arrivals import read_arrival, schedule_arrival
from convexpy_workflow.beginning import begin_child, begin_other
from convexpy_workflow.commands import Failure, Outcome, Success
from convexpy_workflow.definition import Definition, replayer_name
from convexpy_workflow.dry_run import check_run
from convexpy_workflow.errors import WorkflowError
from convexpy_workflow.jobs import call_back, cancel_jobs, kept_news, schedule_step
from convexpy_workflow.non_retryable import is_non_retryable
from convexpy_workflow.records import outcome_of_job, step_from_fields
from convexpy_workflow.restarts import take_restart
from convexpy_workflow.retries import Retry
from convexpy_workflow.wave import run_wave

_RUNTIME = f"{sys.implementation.name}-{sys.version_info.major}.{sys.version_info.minor}"
_OTHER_FIELDS = (
    *("onComplete", "context", "outcome", "job_id", "completions", "slept", "poll", "query"),
    *("arrive", "arrived", "beginChild", "endChild", "parent", "delayMs", "canceled", "restarted"),
)
_USAGE = "When calling it directly, use '{ args: { ...your workflow args } }'"


def make_mutation(definition: Definition) -> Any:
    """Make the app's function of a workflow; whoever defines it registers what this gives."""

    def workflow(ctx: MutationCtx, **fields: Any) -> Any:
        return _dispatch(ctx, definition, fields)

    # Not functools.wraps: the platform must see this signature, under the handler's name.
    handler: Any = definition.handler
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(workflow, attribute, getattr(handler, attribute))
    workflow.definition = definition  # type: ignore[attr-defined]  # see definition_of
    contract = definition.contract
    anything = v.optional(v.any())
    validators = {
        "args": anything if contract.args is None else v.optional(contract.args),
        "checked": anything if contract.returns is None else v.optional(contract.returns),
        "startAsync": v.optional(v.boolean()),
        "usage": v.optional(v.literal(_USAGE)),  # never given; a validator's error shows it to who forgets `args`
    }
    return internal_mutation(args=validators | dict.fromkeys(_OTHER_FIELDS, anything))(workflow)


def make_replayer(definition: Definition) -> Any:
    """Make the query that a push asks whether a run's journal fits the code."""

    def replayer(ctx: QueryCtx, workflowId: str) -> Any:  # noqa: N803
        return check_run(ctx, definition, workflowId)

    replayer.__name__ = replayer_name(definition.handler.__name__)
    replayer.__module__ = definition.handler.__module__
    return internal_query(replayer)


def _dispatch(ctx: MutationCtx, definition: Definition, fields: dict[str, Any], jobs: Sequence[str] = ()) -> Any:
    if "completions" in fields:
        return _take_outcomes(ctx, definition, fields["completions"])
    if "outcome" in fields:
        if "late" in fields["context"]:
            return _take_late(ctx, definition, fields) if _has_failed(fields) else None
        return _take_outcomes(ctx, definition, [fields])
    match fields:
        case {"slept": context}:
            news = [(int(context["position"]), Success())]
            return run_wave(ctx, definition, context["workflowId"], context["epoch"], news, jobs=jobs)
        case {"poll": poll}:
            return run_wave(ctx, definition, poll["workflowId"], poll["epoch"], is_wake=poll["isWake"], jobs=jobs)
        case {"query": query}:
            return ctx.run_query(query["function"], query["args"])
        case {"arrive": arrival}:
            return schedule_arrival(ctx, definition, arrival)
        case {"beginChild": ask}:
            return begin_other(ctx, ask["function"], ask["call"])
        case {"endChild": ask}:
            return ctx.run_mutation(definition.component.lifecycle.end_child, ask)
        case {"canceled": canceled}:
            return _end_canceled(ctx, definition, canceled)
        case {"restarted": restarted}:
            return take_restart(ctx, definition, restarted)
        case {"checked": _} | {"arrived": _}:
            return None
        case {"args": dict(args)}:
            return _begin(ctx, definition, args, fields)
    raise WorkflowError(f"Invalid arguments for workflow: {_USAGE}")


def _has_failed(fields: dict[str, Any]) -> bool:
    return bool(fields["outcome"]["kind"] == "failed")


def _take_late(ctx: MutationCtx, definition: Definition, fields: dict[str, Any]) -> Any:
    return _dispatch(ctx, definition, fields["context"]["late"], [fields["job_id"]])


def _begin(ctx: MutationCtx, definition: Definition, args: dict[str, Any], fields: dict[str, Any]) -> Any:
    handle = create_function_handle(definition.mutation)
    args = storable(args, "Workflow arguments")
    run: dict[str, Any] = {
        "name": function_name(definition.mutation),
        "handler": handle,
        "args": args,
        "runtime": _RUNTIME,
    }
    if definition.version != 1:
        run["version"] = definition.version
    if "onComplete" in fields:
        run["onComplete"] = fields["onComplete"]
        run["context"] = storable(fields.get("context"), "The context of on_complete")
    if "parent" in fields:
        return begin_child(ctx, definition, run | {"parent": fields["parent"]}, fields["delayMs"])
    workflow_id = str(ctx.run_mutation(definition.component.journal.create, run))
    if fields.get("startAsync"):
        poll = {"workflowId": workflow_id, "epoch": 0, "isWake": False}
        news = {"poll": poll}
        ctx.scheduler.run_after(0, definition.mutation, news, **kept_news(definition, workflow_id, news))
    else:
        run_wave(ctx, definition, workflow_id, epoch=0, is_start=True)
    return workflow_id


def _take_outcomes(ctx: MutationCtx, definition: Definition, completions: list[dict[str, Any]]) -> None:
    """Give runs the outcomes of their steps' jobs: those of one run in one wave."""
    waves: dict[tuple[str, int], tuple[list[tuple[int, Outcome]], dict[int, tuple[int, list[str]]]]] = {}
    jobs = [completion["job_id"] for completion in completions]
    overcome = definition.component.trouble.overcome
    for completion in completions:
        context, fields = completion["context"], completion["outcome"]
        if (arrival := context.get("arrival")) is not None:
            arrived = read_arrival(ctx, definition, arrival)
            if arrived is not None:
                news, _ = waves.setdefault((arrival["workflowId"], arrival["epoch"]), ([], {}))
                news.append((int(arrival["position"]), arrived))
            else:
                ctx.run_mutation(overcome, {"workflowId": arrival["workflowId"], "jobs": jobs})
            continue
        outcome: Outcome = bounded(outcome_of_job(fields), "Step return value")
        lines = fields.get("log_lines", [])
        if isinstance(outcome, Failure) and _try_again(ctx, definition, context, outcome, lines):
            ctx.run_mutation(overcome, {"workflowId": context["workflowId"], "jobs": jobs})
            continue
        news, printed = waves.setdefault((context["workflowId"], context["epoch"]), ([], {}))
        position = int(context["position"])
        news.append((position, outcome))
        printed[position] = (int(context["failures"]) + 1, lines)
    for (workflow_id, epoch), (news, printed) in waves.items():
        run_wave(ctx, definition, workflow_id, epoch, news, printed, jobs=jobs)


def _try_again(
    ctx: MutationCtx, definition: Definition, context: dict[str, Any], failure: Failure, lines: list[str]
) -> bool:
    """Schedule a failed step's next attempt if its policy has one left. The handler is not run for it."""
    workflow_id, position = context["workflowId"], int(context["position"])
    journal = definition.component.journal
    loaded = ctx.run_query(journal.load_step, {"workflowId": workflow_id, "position": position})
    if loaded is None or loaded["run"]["epoch"] != context["epoch"] or loaded["step"]["state"] != "pending":
        return False
    step = step_from_fields(loaded["step"])
    failures = int(context["failures"]) + 1
    if step.retry is None or failures >= step.retry["maxAttempts"] or is_non_retryable(failure.data):
        return False
    delay_ms = Retry.from_fields(step.retry).delay_ms(failures, ctx.random.random())
    job = schedule_step(ctx, definition, workflow_id, int(context["epoch"]), step, delay_ms, failures)
    lines = [*lines, f"[ERROR] {failure.error}\n{failure.traceback}".rstrip()]
    attempt = {"workflowId": workflow_id, "position": position, "attempts": failures, "job": job, "lines": lines}
    ctx.run_mutation(journal.note_attempt, attempt)
    return True


def _end_canceled(ctx: MutationCtx, definition: Definition, canceled: dict[str, Any]) -> None:
    cancel_jobs(ctx, canceled["jobs"])
    if canceled["onComplete"] is not None:
        call_back(ctx, definition, canceled["workflowId"], canceled["onComplete"], canceled["result"])
