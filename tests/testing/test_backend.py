"""The test backend keeps what it promises to those who test with it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from convexpy import ConvexpyError, MutationCtx, internal
from convexpy.runtime.interface import FunctionRequest
from convexpy.testing import ManualClock, TestBackend
from convexpy.testing.backend import FinishedCall

JOBS = Path(__file__).parents[1] / "runtime" / "jobs_app"


def schedule_a_lot(ctx: MutationCtx) -> None:
    """Mutations that race, in a lane and outside, and actions that sleep for different times."""
    for number in range(10):
        ctx.scheduler.run_after(1, internal.jobs.increment, lane="a" if number % 3 else None)
        ctx.scheduler.run_after(1, internal.jobs.work, {"text": str(number), "seconds": number})


def test_the_same_test_is_the_same_run() -> None:
    """Ids, conflicts, order and log lines."""

    def run() -> tuple[list[FinishedCall], int, list[dict[str, object]]]:
        with TestBackend(JOBS, seed=3) as backend:
            backend.run(schedule_a_lot)
            backend.run_all_scheduled()
            rows = backend.run(lambda ctx: ctx.db.query("events").collect())
            return backend.calls, backend.runtime.conflicts, rows

    first = run()

    assert first[1] > 0, "transactions do race"
    assert run() == first


def test_the_clock_moves_only_where_it_is_moved() -> None:
    clock = ManualClock(datetime(2030, 5, 1, tzinfo=UTC))
    with TestBackend(JOBS, clock=clock) as backend:
        backend.mutation(internal.jobs.record, {"text": "x"})
        assert clock.now() == datetime(2030, 5, 1, tzinfo=UTC)

        backend.advance(timedelta(minutes=90))

        assert clock.now() == datetime(2030, 5, 1, 1, 30, tzinfo=UTC)
        assert clock.monotonic() == 5400


def test_a_clock_that_has_moved_for_years_still_moves() -> None:
    """Seconds are floats, which lose nanoseconds after half a year."""
    with TestBackend(JOBS) as backend:
        backend.advance(timedelta(days=3 * 365, microseconds=1))
        backend.run(lambda ctx: ctx.scheduler.run_after(0.001, internal.jobs.record, {"text": "job"}))

        backend.advance(timedelta(days=1))

        assert [row["text"] for row in backend.run(lambda ctx: ctx.db.query("events").collect())] == ["job"]


def test_an_action_that_sleeps_moves_the_clock_and_runs_nothing_else() -> None:
    with TestBackend(JOBS) as backend:
        begun = backend.clock.now()
        backend.run(lambda ctx: ctx.scheduler.run_after(1, internal.jobs.record, {"text": "job"}))
        backend.action(internal.jobs.work, {"text": "a", "seconds": 60})

        assert backend.clock.now() == begun + timedelta(seconds=60)
        assert backend.run(lambda ctx: [row["text"] for row in ctx.db.query("events")]) == ["a begins", "a ends"]


def test_scheduled_functions_wait_until_they_are_asked_for() -> None:
    with TestBackend(JOBS) as backend:
        backend.run(lambda ctx: ctx.scheduler.run_after(0, internal.jobs.record, {"text": "job"}))
        backend.clock.advance(10)

        def count(ctx: MutationCtx) -> int:
            return len(ctx.db.query("events").collect())

        assert backend.run(count) == 0
        backend.advance()
        assert backend.run(count) == 1


@pytest.mark.parametrize("steps", range(12))
def test_a_restart_may_come_at_any_moment(steps: int) -> None:
    """What the old server has begun ends there: were it to commit later, the new one would never hear of it, and
    whoever reads that commit would wait for it for ever."""
    with TestBackend(JOBS) as backend:
        request = FunctionRequest(component="", path="jobs:record", args=b'{"text":"before"}', is_admin=True)

        async def begin() -> list[asyncio.Future[Any]]:
            begun = [asyncio.ensure_future(backend.runtime.mutation(request)) for _ in range(3)]
            for _ in range(steps):
                await asyncio.sleep(0)
            return begun

        begun = backend.do(begin())
        backend.restart()

        answered = sum(task.done() and not task.cancelled() for task in begun)
        backend.mutation(internal.jobs.record, {"text": "after"})
        texts = backend.run(lambda ctx: [row["text"] for row in ctx.db.query("events")])
        assert texts[-1] == "after" and set(texts[:-1]) <= {"before"}
        assert answered <= len(texts) - 1 <= 3


@pytest.mark.parametrize("steps", range(12))
def test_a_restart_may_come_while_tables_are_deleted(steps: int) -> None:
    """Upkeep that waits for older upkeep ends with it; it used to go on beside the new server."""
    with TestBackend(JOBS) as backend:
        backend.run(lambda ctx: [ctx.db.insert("old", {"number": number}) for number in range(1200)])
        backend.run(lambda ctx: ctx.db.insert("older", {}))

        async def begin() -> set[asyncio.Task[Any]]:
            before = asyncio.all_tasks()
            for table in ("old", "older"):
                await backend.server.deployer.delete_tables("", [table])
            for _ in range(steps):
                await asyncio.sleep(0)
            return asyncio.all_tasks() - before

        upkeep = backend.do(begin())
        backend.restart()

        assert all(task.done() for task in upkeep)
        backend.mutation(internal.jobs.record, {"text": "after"})
        assert backend.run(lambda ctx: [row["text"] for row in ctx.db.query("events")]) == ["after"]


def test_an_action_that_is_stopped_changes_nothing_any_more() -> None:
    """Not even in its `finally`: a server that is killed gives it no time for that."""
    with TestBackend(JOBS) as backend:
        request = FunctionRequest(component="", path="jobs:work_then_tell", args=b"{}", is_admin=True)
        begun: list[asyncio.Future[Any]] = []

        async def begin() -> None:
            begun.append(asyncio.ensure_future(backend.runtime.action(request)))
            for _ in range(10):
                await asyncio.sleep(0)

        backend.do(begin())
        assert backend.server.actions.running_count == 1
        backend.restart()

        assert backend.run(lambda ctx: ctx.db.query("events").collect()) == []


def test_a_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-1)


def test_an_identity_has_defaults_and_may_say_all_itself() -> None:
    with TestBackend(JOBS) as backend:
        for attributes in ({}, {"subject": "ann"}, {"tokenIdentifier": "https://id|bob"}):
            backend.with_identity(attributes).mutation(internal.jobs.record, {"text": "x"})
        found = backend.run(lambda ctx: [row["who"]["tokenIdentifier"] for row in ctx.db.query("events")])

    assert found == ["https://test.invalid|user", "https://test.invalid|ann", "https://id|bob"]


def test_a_folder_that_cannot_be_loaded_is_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "broken_app"
    folder.mkdir()
    (folder / "things.py").write_text("import nowhere_to_be_found\n")

    with pytest.raises(ConvexpyError, match="nowhere_to_be_found"), TestBackend(folder):
        pass
