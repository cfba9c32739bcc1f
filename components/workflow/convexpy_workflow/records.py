"""Between the engine's words and the rows of the journal."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from convexpy import size_of
from convexpy_workflow.backtraces import without_our_frames
from convexpy_workflow.commands import Canceled, Failure, Outcome, StartStep, Success, TimerFired
from convexpy_workflow.errors import DeterminismError, WorkflowError, shorten
from convexpy_workflow.large_replay import LargeValues, large_value
from convexpy_workflow.non_retryable import is_non_retryable
from convexpy_workflow.replay import Journal, RecordedSignal, RecordedStep

Fields = dict[str, Any]
AHEAD = 2**53 - 1  # `issued` of a step that a restart has kept and the handler has not asked for again
DIFF_ARGS_BYTES_MAX = 16 * 1024  # of recorded and of actual arguments in the reason of a stuck run


def step_to_fields(step: StartStep) -> Fields:
    """Give the fields of a new step's row that say what was asked for; those at their defaults are left out."""
    fields: Fields = {"position": step.position, "kind": step.kind, "name": step.name, "args": step.args}
    optional: Fields = {
        "function": step.function,
        "is_named": step.is_named or None,
        "is_inline": step.is_inline or None,
        "has_unstable_args": step.has_unstable_args or None,
        "delay_ms": step.delay_ms or None,
        "duration_ms": step.duration_ms,
        "retry": step.retry,
        "on_parent_cancel": step.on_parent_cancel,
    }
    return fields | {name: value for name, value in optional.items() if value is not None}


def step_from_fields(row: Fields) -> StartStep:
    """Read back what `step_to_fields` gave."""
    return StartStep(
        position=int(row["position"]),
        kind=row["kind"],
        name=row["name"],
        function=row.get("function"),
        args=row.get("args", {}),  # large ones of a journal are read later
        is_named=row.get("is_named", False),
        is_inline=row.get("is_inline", False),
        has_unstable_args=row.get("has_unstable_args", False),
        delay_ms=int(row.get("delay_ms", 0)),
        duration_ms=row.get("duration_ms"),
        retry=row.get("retry"),
        on_parent_cancel=row.get("on_parent_cancel"),
    )


def outcome_to_fields(outcome: Outcome) -> Fields:
    """Give an outcome as rows and callbacks carry it."""
    match outcome:
        case Success(value):
            return {"kind": "success", "value": value}
        case Failure(error, data, traceback):
            fields: Fields = {"kind": "failed", "error": error}
            if data is not None:
                fields["data"] = data
            if traceback:
                fields["traceback"] = traceback
            return fields
        case Canceled():
            return {"kind": "canceled"}


def outcome_from_fields(fields: Fields) -> Outcome:
    """Read back what `outcome_to_fields` gave."""
    if fields["kind"] == "success":
        return Success(fields["value"])
    if fields["kind"] == "failed":
        return Failure(fields["error"], fields.get("data"), fields.get("traceback", ""))
    return Canceled()


def outcome_of_job(fields: Fields) -> Outcome:
    """Read the outcome that the scheduler hands to `on_complete`.

    A failure's text is "Uncaught Class: message", then the frames of the function; they are kept apart here.
    """
    if fields["kind"] != "failed":
        return outcome_from_fields(fields)
    message, separator, frames = fields["error"].partition("\n    at ")
    data: Any = fields.get("data")
    if is_non_retryable(data):
        message = data["message"]
    # A query runs in the handler's own mutation, so frames of this package lie above its own.
    trace = without_our_frames(f"    at {frames}") if separator else ""
    return Failure(message.removeprefix("Uncaught ").strip(), data, trace)


def journal_from_rows(
    started_ms: int, steps: Iterable[Fields], timers: Iterable[Fields], values: LargeValues
) -> Journal:
    """Build the journal of a run from its rows; `steps` come in the order of their positions."""
    recorded = []
    for row in steps:
        if row["issued"] == AHEAD:
            continue
        is_resolved = "resolved" in row
        is_large = "outcome_aside" in row
        recorded.append(
            RecordedStep(
                step=step_from_fields(row),
                issued=int(row["issued"]),
                resolved=int(row["resolved"]) if is_resolved else None,
                resolved_now_ms=int(row["resolved_now_ms"]) if is_resolved else 0,
                outcome=outcome_from_fields(row["outcome"]) if is_resolved and not is_large else None,
                withdrawn=int(row["withdrawn"]) if "withdrawn" in row else None,
                later_args=large_value(row, "args", values),
                later_outcome=partial(outcome_of_row, row, values) if is_resolved and is_large else None,
            )
        )
    signals = [
        RecordedSignal(
            int(row["resolution"]), TimerFired(int(row["now_ms"]), int(row["number"]), int(row["deadline_ms"]))
        )
        for row in timers
    ]
    return Journal(started_ms, recorded, signals)


def outcome_of_row(row: Fields, values: LargeValues) -> Outcome:
    """Read the outcome of a step that has one."""
    large = large_value(row, "outcome", values)
    return outcome_from_fields(row["outcome"] if large is None else large.load())


def unconsumed_steps(steps: Iterable[Fields], values: LargeValues) -> list[tuple[int, Outcome]]:
    """List the outcomes that came while the run was stuck, in the order in which the handler is to have them."""
    rows = [
        row
        for row in steps
        if row["state"] == "done" and "resolved" not in row and "withdrawn" not in row and row["issued"] < AHEAD
    ]
    rows.sort(key=lambda row: (row["completed_ms"], row["position"]))
    return [(int(row["position"]), outcome_of_row(row, values)) for row in rows]


def describe_stuck(error: WorkflowError) -> dict[str, Any]:
    """Give the reason of a stuck run as a value."""
    fields: dict[str, Any] = {"kind": type(error).__name__, "text": str(error)}
    if isinstance(error, DeterminismError):
        diff = error.to_fields()
        for side in ("recorded", "actual"):
            step = diff[side]
            if step is not None and size_of(step["args"]) > DIFF_ARGS_BYTES_MAX:
                diff[side] = step | {"args": shorten(repr(step["args"]))}
        fields["diff"] = diff
    return fields
