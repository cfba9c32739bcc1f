"""News of a step that comes from outside the app's scheduler: an event that was sent, a child run that has ended.

The component tells the handler's mutation of it (`arrive`), which schedules a job for the run's next wave. The job
itself (`arrived`) does nothing; its completion runs the wave. So it is owed, and tried again until it succeeds,
whatever becomes of the code meanwhile, as the completion of every other step is.
"""

from __future__ import annotations

from typing import Any

from convexpy import UNSET, MutationCtx
from convexpy_workflow.app_values import storable
from convexpy_workflow.arguments import shown
from convexpy_workflow.commands import Outcome
from convexpy_workflow.definition import Definition
from convexpy_workflow.errors import EventError
from convexpy_workflow.events import EventAddress
from convexpy_workflow.jobs import owed_to
from convexpy_workflow.records import outcome_from_fields


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
            raise EventError(f"The error of an event is a text, not {shown(error)}.")
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
    own = definition.mutation
    ctx.scheduler.run_after(
        0,
        own,
        {"arrived": True},
        **owed_to(definition),
        context={"arrival": arrival},
        lane=arrival["workflowId"],
        completes_together=True,
    )


def read_arrival(ctx: MutationCtx, definition: Definition, arrival: dict[str, Any]) -> Outcome | None:
    """Give the outcome that a step waits for; None if it does not wait any more."""
    fields = arrival.get("outcome")
    if fields is None:
        address = {"workflowId": arrival["workflowId"], "position": arrival["position"]}
        fields = ctx.run_query(definition.component.events.arrived, address)
    return None if fields is None else outcome_from_fields(fields)
