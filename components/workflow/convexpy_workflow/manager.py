"""`WorkflowManager`: defines workflows in an app, and starts, watches and ends their runs.

A definition registers one internal mutation of the app, under the handler's own name, which takes these shapes:

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
    {endChild: {…}}                              the component: the run's parent has given it up
    {canceled: {…}}                              the component: the run was ended; end what belongs to the app
    {restarted: {…}}                             the component: the run goes on from one of its steps
    {checked: value}                             a wave: validate the handler's result, which the platform does with
                                                 arguments, and nothing else
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, overload

from convexpy import (
    UNSET,
    MutationCtx,
    QueryCtx,
    create_function_handle,
    function_name,
    internal_action,
    internal_mutation,
    internal_query,
    v,
)
from convexpy_workflow.app_values import bounded, step_name, storable
from convexpy_workflow.arrivals import read_arrival, schedule_arrival, sent_outcome
from convexpy_workflow.beginning import begin_child
from convexpy_workflow.commands import Failure, Outcome, Success
from convexpy_workflow.definition import Definition, Handler, OnMismatch, definition_of, replayer_name
from convexpy_workflow.dry_run import check_run
from convexpy_workflow.errors import WorkflowError
from convexpy_workflow.events import Event, address_event
from convexpy_workflow.jobs import call_back, cancel_jobs, kept_news, schedule_step
from convexpy_workflow.non_retryable import is_non_retryable
from convexpy_workflow.parallelism import StepQueue, checked_parallelism
from convexpy_workflow.records import outcome_of_job, step_from_fields
from convexpy_workflow.restarts import take_restart
from convexpy_workflow.retries import Retry
from convexpy_workflow.wave import RUNTIME, run_wave

Order: TypeAlias = Literal["asc", "desc"]


class WorkflowManager:
    """One installed workflow component, as an app uses it.

    The methods that take `ctx` follow its colour: in a query or mutation they return at once, in an `async def` action
    their result is awaited.

    Args:
        component: reference to it, `components.workflow`.
        default_retry: what `retry=True` means for actions.
        retry_actions_by_default: whether actions that say nothing are retried.
        queue: named queue of the app's scheduler in which steps run; its limit bounds how many run at once.
        max_parallelism: how many steps run at once (waves, sleeps and waits take no place); 0 pauses. It is brought in
            force by the next step, if it is not what the code said before. None: no bound of this manager's.

    Raises:
        ValueError: `max_parallelism` is out of range.
    """

    def __init__(
        self,
        component: Any,
        *,
        default_retry: Retry | None = None,
        retry_actions_by_default: bool = False,
        queue: str | None = None,
        max_parallelism: int | None = None,
    ) -> None:
        self._component = component
        self._default_retry = default_retry or Retry()
        self._retry_actions_by_default = retry_actions_by_default
        self._steps = StepQueue.chosen(queue, max_parallelism, repr(component))

    @overload
    def define(self, handler: Handler, /) -> Any: ...

    @overload
    def define(
        self,
        *,
        args: dict[str, Any] | None = None,
        returns: Any = None,
        on_mismatch: OnMismatch = "stuck",
        on_unawaited: Literal["cancel", "wait"] = "cancel",
        version: int = 1,
        default_retry: Retry | None = None,
        retry_actions_by_default: bool | None = None,
        max_parallelism: int | None = None,
    ) -> Callable[[Handler], Any]: ...

    def define(
        self,
        handler: Handler | None = None,
        *,
        args: dict[str, Any] | None = None,
        returns: Any = None,
        on_mismatch: OnMismatch = "stuck",
        on_unawaited: Literal["cancel", "wait"] = "cancel",
        version: int = 1,
        default_retry: Retry | None = None,
        retry_actions_by_default: bool | None = None,
        max_parallelism: int | None = None,
    ) -> Any:
        """Make a workflow of an `async def` handler `(step, …arguments)`.

        Args:
            args: validators of the arguments; without it they come from the annotations.
            returns: validator of the result.
            on_mismatch: what becomes of a run whose journal does not fit the code: it parks as stuck, or fails; or
                stuck, but a push of code that running runs do not fit is refused.
            on_unawaited: what becomes of steps that still run when the handler returns: withdrawn, or waited for.
            version: stamped on runs that are started, and `step.version` in them. Raise it with a change that older
                runs cannot take, and branch on `step.version`, or keep the handler as it was with `old_version`.

            default_retry, retry_actions_by_default: for this workflow instead of the manager's.
            max_parallelism: how many steps of all runs of this workflow run at once, in a queue of their own.

        Returns:
            the app's function, to be passed to `start`.
        """

        def decorate(handler: Handler) -> Any:
            # The platform's own decorator checks the signature and binds arguments; the object is never registered.
            contract = internal_action(args=args, returns=returns)(handler)
            definition = Definition(
                handler=handler,
                contract=contract,
                component=self._component,
                default_retry=default_retry or self._default_retry,
                is_retry_default=(
                    self._retry_actions_by_default if retry_actions_by_default is None else retry_actions_by_default
                ),
                steps=(self._steps if max_parallelism is None else StepQueue.of_handler(handler, max_parallelism)),
                on_mismatch=on_mismatch,
                on_unawaited=on_unawaited,
                version=version,
            )
            definition.mutation = _make_mutation(definition)
            # Its home is the module of the handler, whose globals are the app's functions.
            handler_globals: dict[str, Any] = getattr(handler, "__globals__", {})
            handler_globals[replayer_name(handler.__name__)] = _make_replayer(definition)
            return definition.mutation

        return decorate if handler is None else decorate(handler)

    def old_version(self, workflow: Any, version: int) -> Callable[[Handler], Handler]:
        """Keep a handler for the runs that were started with an older `version=` of a workflow.

        Args:
            workflow: what `define` gave for the newest one; its options hold for all versions.

        Raises:
            WorkflowError: it is no workflow, or not an older version.
        """
        definition = definition_of(workflow)
        if definition is None:
            raise WorkflowError(f"{workflow!r} is no workflow. Pass what @workflow.define gave.")
        if not version < definition.version:
            raise WorkflowError(
                f"Version {version} is not older than that of {definition.handler.__name__}, {definition.version}."
            )

        def decorate(handler: Handler) -> Handler:
            definition.old_versions[version] = (handler, internal_action(handler))
            return handler

        return decorate

    def start(
        self,
        ctx: Any,
        workflow: Any,
        args: dict[str, Any] | None = None,
        *,
        on_complete: Any = None,
        context: Any = None,
        start_async: bool = False,
    ) -> Any:
        """Start a run. The handler runs to its first await within the caller's transaction.

        Args:
            workflow: what `define` made, or a reference to it.
            on_complete: a mutation of the app, called once with `{workflowId, result, context}` when the run ends, in
                the same transaction.
            start_async: only insert the run; its handler begins right after this commit. For starting many at once.

        Returns:
            the run's id, a string.
        """
        shape: dict[str, Any] = {"args": args or {}}
        if start_async:
            shape["startAsync"] = True
        if on_complete is not None:
            shape |= {"onComplete": create_function_handle(on_complete), "context": context}
        return ctx.run_mutation(workflow, shape)

    def status(self, ctx: Any, workflow_id: str) -> Any:
        """Tell how a run is doing; in a query, live.

        Returns:
            one of `{"type": "inProgress", "running": steps, "waiting": …}`, `{"type": "completed", "result": value}`,
            `{"type": "failed", "error": text}`, `{"type": "canceled"}`, `{"type": "stuck", "reason": …, "diff": …}`.

            `waiting` are those of the running steps that wait for an event or for a child run, with its state.

        Raises:
            WorkflowNotFound, InvalidWorkflowId
        """
        return ctx.run_query(self._component.runs.status, {"workflowId": workflow_id})

    def update_config(self, ctx: MutationCtx, *, max_parallelism: int, workflow: Any = None) -> None:
        """Change how many steps run at once, from this commit on: those that run go on, more begin at once.

        It stays until it is changed again, or the number in the code is.

        Args:
            ctx: of a mutation of the app.
            workflow: one that was defined with `max_parallelism=`; the manager's own steps if left out.

        Raises:
            ValueError: it is out of range (0 pauses), or these steps run in no queue.
        """
        definition = definition_of(workflow)
        if workflow is not None and definition is None:
            raise ValueError(f"{workflow!r} is not what a manager's define(…) has made.")
        steps = self._steps if definition is None else definition.steps
        if steps.name is None:
            raise ValueError("These steps run in no queue: give their manager, or the workflow, max_parallelism=.")
        ctx.scheduler.set_queue_limit(steps.name, checked_parallelism(max_parallelism))

    def cancel(self, ctx: Any, workflow_id: str) -> Any:
        """End a run at once as canceled. Running actions are not interrupted, but their results are dropped.

        Raises:
            WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
        """
        return ctx.run_mutation(self._component.lifecycle.cancel, {"workflowId": workflow_id})

    def fail(self, ctx: Any, workflow_id: str, error: str) -> Any:
        """End a run at once as failed, a stuck one for example; otherwise as `cancel`.

        Args:
            error: the failure's text.

        Raises:
            WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
        """
        return ctx.run_mutation(self._component.lifecycle.fail, {"workflowId": workflow_id, "error": error})

    def restart(
        self, ctx: Any, workflow_id: str, *, from_: int | str | Any | None = None, start_async: bool = False
    ) -> Any:
        """Let a finished or stuck run go on with the code of now; its `on_complete` hears of the new end too.

        Args:
            from_: the first step that is deleted, with all after it: its number, its name or its function (the last
                step of it counts). None keeps them all, and the handler takes the last news again: of use when the
                handler has been mended. Kept steps that were not finished are begun again.
            start_async: the handler runs after this commit. So it does where the journal is above 4 MiB.

        Raises:
            WorkflowNotFound, InvalidWorkflowId
            WorkflowStillRunning: cancel it first.
            StepNotFound: a negative number, or a name or function that no step has.
        """
        args: dict[str, Any] = {"workflowId": workflow_id, "startAsync": start_async}
        if from_ is not None:
            is_plain = isinstance(from_, (int, float, str)) and not isinstance(from_, bool)
            args["fromStep"] = from_ if is_plain else step_name(from_)
        return ctx.run_mutation(self._component.restarts.restart, args)

    def resume(self, ctx: Any, workflow_id: str) -> Any:
        """Try a stuck run again with the code of now.

        Raises:
            WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
        """
        return ctx.run_mutation(self._component.lifecycle.resume, {"workflowId": workflow_id})

    def cleanup(self, ctx: Any, workflow_id: str, *, force: bool = False) -> Any:
        """Delete a finished run and its journal.

        Args:
            force: cancel it first if it still runs.

        Returns:
            False if there is no such run, or if it still runs and `force` is not given.
        """
        return ctx.run_mutation(self._component.lifecycle.cleanup, {"workflowId": workflow_id, "force": force})

    def create_event(self, ctx: Any, event: Event | str, workflow_id: str) -> Any:
        """Create an event of a run before anybody sends or awaits it, so that both can name it by its id.

        Returns:
            the event's id, a string (`v_event_id`).

        Raises:
            WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
        """
        address = address_event(event, None)
        args = {"name": address.name, "workflowId": workflow_id}
        return ctx.run_mutation(self._component.events.create_event, args)

    def send_event(
        self,
        ctx: Any,
        event: Event | str | None = None,
        *,
        workflow_id: str | None = None,
        event_id: str | None = None,
        value: Any = UNSET,
        error: str | None = None,
    ) -> Any:
        """Send a value, or an error, to a run. What the handler does not await yet is kept, in the order of sending.

        Args:
            event: what `define_event` made (then the value is checked), or the name. The step that has waited longest
                for this name gets it.
            workflow_id: the run; may be left out where `event_id` is given.
            event_id: send this event, which `create_event` or `list_steps` named; an id can be sent once.
            value: None if it is left out.
            error: a text that the await raises as `StepFailed`, in the place of a value.

        Returns:
            the event's id, a string.

        Raises:
            EventError: no name and no id, no such event (EventNotFound), or the value does not fit its validator.
            EventAlreadySent, EventAlreadyConsumed: the id was sent before.
            WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
        """
        address = address_event(event, event_id)
        args = address.to_args() | {"outcome": sent_outcome(address, value, error)}
        if workflow_id is not None:
            args["workflowId"] = workflow_id
        return ctx.run_mutation(self._component.events.send, args)

    def list(self, ctx: Any, *, order: Order = "asc", pagination_opts: dict[str, Any] | None = None) -> Any:
        """List runs by creation: a page with the wire's names, 100 runs unless `pagination_opts` says otherwise."""
        return ctx.run_query(self._component.runs.list_runs, {"order": order, "paginationOpts": pagination_opts})

    def list_by_name(
        self, ctx: Any, workflow: Any, *, order: Order = "asc", pagination_opts: dict[str, Any] | None = None
    ) -> Any:
        """List the runs of one workflow, given by its function or by the path "module:name"."""
        args = {"name": function_name(workflow), "order": order, "paginationOpts": pagination_opts}
        return ctx.run_query(self._component.runs.list_runs, args)

    def list_steps(
        self, ctx: Any, workflow_id: str, *, order: Order = "asc", pagination_opts: dict[str, Any] | None = None
    ) -> Any:
        """List the steps of a run: a page with the wire's names, 100 steps unless `pagination_opts` says otherwise.

        Raises:
            WorkflowNotFound, InvalidWorkflowId
        """
        args = {"workflowId": workflow_id, "order": order, "paginationOpts": pagination_opts}
        return ctx.run_query(self._component.runs.list_steps, args)

    def list_logs(self, ctx: Any, workflow_id: str, *, pagination_opts: dict[str, Any] | None = None) -> Any:
        """List what a run printed and logged, each line once: functions of its steps, and its handler between them.

        Returns:
            a page with the wire's names, 100 lines unless `pagination_opts` says otherwise, of `{"level", "text",
            "source": "handler" | "step", "at"}`, those of steps with `stepNumber`, `name` and `attempt` too; `at` is in
            milliseconds.

        Raises:
            WorkflowNotFound, InvalidWorkflowId
        """
        args = {"workflowId": workflow_id, "paginationOpts": pagination_opts}
        return ctx.run_query(self._component.logs.list_logs, args)


_OTHER_FIELDS = (
    *("onComplete", "context", "outcome", "job_id", "completions", "slept", "poll", "query"),
    *("arrive", "arrived", "endChild", "parent", "delayMs", "canceled", "restarted"),
)
_USAGE = "When calling it directly, use '{ args: { ...your workflow args } }'"


def _make_mutation(definition: Definition) -> Any:
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


def _make_replayer(definition: Definition) -> Any:
    def replayer(ctx: QueryCtx, workflowId: str) -> Any:  # noqa: N803
        return check_run(ctx, definition, workflowId)

    replayer.__name__ = replayer_name(definition.handler.__name__)
    replayer.__module__ = definition.handler.__module__
    return internal_query(replayer)


def _dispatch(ctx: MutationCtx, definition: Definition, fields: dict[str, Any]) -> Any:
    if "completions" in fields:
        return _take_outcomes(ctx, definition, fields["completions"])
    if "outcome" in fields:
        if "late" in fields["context"]:
            return _dispatch(ctx, definition, fields["context"]["late"]) if _has_failed(fields) else None
        return _take_outcomes(ctx, definition, [fields])
    match fields:
        case {"slept": context}:
            news = [(int(context["position"]), Success())]
            return run_wave(ctx, definition, context["workflowId"], context["epoch"], news)
        case {"poll": poll}:
            return run_wave(ctx, definition, poll["workflowId"], poll["epoch"], is_wake=poll["isWake"])
        case {"query": query}:
            return ctx.run_query(query["function"], query["args"])
        case {"arrive": arrival}:
            return schedule_arrival(ctx, definition, arrival)
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


def _begin(ctx: MutationCtx, definition: Definition, args: dict[str, Any], fields: dict[str, Any]) -> Any:
    handle = create_function_handle(definition.mutation)
    args = storable(args, "Workflow arguments")
    run: dict[str, Any] = {
        "name": function_name(definition.mutation),
        "handler": handle,
        "args": args,
        "runtime": RUNTIME,
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
    for completion in completions:
        context, fields = completion["context"], completion["outcome"]
        if (arrival := context.get("arrival")) is not None:
            arrived = read_arrival(ctx, definition, arrival)
            if arrived is not None:
                news, _ = waves.setdefault((arrival["workflowId"], arrival["epoch"]), ([], {}))
                news.append((int(arrival["position"]), arrived))
            continue
        outcome: Outcome = bounded(outcome_of_job(fields), "Step return value")
        lines = fields.get("log_lines", [])
        if isinstance(outcome, Failure) and _try_again(ctx, definition, context, outcome, lines):
            continue
        news, printed = waves.setdefault((context["workflowId"], context["epoch"]), ([], {}))
        position = int(context["position"])
        news.append((position, outcome))
        printed[position] = (int(context["failures"]) + 1, lines)
    for (workflow_id, epoch), (news, printed) in waves.items():
        run_wave(ctx, definition, workflow_id, epoch, news, printed)


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
