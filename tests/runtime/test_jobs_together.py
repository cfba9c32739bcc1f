"""Scheduled functions of one lane that complete together: one transaction, and each as if it were alone in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convexpy import ConvexpyError, MutationCtx, internal
from convexpy.testing import TestBackend

APP = Path(__file__).parent / "jobs_app"
Row = dict[str, Any]


@pytest.fixture
def jobs() -> Iterator[TestBackend]:
    with TestBackend(APP) as backend:
        yield backend


def schedule(jobs: TestBackend, *functions: tuple[Any, Row], lane: str = "one") -> list[str]:
    """Schedule functions for the same instant, and keep their ids where functions can look them up."""

    def do(ctx: MutationCtx) -> list[str]:
        ids = []
        for number, (function, args) in enumerate(functions):
            job = ctx.scheduler.run_after(
                1,
                function,
                args,
                lane=lane,
                on_complete=internal.jobs.complete_together,
                context=number,
                completes_together=True,
            )
            ctx.db.insert("jobs_of_lanes", {"lane": lane, "job": job})
            ids.append(job)
        return ids

    return jobs.run(do)


def rows(jobs: TestBackend, table: str) -> list[Row]:
    return jobs.run(lambda ctx: ctx.db.query(table).collect())


def texts(jobs: TestBackend) -> list[str]:
    return [row["text"] for row in rows(jobs, "events")]


def runs(jobs: TestBackend) -> int:
    return sum(call.kind == "job" for call in jobs.calls)


def say(text: str) -> tuple[Any, Row]:
    return internal.jobs.record, {"text": text}


def test_those_that_are_due_at_once_run_in_one_transaction_and_complete_in_one_call(jobs: TestBackend) -> None:
    ids = schedule(jobs, say("a"), say("b"), say("c"))
    jobs.advance(1)
    assert texts(jobs) == ["a", "b", "c", "scheduled by a completion"]
    (delivery,) = rows(jobs, "deliveries")
    assert [completion["context"] for completion in delivery["completions"]] == [0, 1, 2]
    assert [completion["job_id"] for completion in delivery["completions"]] == ids
    assert [completion["outcome"]["value"] for completion in delivery["completions"]] == ["A", "B", "C"]
    assert runs(jobs) == 2, "the three together, and what their completion has scheduled"
    assert jobs.run(lambda ctx: [ctx.db.system.get(job) for job in ids]) == [None] * 3


def test_one_alone_is_delivered_as_ever(jobs: TestBackend) -> None:
    (job,) = schedule(jobs, say("a"))
    jobs.advance(1)
    (delivery,) = rows(jobs, "deliveries")
    assert delivery["context"] == 0 and delivery["job_id"] == job and "completions" not in delivery


def test_lanes_do_not_mix(jobs: TestBackend) -> None:
    schedule(jobs, say("the tables are there"))  # else the lanes race to create them, and a loser runs alone
    jobs.advance(1)
    schedule(jobs, say("a"), say("b"), lane="one")
    schedule(jobs, say("c"), say("d"), lane="two")
    jobs.advance(1)
    together = [row["completions"] for row in rows(jobs, "deliveries")[1:]]
    values = [[completion["outcome"]["value"] for completion in completions] for completions in together]
    assert sorted(values) == [["A", "B"], ["C", "D"]]


def test_one_that_fails_takes_only_its_own_writes_and_jobs_along(jobs: TestBackend) -> None:
    schedule(jobs, say("a"), (internal.jobs.record_then_fail, {"text": "b"}), say("c"))
    jobs.advance(1)
    assert texts(jobs) == ["a", "c", "scheduled by a completion"]
    (delivery,) = rows(jobs, "deliveries")
    assert [completion["outcome"]["kind"] for completion in delivery["completions"]] == ["success", "failed", "success"]


def test_each_has_only_its_own_lines_in_its_outcome(jobs: TestBackend) -> None:
    schedule(jobs, (internal.jobs.speak, {"lines": 1}), say("silent"), (internal.jobs.speak, {"lines": 2}))
    jobs.advance(1)
    (delivery,) = rows(jobs, "deliveries")
    lines = [completion["outcome"].get("log_lines", []) for completion in delivery["completions"]]
    assert [len(said) for said in lines] == [3, 0, 4]


def test_if_the_common_call_raises_each_is_delivered_by_itself(jobs: TestBackend) -> None:
    jobs.run(lambda ctx: ctx.db.insert("broken", {}))
    schedule(jobs, say("a"), say("b"))
    jobs.advance(1)
    assert [delivery["context"] for delivery in rows(jobs, "deliveries")] == [0, 1]
    assert texts(jobs) == ["a", "b", "scheduled by a completion", "scheduled by a completion"]


def test_one_that_has_run_cannot_be_canceled_and_one_that_has_not_does_not_run(jobs: TestBackend) -> None:
    schedule(jobs, say("a"), (internal.jobs.cancel_all_in_lane, {"lane": "one"}), say("never"))
    jobs.advance(1)
    jobs.run_all_scheduled()
    assert "a" in texts(jobs) and "never" not in texts(jobs)
    outcomes = {}
    for delivery in rows(jobs, "deliveries"):
        for completion in delivery.get("completions", [delivery]):
            assert completion["context"] not in outcomes, "delivered twice"
            outcomes[completion["context"]] = completion["outcome"]["kind"]
    assert outcomes == {0: "success", 1: "success", 2: "canceled"}


def test_each_has_bounds_of_its_own(jobs: TestBackend) -> None:
    with TestBackend(APP, limits={"documents_written": 100}) as narrow:
        schedule(narrow, *[(internal.jobs.record_many, {"count": count}) for count in (9, 100, 101, 5)])
        narrow.advance(1)
        narrow.run_all_scheduled()
        outcomes = {}
        for delivery in rows(narrow, "deliveries"):
            for completion in delivery.get("completions", [delivery]):
                outcomes[completion["context"]] = completion["outcome"]["kind"]
        assert outcomes == {0: "success", 1: "success", 2: "failed", 3: "success"}


def test_a_transaction_that_has_grown_takes_no_further_one(jobs: TestBackend) -> None:
    with TestBackend(APP, limits={"documents_written": 100}) as narrow:
        schedule(narrow, *[(internal.jobs.record_many, {"count": 50}) for _ in range(3)])
        narrow.advance(1)
        assert len(rows(narrow, "events")) == 3 * 51
        assert [delivery.get("context") for delivery in rows(narrow, "deliveries")] == [0, 1, 2]


def test_lanes_that_race_over_one_document_each_take_effect_once(jobs: TestBackend) -> None:
    for lane in ("one", "two", "three"):
        schedule(jobs, *[(internal.jobs.increment, {})] * 5, lane=lane)
    jobs.advance(1)
    jobs.run_all_scheduled()
    assert [row["value"] for row in rows(jobs, "counters")] == [15]
    delivered = sum(len(row.get("completions", [row])) for row in rows(jobs, "deliveries"))
    assert delivered == 15


def test_a_queue_with_a_limit_runs_no_more_at_once_than_that(jobs: TestBackend) -> None:
    def do(ctx: MutationCtx) -> None:
        ctx.scheduler.set_queue_limit("narrow", 1)
        for number in range(3):
            ctx.scheduler.run_after(
                1,
                internal.jobs.record,
                {"text": f"{number}"},
                lane="one",
                queue="narrow",
                on_complete=internal.jobs.complete_together,
                context=number,
                completes_together=True,
            )

    jobs.run(do)
    jobs.advance(1)
    jobs.run_all_scheduled()
    assert [delivery["context"] for delivery in rows(jobs, "deliveries")] == [0, 1, 2]


@pytest.mark.parametrize("options", [{"lane": "one"}, {"on_complete": internal.jobs.complete_together}])
def test_it_is_about_completions_in_a_lane(jobs: TestBackend, options: Row) -> None:
    with pytest.raises(ConvexpyError, match="needs on_complete and a lane"):
        jobs.run(
            lambda ctx: ctx.scheduler.run_after(
                0, internal.jobs.record, {"text": ""}, completes_together=True, **options
            )
        )
