"""`ctx.scheduler`: writes, cancels and describes rows of `_scheduled_functions`. The runtime's scheduler runs them.

A row (`scheduled_rows`) is written by the transaction that schedules, so it commits with it or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from convexpy.errors import InvalidId, InvalidRequest, LimitExceeded
from convexpy.functions.schedule_times import delay_ms, instant_ms
from convexpy.functions.scheduled_rows import Row, Target, completion_row, finished_row, new_row
from convexpy.limits import SCHEDULED_FUNCTION_ARGS_BYTES_WARN
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.system_tables import QUEUES, SCHEDULED_FUNCTIONS
from convexpy.transactions.transaction import Transaction
from convexpy.values import check_value, decode_id, index_key, normalize, size_of


@dataclass
class ScheduledUsage:
    """What a whole mutation has scheduled, nested calls included; like reads, not given back by a rollback."""

    functions: int = 0
    args_bytes: int = 0


class SchedulingHost(Protocol):
    """What a run offers to its scheduler."""

    transaction: Transaction
    scheduled: ScheduledUsage
    finished_jobs: set[str]
    namespace: int
    now_ms: int
    job_id: str | None

    def resolve_target(self, reference: Any, purpose: str) -> Target:
        """Find the mutation or action that a reference names, or refuse."""

    def run_here(self, reference: Any, args: Row | None, kind: str, apart_from: Any) -> Row | None:
        """Run a function in this transaction, if there is room; see `Scheduler.run_here`."""

    def warn(self, text: str) -> None:
        """Add a warning to the call's log lines."""

    def note_job(self, job_id: str, row: Row) -> None:
        """Tell the scheduler about a new row, once this run has committed."""

    def note_canceled(self, job_id: str) -> None:
        """Tell the scheduler that a row is not to be run, once this run has committed."""


class Scheduler:
    """Schedules functions from a mutation; everything is part of its transaction."""

    def __init__(self, host: SchedulingHost) -> None:
        self._host = host

    def run_after(
        self,
        delay: float | timedelta,
        function: Any,
        args: dict[str, Any] | None = None,
        *,
        on_complete: Any = None,
        context: Any = None,
        lane: str | None = None,
        queue: str | None = None,
        completes_together: bool = False,
        on_complete_failed: Any = None,
    ) -> str:
        """Run a mutation or action `delay` from now (seconds or timedelta); 0 is right after this commit.

        Args:
            on_complete: an (internal) mutation, called once with `context`, `outcome` and `job_id`. A mutation's
                completion is in the transaction of the mutation itself. The outcome's `kind` is success (with `value`),
                failed (`error`, and `data` of a `ConvexError`) or canceled; `log_lines` are there if it printed any.
            lane: mutations and completions of one lane run one at a time.
            queue: a named queue; at most its limit of functions run at once (see `set_queue_limit`).
            completes_together: mutations of one lane that are due at once may run in one transaction, each with bounds
                of its own, and then `on_complete` gets `completions` once: a list of `{context, outcome, job_id}` in
                the order in which they ran. One alone is delivered as ever; so is each, if the common call raises.
            on_complete_failed: an (internal) mutation that hears of it each time `on_complete` has failed, for it is
                tried again until it succeeds: called with `context`, `job_id`, `error` (text), `attempts` so far and
                `nextAt` (epoch ms), in the commit that writes when that is. What it raises is logged and dropped.

        Returns:
            The id of the row in `_scheduled_functions`.
        """
        due_ms = self._host.now_ms + delay_ms(delay)
        callbacks = (on_complete, on_complete_failed)
        return self._schedule(due_ms, function, args, callbacks, context, lane, queue, completes_together)

    def run_at(
        self,
        when: float | datetime,
        function: Any,
        args: dict[str, Any] | None = None,
        *,
        on_complete: Any = None,
        context: Any = None,
        lane: str | None = None,
        queue: str | None = None,
        completes_together: bool = False,
        on_complete_failed: Any = None,
    ) -> str:
        """Like `run_after`, at an instant: an aware datetime or epoch seconds. One in the past is now."""
        due_ms = instant_ms(when, self._host.now_ms)
        callbacks = (on_complete, on_complete_failed)
        return self._schedule(due_ms, function, args, callbacks, context, lane, queue, completes_together)

    def run_here(
        self,
        function: Any,
        args: dict[str, Any] | None = None,
        *,
        kind: Literal["mutation", "query"] = "mutation",
        apart_from: Any = None,
    ) -> dict[str, Any] | None:
        """Run a mutation or query now, in this transaction, if it may: what would be scheduled for right now otherwise.

        It runs as a scheduled function does: a sub-transaction with bounds of its own, whose error is its outcome.
        Only a transaction that runs scheduled functions has room for more, and only while it is short and small; one
        that is repeated after a conflict, a failure or the end of its process has none.

        Args:
            apart_from: a function of a component that `function` must not use, because its caller is in the midst of
                something there. If it does, what it has done is taken back.

        Returns:
            the outcome, as `on_complete` gets it; None if nothing has happened, so that it is to be scheduled.

        Raises:
            FunctionNotFound, WrongFunctionKind: there is no such function of this kind.
        """
        return self._host.run_here(function, args, kind, apart_from)

    def _schedule(
        self,
        due_ms: float,
        function: Any,
        args: dict[str, Any] | None,
        callbacks: tuple[Any, Any],
        context: Any,
        lane: str | None,
        queue: str | None,
        completes_together: bool,
    ) -> str:
        host = self._host
        usage = host.scheduled
        limits = host.transaction.limits
        if usage.functions >= limits.functions_scheduled:
            raise LimitExceeded(
                f"Too many functions scheduled by this mutation (limit: {limits.functions_scheduled}). Schedule one "
                f"function that schedules the rest."
            )
        arguments = {} if args is None else normalize(args)
        context = normalize(context)
        check_value([lane, queue])
        args_bytes = size_of(arguments)
        all_bytes = usage.args_bytes + args_bytes + (0 if context is None else size_of(context))
        if all_bytes > limits.scheduled_args_bytes:
            raise LimitExceeded(
                f"Too large total size of the arguments of scheduled functions from this mutation "
                f"(limit: {limits.scheduled_args_bytes} bytes). Store large values in documents and pass their ids."
            )
        usage.functions, usage.args_bytes = usage.functions + 1, all_bytes
        target = host.resolve_target(function, "schedule")
        if args_bytes > SCHEDULED_FUNCTION_ARGS_BYTES_WARN:
            host.warn(
                f"Large arguments for scheduled function {target.path} (actual: {args_bytes} bytes, limit: "
                f"{SCHEDULED_FUNCTION_ARGS_BYTES_WARN} bytes). Store large values in documents and pass their ids."
            )
        callback, on_failure = (
            self._resolve_callback(reference, name)
            for reference, name in zip(callbacks, ("on_complete", "on_complete_failed"), strict=True)
        )
        row = new_row(host.namespace, target, arguments, due_ms, callback, context, lane, queue)
        if completes_together:
            if callback is None or lane is None:
                raise InvalidRequest("completes_together=True needs on_complete and a lane: it is about their calls.")
            row["on_complete"]["is_together"] = True
        if on_failure is not None:
            if callback is None:
                raise InvalidRequest("on_complete_failed=… needs on_complete=…: it is about that.")
            row["on_complete"]["on_failure"] = {"namespace": on_failure.namespace, "path": on_failure.path}
        if _is_born_canceled(host):
            row.pop("pending_queue")
            row |= {"state": {"kind": "canceled"}, "completedTime": float(host.now_ms), "finished_ms": host.now_ms}
            return host.transaction.insert(SCHEDULED_FUNCTIONS, row)
        job_id = host.transaction.insert(SCHEDULED_FUNCTIONS, row)
        host.note_job(job_id, row)
        return job_id

    def _resolve_callback(self, reference: Any, name: str) -> Target | None:
        if reference is None:
            return None
        target = self._host.resolve_target(reference, "call on completion")
        if target.is_action:
            raise InvalidRequest(f"{name} must be a mutation, but {target.path} is an action.")
        return target

    def cancel(self, job_id: str) -> None:
        """Cancel a scheduled function. A pending one never runs; a running action runs on; a finished one stays.

        With `on_complete` the outcome `canceled` is delivered.
        """
        host = self._host
        internal_id = _job_internal_id(job_id)
        if job_id in host.finished_jobs:
            return  # it has run in this very transaction
        row = host.transaction.get(SCHEDULED_FUNCTIONS, internal_id)
        if row is None or row["namespace"] != host.namespace or row["state"]["kind"] not in ("pending", "inProgress"):
            return
        if host.job_id == job_id and not row.get("is_action"):
            raise InvalidRequest("A mutation cannot cancel itself")
        host.note_canceled(job_id)
        if "on_complete" in row:
            host.transaction.delete(SCHEDULED_FUNCTIONS, internal_id)
            completion = completion_row(row, job_id, {"kind": "canceled"}, host.now_ms)
            host.note_job(host.transaction.insert(SCHEDULED_FUNCTIONS, completion), completion)
            return
        host.transaction.replace(SCHEDULED_FUNCTIONS, internal_id, finished_row(row, {"kind": "canceled"}, host.now_ms))

    def set_queue_limit(self, queue: str, limit: int) -> None:
        """How many functions of a named queue run at once, from this commit on; 0 pauses it."""
        self._set_queue(queue, _checked_limit(limit), {})

    def declare_queue_limit(self, queue: str, limit: int) -> None:
        """What the app's code says of a queue: it is set where nobody has said anything, or the code something else.

        So what `set_queue_limit` says stays until the code is changed, and callers that declare the same again write
        nothing and do not conflict.
        """
        row = self._queue_row(queue)
        if row is None or row.get("declared") != limit:
            declared = _checked_limit(limit)
            was_said = row is not None and "declared" not in row
            self._set_queue(queue, row["limit"] if row is not None and was_said else declared, {"declared": declared})

    def _set_queue(self, queue: str, limit: int, declared: Row) -> None:
        host = self._host
        row = self._queue_row(queue)
        if row is not None:
            host.transaction.replace(QUEUES, decode_id(row["_id"])[1], {**row, "limit": limit, **declared})
        else:
            host.transaction.insert(QUEUES, {"namespace": host.namespace, "name": queue, "limit": limit, **declared})

    def _queue_row(self, queue: str) -> Row | None:
        check_value(queue)
        key = index_key([self._host.namespace, queue])
        rows = self._host.transaction.scan(QUEUES, QUEUES.indexes["by_name"], IndexBounds(key, key + b"\xff"))
        return next(rows, None)


def _checked_limit(limit: int) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise InvalidRequest(f"The limit of a queue is an integer of at least 0, not {limit!r}.")
    return limit


def _is_born_canceled(host: SchedulingHost) -> bool:
    """Whether this run belongs to a job that was canceled while it ran: what it schedules never runs."""
    if host.job_id is None:
        return False
    row = host.transaction.get(SCHEDULED_FUNCTIONS, _job_internal_id(host.job_id))
    return row is None or bool(row["state"]["kind"] == "canceled")


def _job_internal_id(job_id: str) -> bytes:
    try:
        number, internal_id = decode_id(job_id)
    except InvalidId as error:
        raise InvalidId(f"Invalid argument `id` for `scheduler.cancel`: {error}") from error
    if number != SCHEDULED_FUNCTIONS.number:
        raise InvalidId(f"Invalid argument `id` for `scheduler.cancel`: {job_id!r} is no scheduled function.")
    return internal_id
