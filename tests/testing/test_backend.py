"""The test backend keeps what it promises to those who test with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from convexpy import ConvexpyError, MutationCtx, internal
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
