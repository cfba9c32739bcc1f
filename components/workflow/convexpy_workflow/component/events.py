"""Events: values that somebody outside a run sends to it, and that its handler waits for.

    created ──await──▶ waiting ──send──▶ delivered ──handler takes it──▶ consumed
       │                  │                  │
       │ send             │ given up         │ given up
       ▼                  ▼                  ▼
     sent ──await──▶ delivered            sent       (a waiting one is created again)

A *delivered* event has its value and the step that shall get it; the run's next wave takes both. So a step that is
given up between the send and that wave does not take the value along: it goes to the next who waits for that name.

Invariants after each commit:
  1. an event is waiting or delivered exactly while its step is pending and names it;
  2. no event is sent while a step waits by its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from convexpy import UNSET, MutationCtx, QueryCtx, mutation, query
from convexpy_workflow.component.large_values import STEP_VALUE_BYTES_MAX, get_value, put_value
from convexpy_workflow.component.rows import find_step, get_run
from convexpy_workflow.errors import (
    EventAlreadyConsumed,
    EventAlreadySent,
    EventAlreadyWaiting,
    EventError,
    EventNotFound,
    WorkflowNotRunning,
)

Row = dict[str, Any]


@mutation
def create_event(ctx: MutationCtx, name: str, workflowId: str) -> str:  # noqa: N803  (wire spelling)
    """Insert an event that nobody waits for and nobody has sent; returns its id.

    Raises:
        WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
    """
    run = _running(ctx, workflowId)
    return ctx.db.insert("events", _new_event(ctx, run, name) | {"state": "created"})


@mutation
def send(
    ctx: MutationCtx,
    outcome: Any,
    name: str | None = None,
    workflowId: str | None = None,  # noqa: N803
    eventId: str | None = None,  # noqa: N803
) -> str:
    """Give a run a value or an error; it is kept if the handler does not wait for it yet. Returns the event's id.

    Args:
        outcome: what the await gets: `{"kind": "success", "value"}` or `{"kind": "failed", "error"}`.
        name, workflowId: whom it is for; the oldest that waits for this name gets it.
        eventId: that event instead, once.

    Raises:
        EventError, WorkflowNotFound, WorkflowNotRunning, InvalidWorkflowId
    """
    if eventId is not None:
        event = _get_event(ctx, eventId, name, workflowId)
        run = _running(ctx, event["workflow"])
        if event["state"] in ("sent", "delivered"):
            raise EventAlreadySent(eventId)
        if event["state"] == "consumed":
            raise EventAlreadyConsumed(eventId)
    else:
        if name is None:
            raise EventError("Name is required if eventId is not specified")
        if workflowId is None:
            raise EventError("workflowId is required if eventId is not specified")
        run = _running(ctx, workflowId)
        event = _first(ctx, run, name, "waiting") or _first(ctx, run, name, "created") or _new_event(ctx, run, name)
    fields = {"order": _next_order(ctx, run)} | put_value(ctx, run["_id"], "outcome", outcome, STEP_VALUE_BYTES_MAX)
    if "_id" not in event:
        return ctx.db.insert("events", event | fields | {"state": "sent"})
    if event["state"] == "waiting":
        ctx.db.patch("events", event["_id"], fields | {"state": "delivered"})
        _announce(ctx, run, int(event["position"]))
    else:
        ctx.db.patch("events", event["_id"], fields | {"state": "sent"})
        _hand_over(ctx, run, {**event, **fields})
    event_id: str = event["_id"]
    return event_id


@mutation
def begin_wait(
    ctx: MutationCtx,
    workflowId: str,  # noqa: N803
    position: int,
    name: str | None = None,
    eventId: str | None = None,  # noqa: N803
) -> dict[str, Any]:
    """Let a step wait for an event.

    Returns:
        `{"eventId": id, "outcome": what was sent already, or None}`.

    Raises:
        EventError
    """
    run = get_run(ctx, workflowId)
    fields: Row = {"position": position}
    if eventId is not None:
        event = _get_event(ctx, eventId, name, run["_id"])
        if event["state"] in ("waiting", "delivered"):
            raise EventAlreadyWaiting(eventId)
        if event["state"] == "consumed":
            raise EventAlreadyConsumed(eventId)
        fields["is_awaited_by_id"] = True
    else:
        assert name is not None, "the step object refuses an await without a name"
        event = _first(ctx, run, name, "sent") or _first(ctx, run, name, "created") or _new_event(ctx, run, name)
    is_sent = event.get("state") == "sent"
    fields |= {"state": "delivered" if is_sent else "waiting"}
    if "_id" not in event:
        return {"eventId": ctx.db.insert("events", event | fields), "outcome": None}
    if not is_sent:
        fields["order"] = _next_order(ctx, run)  # who waits for a name is served in the order of waiting
    ctx.db.patch("events", event["_id"], fields)
    return {"eventId": event["_id"], "outcome": get_value(ctx, event, "outcome") if is_sent else None}


@query
def arrived(ctx: QueryCtx, workflowId: str, position: int) -> Any:  # noqa: N803
    """Read what was sent to a step that waits; None if it does not wait any more."""
    step = find_step(ctx, get_run(ctx, workflowId)["_id"], position)
    if step is None or step["state"] != "pending":
        return None
    event = ctx.db.get("events", step["event"])
    return None if event is None or event["state"] != "delivered" else get_value(ctx, event, "outcome")


def consume(ctx: MutationCtx, event_id: str) -> None:
    """Close the event of a step that has its outcome. The value lies in the step's row now."""
    event = ctx.db.get("events", event_id)
    assert event is not None, "an event lives as long as its run"
    if "outcome_aside" in event:
        ctx.db.delete(event["outcome_aside"])
    ctx.db.patch("events", event_id, {"state": "consumed", "outcome": UNSET, "outcome_aside": UNSET})


def release(ctx: MutationCtx, run: Row, event_ids: Iterable[str], is_over: bool) -> None:
    """Give back the events of steps that were given up. What was sent to them goes to others, or waits for them.

    Args:
        is_over: the run has ended, so nobody waits any more.
    """
    sent = []
    for event_id in event_ids:
        event = ctx.db.get("events", event_id)
        if event is None or event["state"] not in ("waiting", "delivered"):
            continue  # a restart comes after a cancel that has given it back already
        is_sent = event["state"] == "delivered"
        fields = {"state": "sent" if is_sent else "created", "position": UNSET, "is_awaited_by_id": UNSET}
        ctx.db.patch("events", event_id, fields)
        if is_sent:
            sent.append(event)
    if not is_over:
        for event in sorted(sent, key=lambda event: event["order"]):
            _hand_over(ctx, run, event)


def delete(ctx: MutationCtx, event_id: str) -> None:
    """Delete an event with its value, if it is still there."""
    event = ctx.db.get("events", event_id)
    if event is None:
        return
    if "outcome_aside" in event:
        ctx.db.delete(event["outcome_aside"])
    ctx.db.delete("events", event_id)


def _hand_over(ctx: MutationCtx, run: Row, event: Row) -> None:
    """Let the step that waits longest for a name have what was sent as another event of it, if one waits."""
    named = ctx.db.query("events").with_index("by_name", workflow=run["_id"], name=event["name"], state="waiting")
    waiting = next((row for row in named if not row.get("is_awaited_by_id")), None)
    if waiting is None:
        return
    # The value moves, not the step: a step that was asked for in this very wave has no row yet.
    moved = {name: event[name] for name in ("outcome", "outcome_aside", "order") if name in event}
    ctx.db.patch("events", waiting["_id"], moved | {"state": "delivered"})
    ctx.db.patch("events", event["_id"], {"state": "consumed", "outcome": UNSET, "outcome_aside": UNSET})
    _announce(ctx, run, int(waiting["position"]))


def _announce(ctx: MutationCtx, run: Row, position: int) -> None:
    """Let the app schedule the wave that takes the event."""
    arrival = {"workflowId": run["_id"], "position": position, "epoch": run["epoch"]}
    ctx.run_mutation(run["handler"], {"arrive": arrival})


def _running(ctx: MutationCtx, workflow_id: str) -> Row:
    run = get_run(ctx, workflow_id)
    if run["state"] == "done":
        raise WorkflowNotRunning(workflow_id)
    return run


def _get_event(ctx: MutationCtx, event_id: str, name: str | None, workflow_id: str | None) -> Row:
    normalized = ctx.db.normalize_id("events", event_id)
    event = None if normalized is None else ctx.db.get("events", normalized)
    if event is None or (workflow_id is not None and event["workflow"] != workflow_id):
        raise EventNotFound(event_id)
    if name is not None and event["name"] != name:
        raise EventError(f"Event {event_id} has the name {event['name']!r}, not {name!r}.")
    return event


def _first(ctx: MutationCtx, run: Row, name: str, state: str) -> Row | None:
    return ctx.db.query("events").with_index("by_name", workflow=run["_id"], name=name, state=state).first()


def _new_event(ctx: MutationCtx, run: Row, name: str) -> Row:
    return {"workflow": run["_id"], "name": name, "order": _next_order(ctx, run)}


def _next_order(ctx: MutationCtx, run: Row) -> int:
    last = ctx.db.query("events").with_index("by_order", workflow=run["_id"]).order("desc").first()
    return 0 if last is None else int(last["order"]) + 1
