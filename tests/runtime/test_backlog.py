"""The bound to unfinished scheduled functions as functions meet it, and what becomes of those that are scheduled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from convexpy.errors import CalledFunctionFailed
from convexpy.testing import TestBackend
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.system_tables import SCHEDULED_FUNCTIONS

TEXT = r"Too many scheduled functions pending \(limit: 10\)"
APP = """
from typing import Any
from convexpy import ActionCtx, ConvexpyError, MutationCtx, action, internal_action, internal_mutation, mutation


@mutation
def remind(ctx: MutationCtx, count: float, after: float = 3600) -> list[str]:
    ctx.db.insert("notes", {"text": "reminding"})
    return [ctx.scheduler.run_after(after, note, {"text": "reminded"}) for _ in range(int(count))]


@mutation
def cancel(ctx: MutationCtx, id: str) -> None:
    ctx.scheduler.cancel(id)


@mutation
def begin(ctx: MutationCtx, function: str, count: float, on_complete: bool) -> None:
    completion = {"on_complete": complete, "context": count} if on_complete else {}
    ctx.scheduler.run_after(1, f"reminders:{function}", {"count": 0 if on_complete else count}, **completion)


@internal_mutation
def note(ctx: MutationCtx, text: str) -> None:
    ctx.db.insert("notes", {"text": text})


@internal_mutation
def spread(ctx: MutationCtx, count: float) -> None:
    note(ctx, "spreading")
    for _ in range(int(count)):
        ctx.scheduler.run_after(3600, note, {"text": "spread"})


@internal_action
async def work(ctx: ActionCtx, count: float) -> None:
    for _ in range(int(count)):
        await ctx.scheduler.run_after(3600, note, {"text": "worked"})


@internal_mutation
def complete(ctx: MutationCtx, context: float, outcome: Any, job_id: str) -> None:
    note(ctx, outcome["kind"])
    for _ in range(int(context)):
        ctx.scheduler.run_after(3600, note, {"text": "after completion"})


@action
async def remind_from_action(ctx: ActionCtx) -> str:
    try:
        await ctx.scheduler.run_after(3600, note, {"text": "by an action"})
    except ConvexpyError as error:
        return str(error)
    return "scheduled"
"""
FULL = 10


@pytest.fixture
def full(write_project: Callable[..., Path]) -> Iterator[TestBackend]:
    """A deployment with as many functions scheduled, for in an hour, as it may have, less one."""
    with TestBackend(write_project(reminders=APP), limits={"functions_pending": FULL}) as backend:
        backend.mutation("reminders:remind", {"count": FULL - 1})
        yield backend


def notes(backend: TestBackend) -> list[str]:
    return backend.run(lambda ctx: [row["text"] for row in ctx.db.query("notes") if row["text"] != "reminding"])


def states(backend: TestBackend) -> list[dict[str, Any]]:
    rows = backend.run(lambda ctx: ctx.db.system.query("_scheduled_functions").collect())
    return [row["state"] for row in rows if row["state"]["kind"] != "pending"]


def test_a_mutation_that_schedules_too_much_fails_and_leaves_nothing(full: TestBackend) -> None:
    with pytest.raises(CalledFunctionFailed, match=TEXT):
        full.mutation("reminders:remind", {"count": 2})

    assert full.run(lambda ctx: len(ctx.db.query("notes").collect())) == 1
    (last,) = full.mutation("reminders:remind", {"count": 1})
    with pytest.raises(CalledFunctionFailed, match=TEXT):
        full.mutation("reminders:remind", {"count": 1})
    full.mutation("reminders:cancel", {"id": last})
    full.mutation("reminders:remind", {"count": 1})


def test_an_action_can_catch_it(full: TestBackend) -> None:
    assert full.action("reminders:remind_from_action") == "scheduled"
    assert "Too many scheduled functions pending (limit: 10): 10 are" in full.action("reminders:remind_from_action")


def test_a_scheduled_function_that_spreads_too_far_has_failed(full: TestBackend) -> None:
    """As with any other bound: its writes go, its row says why, it is not repeated."""
    full.mutation("reminders:begin", {"function": "spread", "count": 2, "on_complete": False})
    full.advance(1)

    (state,) = states(full)
    assert (state["kind"], notes(full)) == ("failed", [])
    assert state["error"].startswith("Too many scheduled functions pending (limit: 10)")


def test_one_that_schedules_the_next_one_goes_on(full: TestBackend) -> None:
    full.mutation("reminders:begin", {"function": "spread", "count": 1, "on_complete": False})
    full.advance(1)

    assert (states(full), notes(full)) == ([{"kind": "success"}], ["spreading"])


@pytest.mark.parametrize("function", ["spread", "work"])
def test_a_completion_that_spreads_too_far_is_owed_until_there_is_room(full: TestBackend, function: str) -> None:
    full.mutation("reminders:begin", {"function": function, "count": 2, "on_complete": True})
    full.advance(10)
    assert "success" not in notes(full)
    assert any(row.get("retry", {}).get("attempt", 0) > 1 for row in full.run(_rows)), "it is tried again"

    jobs = [row["_id"] for row in full.run(_rows) if "retry" not in row]
    for job in jobs[:2]:
        full.mutation("reminders:cancel", {"id": job})
    full.advance(60)

    assert notes(full)[-1] == "success"
    assert not any("retry" in row for row in full.run(_rows))


def test_an_action_that_ends_when_there_is_no_room_has_its_outcome(full: TestBackend) -> None:
    full.mutation("reminders:begin", {"function": "work", "count": 0, "on_complete": False})
    full.advance(1)

    assert states(full) == [{"kind": "success"}]


def _rows(ctx: Any) -> list[dict[str, Any]]:
    """The rows that wait, with all their fields."""
    by_due = SCHEDULED_FUNCTIONS.indexes["by_due"]
    return list(ctx._host.transaction.scan(SCHEDULED_FUNCTIONS, by_due, IndexBounds()))
