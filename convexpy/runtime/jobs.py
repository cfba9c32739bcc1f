"""Runs a due row of `_scheduled_functions` as one transaction.

For a mutation: (a) the function as a sub-transaction, (b) `on_complete(outcome)` as another, then the row's final
state. All of it commits or none, so each happens exactly once. If (a) raises, its writes go and the outcome is the
error; if (b) raises, only its writes go and it becomes a row of its own, tried again with back-off. (a) and (b) have
separate budgets. `job_batches` has several rows in one transaction.
For an action: the row turns `inProgress` here, the action runs after that commit, and
`finish_action` records its outcome: at most once.

An outcome is `{"kind": "success", "value"}`, `{"kind": "failed", "error", "data"?}` (`error` with the user's frames) or
`{"kind": "canceled"}`. One of a function that printed or logged also has `log_lines`, so that `on_complete` can keep
them in the same commit: each line once, whatever crashes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from convexpy.errors import FunctionNotFound, LimitExceeded
from convexpy.functions.scheduled_rows import Row, completion_row, finished_row
from convexpy.functions.scheduling import ScheduledUsage
from convexpy.runtime.execution import Run
from convexpy.runtime.failures import Failure, failure_of
from convexpy.runtime.job_hints import job_hint
from convexpy.runtime.log_capture import LogSink, capturing, lines_to_keep
from convexpy.runtime.transaction_limits import warn_near_limits
from convexpy.transactions.system_tables import SCHEDULED_FUNCTIONS
from convexpy.values import decode_id, encode_json

Outcome = dict[str, Any]

RETRY_FIRST_MS = 500
RETRY_LAST_MS = 2 * 3600 * 1000


def pending_row(run: Run, job_id: str) -> tuple[bytes, Row] | None:
    """Read the row of a function that nobody has run yet; None if it is gone, or not pending any more."""
    internal_id = decode_id(job_id)[1]
    row = run.transaction.get(SCHEDULED_FUNCTIONS, internal_id)
    return (internal_id, row) if row is not None and row["state"]["kind"] == "pending" else None


def run_alone(run: Run, internal_id: bytes, row: Row) -> dict[str, Any]:
    """Run a pending row.

    Returns:
        `{"kind": "done"}`, or for an action what to start: `{"kind": "action", "component", "path", "args"}` (args as
        JSON).
    """
    run.job_id = row["_id"]
    if row.get("is_action"):
        try:
            located = run.resolver.in_namespace(row["target"]["namespace"], row["target"]["path"])
        except FunctionNotFound as error:
            complete(run, internal_id, row, {"kind": "failed", "error": str(error)})
            return {"kind": "done"}
        return _begin_action(run, internal_id, row, located.instance.path)
    preset = run.call.preset_outcome
    outcome = run_function(run, row) if preset is None else msgspec.msgpack.decode(preset)
    if "retry" in row and outcome["kind"] == "failed":
        _try_again_later(run, internal_id, row, outcome)
    else:
        complete(run, internal_id, row, outcome, row)
    return {"kind": "done"}


def complete(run: Run, internal_id: bytes, row: Row, outcome: Outcome, stored: Row | None = None) -> None:
    """Deliver an outcome and write the row's final state.

    Args:
        stored: the row as it was read, where that is at hand.
    """
    transaction = run.transaction
    if "on_complete" not in row:
        state = {"kind": outcome["kind"]} if outcome["kind"] != "failed" else _failed_state(outcome)
        transaction.replace(SCHEDULED_FUNCTIONS, internal_id, finished_row(row, state, run.now_ms))
        return
    callback = row["on_complete"]
    savepoint = transaction.savepoint()
    marks = len(run.jobs), len(run.canceled_jobs)
    is_platforms = transaction.is_unlimited  # after an action: nothing of the app has run here yet
    begin_part(run, row["_id"])
    try:
        if run.call.is_completion_deferred:
            raise LimitExceeded(
                "on_complete ran beyond its time limit, ended its process, or scheduled more than may be pending"
            )
        located = run.resolver.in_namespace(callback["namespace"], callback["path"])
        run.invoke(located, {"context": callback["context"], "outcome": outcome, "job_id": row["_id"]}, is_top=False)
    except BaseException as error:
        transaction.rollback(savepoint)
        del run.jobs[marks[0] :]
        del run.canceled_jobs[marks[1] :]
        again = completion_row(row, row["_id"], outcome, run.now_ms + RETRY_FIRST_MS)
        failure = failure_of(error, run.generation.limits)
        again |= {"retry": {"attempt": 1, "error": failure.log_text()}, "is_failing": True}
        run.sink.add("ERROR", f"on_complete of {row['name']} failed, it will be tried again: {failure.message}")
        run.jobs.append(job_hint(transaction.insert(SCHEDULED_FUNCTIONS, again), again))
        _tell_of_failure(run, again)
    finally:
        transaction.is_unlimited = is_platforms
    transaction.delete(SCHEDULED_FUNCTIONS, internal_id, stored)


def begin_part(run: Run, job_id: str | None) -> None:
    """Begin a function of the app with bounds of its own, for the row that it belongs to."""
    transaction = run.transaction
    if not transaction.is_unlimited:  # else nothing of the app has run here yet
        warn_near_limits(run)
    run.job_id = job_id
    transaction.is_unlimited = False
    transaction.restart_usage()
    run.scheduled = ScheduledUsage()
    run.generation.restart_clock()


def run_function(run: Run, row: Row) -> Outcome:
    """Run the row's mutation; an error is its outcome, and takes its writes along."""

    def call() -> Any:
        located = run.resolver.in_namespace(row["target"]["namespace"], row["target"]["path"])
        if located.function.kind != "mutation":
            raise FunctionNotFound(
                f"Unsupported function type: {row['target']['path']} is a {located.function.kind} now; only mutations "
                f"and actions can be scheduled."
            )
        return run.invoke(located, row["args"][0], is_top=False)

    attempt = attempt_function(run, call)
    attempt.log(run)
    if "on_complete" not in row:
        attempt.outcome.pop("log_lines", None)
    return attempt.outcome


class Attempt(NamedTuple):
    """A function that has run, and what it printed, which is in no log yet."""

    outcome: Outcome
    sink: LogSink
    failure: Failure | None

    def log(self, run: Run) -> None:
        """Put what it printed, and its error, into the run's log."""
        run.sink.absorb(self.sink)
        if self.failure is not None:
            run.sink.add("ERROR", self.failure.log_text())


def attempt_function(run: Run, call: Callable[[], Any]) -> Attempt:
    """Run one function as a sub-transaction. What it raises is its outcome."""
    # Functions that share a transaction share neither their lines nor how many they may be.
    whole, run.sink = run.sink, LogSink()
    own = run.sink
    try:
        with capturing(own):
            outcome, failure = _run_guarded(run, call)
    finally:
        run.sink = whole
    if lines := own.finish():
        outcome["log_lines"] = lines_to_keep(lines)
    return Attempt(outcome, own, failure)


def _run_guarded(run: Run, call: Callable[[], Any]) -> tuple[Outcome, Failure | None]:
    transaction = run.transaction
    savepoint = transaction.savepoint()
    marks = len(run.jobs), len(run.canceled_jobs)
    try:
        return {"kind": "success", "value": call()}, None
    except BaseException as error:
        transaction.rollback(savepoint)
        del run.jobs[marks[0] :]
        del run.canceled_jobs[marks[1] :]
        failure = failure_of(error, run.generation.limits)
        outcome: Outcome = {"kind": "failed", "error": failure.log_text()}
        if failure.has_data:
            outcome["data"] = failure.data
        return outcome, failure


def _begin_action(run: Run, internal_id: bytes, row: Row, component: str) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name != "pending_queue"}
    run.transaction.replace(
        SCHEDULED_FUNCTIONS, internal_id, {**kept, "state": {"kind": "inProgress"}, "running": True}
    )
    return {
        "kind": "action",
        "component": component,
        "path": row["target"]["path"],
        "args": encode_json(row["args"][0]),
    }


def _try_again_later(run: Run, internal_id: bytes, row: Row, outcome: Outcome) -> None:
    """A completion that failed: its row stays, due later, with the error to be seen in it."""
    attempt = row["retry"]["attempt"]
    delay_ms = min(RETRY_FIRST_MS * 2**attempt, RETRY_LAST_MS)
    due = float(run.now_ms + delay_ms)
    retry = {"attempt": attempt + 1, "error": outcome["error"]}
    again = {**row, "scheduledTime": due, "retry": retry, "is_failing": True}
    run.transaction.replace(SCHEDULED_FUNCTIONS, internal_id, again)
    run.jobs.append(job_hint(row["_id"], again))
    begin_part(run, row["_id"])
    _tell_of_failure(run, again)


def _tell_of_failure(run: Run, owed: Row) -> None:
    """Let who scheduled a function know that its `on_complete` fails, and when it is tried again."""
    if "on_failure" not in owed:
        return
    callback, completion, retry = owed["on_failure"], owed["args"][0], owed["retry"]
    told = {name: completion[name] for name in ("context", "job_id")}
    told |= {"error": retry["error"], "attempts": retry["attempt"], "nextAt": owed["scheduledTime"]}
    savepoint = run.transaction.savepoint()
    marks = len(run.jobs), len(run.canceled_jobs)
    try:
        located = run.resolver.in_namespace(callback["namespace"], callback["path"])
        run.invoke(located, told, is_top=False)
    except BaseException as error:
        run.transaction.rollback(savepoint)
        del run.jobs[marks[0] :]
        del run.canceled_jobs[marks[1] :]
        failure = failure_of(error, run.generation.limits)
        run.sink.add("ERROR", f"on_complete_failed of {owed['name']} failed: {failure.message}")


def _failed_state(outcome: Outcome) -> dict[str, Any]:
    return {"kind": "failed", "error": outcome["error"]}
