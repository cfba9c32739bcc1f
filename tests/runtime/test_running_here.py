"""What a completion would schedule for right now may run in its own transaction: as if it had been scheduled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convexpy import MutationCtx, internal
from convexpy.testing import TestBackend

APP = Path(__file__).parent / "jobs_app"


@pytest.fixture
def jobs() -> Iterator[TestBackend]:
    with TestBackend(APP) as backend:
        yield backend


def complete_with(jobs: TestBackend, *following: tuple[str, dict[str, Any]], first: Any = internal.jobs.record) -> None:
    """Schedule a function whose completion wants others to follow, and let it be done."""

    def do(ctx: MutationCtx) -> None:
        context = [[name, args] for name, args in following]
        args: dict[str, Any] = {"text": "first"} if first is internal.jobs.record else {"lines": 1}
        ctx.scheduler.run_after(0, first, args, on_complete=internal.jobs.go_on, context=context)

    jobs.run(do)
    jobs.run_all_scheduled()


def rows(jobs: TestBackend, table: str) -> list[dict[str, Any]]:
    return jobs.run(lambda ctx: ctx.db.query(table).collect())


def came(jobs: TestBackend) -> list[Any]:
    [row] = rows(jobs, "came")
    return list(row["outcomes"])


def texts(jobs: TestBackend) -> list[str]:
    return [row["text"] for row in rows(jobs, "events")]


def say(text: str) -> tuple[str, dict[str, Any]]:
    return "record", {"text": text}


def test_they_run_in_order_in_the_same_transaction(jobs: TestBackend) -> None:
    complete_with(jobs, say("a"), ("count_events", {}), say("b"))

    assert came(jobs) == ["A", 2, "B"]
    assert texts(jobs) == ["first", "a", "b"]
    assert sum(call.kind == "job" for call in jobs.calls) == 1
    assert rows(jobs, "came")[0]["is_own"], "the completion still belongs to its own job afterwards"


def test_one_that_fails_takes_its_own_writes_and_jobs_along(jobs: TestBackend) -> None:
    complete_with(jobs, say("a"), ("record_then_fail", {"text": "b"}), say("c"))

    assert came(jobs) == ["A", "failed", "C"]
    assert texts(jobs) == ["first", "a", "c"]


def test_what_they_print_is_in_the_log_once(jobs: TestBackend) -> None:
    complete_with(jobs, ("speak", {"lines": 2}), ("speak", {"lines": 1, "is_failing": True}))

    [call] = [call for call in jobs.calls if call.kind == "job"]
    assert [line for line in call.log_lines if line.startswith("[LOG] line")] == [
        "[LOG] line 0",
        "[LOG] line 1",
        "[LOG] line 0",
    ]
    assert sum("after speaking" in line for line in call.log_lines) == 1


def test_each_has_bounds_of_its_own_and_so_has_who_asked() -> None:
    with TestBackend(APP, limits={"documents_written": 100}) as narrow:
        complete_with(narrow, ("record_many", {"count": 3}), ("record_many", {"count": 101}))

        assert came(narrow) == [3, "failed"]
        assert len(texts(narrow)) == 1 + 3


def test_a_transaction_that_has_grown_has_no_room(jobs: TestBackend) -> None:
    with TestBackend(APP, limits={"documents_written": 100}) as narrow:
        complete_with(narrow, ("record_many", {"count": 50}), say("later"))

        assert came(narrow) == [50, None]
        assert texts(narrow)[-1] == "later"


def test_there_is_room_for_so_many_functions(jobs: TestBackend) -> None:
    with TestBackend(APP, limits={"functions_together": 3}) as narrow:
        complete_with(narrow, *[say(f"{number}") for number in range(5)])

        assert came(narrow) == ["0", "1", None, None, None]
        assert texts(narrow) == ["first", "0", "1", "2", "3", "4"]


def test_a_completion_that_failed_with_others_is_tried_again_without(jobs: TestBackend) -> None:
    """What has run here went with it, and runs once in the end."""
    jobs.run(lambda ctx: ctx.db.insert("broken", {}))
    complete_with(jobs, say("a"))

    assert came(jobs) == [None]
    assert texts(jobs) == ["first", "a"]


def test_one_that_loses_a_race_runs_them_one_by_one(jobs: TestBackend) -> None:
    complete_with(jobs, ("increment", {}))  # the tables are there

    def do(ctx: MutationCtx) -> None:
        for _ in range(4):
            context = [["increment", {}], ["increment", {}]]
            ctx.scheduler.run_after(0, internal.jobs.increment, {}, on_complete=internal.jobs.go_on, context=context)

    jobs.run(do)
    jobs.run_all_scheduled()

    assert [row["value"] for row in rows(jobs, "counters")] == [1 + 12]
    counts = [len(row["outcomes"]) for row in rows(jobs, "came")]
    assert counts == [1, 2, 2, 2, 2]
    assert jobs.runtime.conflicts > 0


def test_a_completion_of_an_action_has_room_too(jobs: TestBackend) -> None:
    complete_with(jobs, say("a"), say("b"), first=internal.jobs.speak_in_action)

    assert came(jobs) == ["A", "B"]


def test_one_that_cancels_everything_does_not_cancel_what_it_runs_in(jobs: TestBackend) -> None:
    complete_with(jobs, say("a"), ("cancel_itself", {}), say("b"))

    assert came(jobs) == ["A", None, "B"]
    assert texts(jobs) == ["first", "a", "b"]


def test_a_mutation_that_a_client_has_called_has_none(jobs: TestBackend) -> None:
    """Its caller waits for what it asked for, and for nothing else."""
    assert jobs.run(lambda ctx: ctx.scheduler.run_here(internal.jobs.record, {"text": "a"})) is None
    assert rows(jobs, "events") == []


def test_an_action_cannot_run_here(jobs: TestBackend) -> None:
    def do(ctx: MutationCtx) -> None:
        context = [["speak_in_action", {"lines": 1}]]
        ctx.scheduler.run_after(
            0, internal.jobs.record, {"text": "a"}, on_complete=internal.jobs.go_on, context=context
        )

    jobs.run(do)
    jobs.advance(0)

    [call] = [call for call in jobs.calls if call.kind == "job"]
    assert any("as Mutation, but it is defined as Action" in line for line in call.log_lines), call.log_lines


def test_a_function_that_uses_what_it_must_keep_clear_of_is_taken_back(jobs: TestBackend) -> None:
    """With what it has written, printed and scheduled. It is remembered, so it is not tried in vain again."""
    complete_with(jobs, say("a"), ("use_the_app", {"text": "b"}), ("use_the_app", {"text": "c"}))

    assert came(jobs) == ["A", None, None]
    assert texts(jobs) == ["first", "a", "b", "c"]
    lines = [line for call in jobs.calls for line in call.log_lines if "using" in line]
    assert sorted(lines) == ["[LOG] using b", "[LOG] using c"]
