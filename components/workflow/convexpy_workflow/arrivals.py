"""News of a step that comes from outside the app's scheduler: an event that was sent, a child run that has ended.

The component tells the handler's mutation of it (`arrive`), which schedules a job for the run's next wave. The job
reads the outcome (`arrived`) and hands it to its own completion, which runs the wave: so a wave that fails is owed and
tried again, as for every other step.
"""

from __future__ import annotations

from typing import Any

from convexpy import UNSET, MutationCtx
from convexpy_workflow.app_values import storable
from convexpy_workflow.commands import Failure, Outcome
from convexpy_workflow.definition import Definition
from convexpy_workflow.errors import EventError
from convexpy_workflow.events import EventAddress
from convexpy_workflow.records import outcome_from_fields, outcome_of_job


def sent_outcome(address: EventAddress, value: Any, error: str | None) -> dict[str, Any]:
    """Give what a sender says as the outcome that the await gets.

    Raises:
        EventError: value and error are both given, or the value does not fit the event's validator.
        InvalidValue, ValueError: the value cannot be kept.
    """
    if error is not None:
        if value is not UNSET:
            raise EventError("An event carries a value or an error, not both.")
        if not isinstance(error, str):
            raise EventError(f"The error of an event is a text, not {error!r}.")
        return {"kind": "failed", "error": str(storable(error, "Event error"))}
    kept = storable(None if value is UNSET else value, "Event value")
    address.check(kept)
    return {"kind": "success", "value": kept}


def schedule_arrival(ctx: MutationCtx, definition: Definition, arrival: dict[str, Any]) -> None:
    """Schedule the wave that takes a step's news.

    Args:
        arrival: `{workflowId, position, epoch}`, and the `outcome` itself unless it is an event's, which may yet go to
            another step.
    """
    address = {name: arrival[name] for name in ("workflowId", "position", "epoch")}
    own = definition.mutation
    ctx.scheduler.run_after(
        0, own, {"arrived": arrival}, on_complete=own, context=address | {"isArrival": True}, lane=arrival["workflowId"]
    )


def read_arrival(ctx: MutationCtx, definition: Definition, arrival: dict[str, Any]) -> Any:
    """Give the fields of the outcome that a step waits for; None if it does not wait any more."""
    if "outcome" in arrival:
        return arrival["outcome"]
    address = {"workflowId": arrival["workflowId"], "position": arrival["position"]}
    return ctx.run_query(definition.component.events.arrived, address)


def outcome_of_arrival(fields: dict[str, Any]) -> Outcome | None:
    """Read what `read_arrival` gave, as the scheduler hands it on; None: nobody waits for it."""
    if fields["kind"] != "success":
        outcome = outcome_of_job(fields)
        return outcome if isinstance(outcome, Failure) else None
    return None if fields["value"] is None else outcome_from_fields(fields["value"])
