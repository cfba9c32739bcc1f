"""`WorkflowManager`: defines workflows in an app, and starts, watches and ends their runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args, overload

from convexpy import (
    UNSET,
    MutationCtx,
    create_function_handle,
    function_name,
    internal_action,
)
from convexpy_workflow.arguments import (
    checked_choice,
    checked_component,
    checked_flag,
    checked_object,
    checked_page,
    checked_text,
    checked_whole,
    shown,
)
from convexpy_workflow.arrivals import sent_outcome
from convexpy_workflow.definition import Definition, Handler, OnMismatch, definition_of, replayer_name
from convexpy_workflow.errors import WorkflowError
from convexpy_workflow.events import Event, address_event
from convexpy_workflow.parallelism import StepQueue, checked_parallelism
from convexpy_workflow.retries import Retry, checked_policy
from convexpy_workflow.run_arguments import checked_run, checked_step
from convexpy_workflow.workflow_mutation import make_mutation, make_replayer

Order: TypeAlias = Literal["asc", "desc"]
VERSION_MAX = 2**53  # a number of the run's row
PAGE_ITEMS_MAX = 1_000


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
        TypeError, ValueError: an argument that is none of these; the text says which, and what it takes.
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
        self._component = checked_component(component, "WorkflowManager")
        self._default_retry = checked_policy(default_retry, "default_retry") or Retry()
        self._retry_actions_by_default = checked_flag(retry_actions_by_default, "retry_actions_by_default")
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

        Raises:
            TypeError, ValueError: the handler is no `async def`, or an argument is none of these.
        """
        checked_choice(on_mismatch, "on_mismatch", get_args(OnMismatch))
        checked_choice(on_unawaited, "on_unawaited", ("cancel", "wait"))
        checked_whole(version, "version", 1, VERSION_MAX)
        checked_policy(default_retry, "default_retry")
        if retry_actions_by_default is not None:
            checked_flag(retry_actions_by_default, "retry_actions_by_default")
        if max_parallelism is not None:
            checked_parallelism(max_parallelism)

        def decorate(handler: Handler) -> Any:
            if not inspect.iscoroutinefunction(handler):
                raise TypeError(f"A workflow is an `async def` function (step, …arguments), not {shown(handler)}.")
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
            definition.mutation = make_mutation(definition)
            # Its home is the module of the handler, whose globals are the app's functions.
            handler_globals: dict[str, Any] = getattr(handler, "__globals__", {})
            handler_globals[replayer_name(handler.__name__)] = make_replayer(definition)
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
            raise WorkflowError(f"{shown(workflow)} is no workflow. Pass what @workflow.define gave.")
        checked_whole(version, "version", 1, VERSION_MAX)
        if not version < definition.version:
            raise WorkflowError(
                f"Version {version} is not older than that of {definition.handler.__name__}, {definition.version}."
            )

        def decorate(handler: Handler) -> Handler:
            if not inspect.iscoroutinefunction(handler):
                raise TypeError(f"A workflow is an `async def` function (step, …arguments), not {shown(handler)}.")
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

        Raises:
            TypeError: `args` are no dict, or `start_async` is not True or False.
        """
        shape: dict[str, Any] = {"args": dict(checked_object({} if args is None else args, "args"))}
        if checked_flag(start_async, "start_async"):
            shape["startAsync"] = True
        if on_complete is not None:
            shape |= {"onComplete": create_function_handle(on_complete), "context": context}
        return ctx.run_mutation(workflow, shape)

    def status(self, ctx: Any, workflow_id: str) -> Any:
        """Tell how a run is doing; in a query, live.

        Returns:
            one of `{"type": "inProgress", "running": steps, "waiting": …}`, `{"type": "completed", "result": value}`,
            `{"type": "failed", "error": text}`, `{"type": "canceled"}`, `{"type": "stuck", "reason": …, "diff": …}`.
            One that has ended has `"onCompleteError": text` too if its `on_complete` raised; that is not called again.

            One that is in progress has `"wakesAt": ms` too where a timer of its handler, such as `asyncio.sleep`, wakes
            it if nothing comes before.

            `waiting` are those of the running steps that wait for an event or for a child run, with its state. A run
            that is in progress or stuck has `"trouble": {"error": text, "attempts": n, "nextAt": ms}` too while news
            of it cannot be taken: its turn fails, for it takes too long for one, and is tried again and after pushes.

        Raises:
            WorkflowNotFound, InvalidWorkflowId
        """
        return ctx.run_query(self._component.runs.status, {"workflowId": checked_run(workflow_id)})

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
            raise ValueError(f"{shown(workflow)} is not what a manager's define(…) has made.")
        steps = self._steps if definition is None else definition.steps
        if steps.name is None:
            raise ValueError("These steps run in no queue: give their manager, or the workflow, max_parallelism=.")
        ctx.scheduler.set_queue_limit(steps.name, checked_parallelism(max_parallelism))

    def cancel(self, ctx: Any, workflow_id: str) -> Any:
        """End a run at once as canceled. Running actions are not interrupted, but their results are dropped.

        Raises:
            WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
        """
        return ctx.run_mutation(self._component.lifecycle.cancel, {"workflowId": checked_run(workflow_id)})

    def fail(self, ctx: Any, workflow_id: str, error: str) -> Any:
        """End a run at once as failed, a stuck one for example; otherwise as `cancel`.

        Args:
            error: the failure's text.

        Raises:
            WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
            TypeError, ValueError: no text, or an empty one.
        """
        args = {"workflowId": checked_run(workflow_id), "error": checked_text(error, "error", chars_max=None)}
        return ctx.run_mutation(self._component.lifecycle.fail, args)

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
            TypeError, ValueError: `from_` is nothing of the kind, or `start_async` is not True or False.
        """
        is_async = checked_flag(start_async, "start_async")
        args: dict[str, Any] = {"workflowId": checked_run(workflow_id), "startAsync": is_async}
        if from_ is not None:
            args["fromStep"] = checked_step(from_)
        return ctx.run_mutation(self._component.restarts.restart, args)

    def resume(self, ctx: Any, workflow_id: str) -> Any:
        """Try a stuck run again with the code of now.

        Raises:
            WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
        """
        return ctx.run_mutation(self._component.lifecycle.resume, {"workflowId": checked_run(workflow_id)})

    def cleanup(self, ctx: Any, workflow_id: str, *, force: bool = False) -> Any:
        """Delete a finished run and its journal.

        Args:
            force: cancel it first if it still runs.

        Returns:
            False if there is no such run, or if it still runs and `force` is not given.
        """
        args = {"workflowId": checked_run(workflow_id), "force": checked_flag(force, "force")}
        return ctx.run_mutation(self._component.lifecycle.cleanup, args)

    def create_event(self, ctx: Any, event: Event | str, workflow_id: str) -> Any:
        """Create an event of a run before anybody sends or awaits it, so that both can name it by its id.

        Returns:
            the event's id, a string (`v_event_id`).

        Raises:
            WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
        """
        address = address_event(event, None)
        args = {"name": address.name, "workflowId": checked_run(workflow_id)}
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
            args["workflowId"] = checked_run(workflow_id)
        return ctx.run_mutation(self._component.events.send, args)

    def list(self, ctx: Any, *, order: Order = "asc", pagination_opts: dict[str, Any] | None = None) -> Any:
        """List runs by creation: a page with the wire's names, 100 runs unless `pagination_opts` says otherwise."""
        return ctx.run_query(self._component.runs.list_runs, _list_args(order, pagination_opts))

    def list_by_name(
        self, ctx: Any, workflow: Any, *, order: Order = "asc", pagination_opts: dict[str, Any] | None = None
    ) -> Any:
        """List the runs of one workflow, given by its function or by the path "module:name"."""
        args = {"name": function_name(workflow), **_list_args(order, pagination_opts)}
        return ctx.run_query(self._component.runs.list_runs, args)

    def list_steps(
        self, ctx: Any, workflow_id: str, *, order: Order = "asc", pagination_opts: dict[str, Any] | None = None
    ) -> Any:
        """List the steps of a run: a page with the wire's names, 100 steps unless `pagination_opts` says otherwise.

        Raises:
            WorkflowNotFound, InvalidWorkflowId
        """
        args = {"workflowId": checked_run(workflow_id), **_list_args(order, pagination_opts)}
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
        args = {"workflowId": checked_run(workflow_id), "paginationOpts": checked_page(pagination_opts, PAGE_ITEMS_MAX)}
        return ctx.run_query(self._component.logs.list_logs, args)


def _list_args(order: Order, pagination_opts: dict[str, Any] | None) -> dict[str, Any]:
    checked_choice(order, "order", get_args(Order))
    return {"order": order, "paginationOpts": checked_page(pagination_opts, PAGE_ITEMS_MAX)}
