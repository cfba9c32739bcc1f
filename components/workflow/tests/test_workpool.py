"""The workpool: items run so many at a time, are tried again, canceled, and tell of their end exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from convexpy_workflow import Workpool

from convexpy import ConvexpyError, components
from convexpy.testing import TestBackend

APP = Path(__file__).parent / "pool_app"
CANCELED = {"kind": "canceled"}


class Pool(TestBackend):
    """A deployment with the words of these tests."""

    def enqueue(
        self, kind: str, function: str, args: dict[str, Any] | None = None, pool: str = "workpool", **options: Any
    ) -> Any:
        options.setdefault("on_complete", "work:completed")
        asked = {"kind": kind, "function": function, "args": args or {}, "options": options, "pool": pool}
        return self.mutation("work:enqueue", asked)

    def results(self) -> list[Any]:
        return [row["result"] for row in self.query("work:results")]

    def counter(self, name: str) -> float:
        value: float = self.query("work:counter", {"name": name})
        return value

    def state(self, item: str) -> Any:
        return self.query("work:status", {"item": item})

    def rows(self, component: str = "workpool") -> list[Any]:
        return self.run(lambda ctx: ctx.db.query("items").collect(), component=component)


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(APP) as backend:
        yield backend


# --- items and their end


@pytest.mark.parametrize(
    ("kind", "function", "args", "value"),
    [
        ("mutation", "count", {"name": "a"}, 1),
        ("query", "look", {"text": "seen"}, "SEEN"),
        ("action", "attempt", {"name": "a"}, 1),
    ],
)
def test_each_kind_runs_once_and_tells_its_value(
    pool: Pool, kind: str, function: str, args: dict[str, Any], value: Any
) -> None:
    item = pool.enqueue(kind, function, args, context={"for": "you"})
    assert pool.state(item) == {"state": "pending", "previousAttempts": 0}
    pool.advance()

    assert pool.query("work:results") == [
        {"item": item, "result": {"kind": "success", "value": value}, "context": {"for": "you"}}
    ]
    assert pool.state(item) == {"state": "finished"} and pool.rows() == []


@pytest.mark.parametrize(("kind", "function"), [("mutation", "refuse"), ("query", "look")])
def test_a_failure_of_a_mutation_or_query_is_final(pool: Pool, kind: str, function: str) -> None:
    pool.enqueue(kind, function)
    pool.run_all_scheduled()

    (result,) = pool.results()
    assert result["kind"] == "failed"
    assert pool.counter("never") == 0, "what it wrote is gone"
    if kind == "mutation":
        assert result["error"] == "ValueError: it does not work" and "work.py" in result["traceback"]


def test_nobody_need_hear_of_it(pool: Pool) -> None:
    pool.enqueue("mutation", "count", {"name": "a"}, on_complete=None)
    pool.advance()

    assert pool.counter("a") == 1 and pool.results() == [] and pool.rows() == []


@pytest.mark.parametrize(
    ("excluded", "heard"), [(["success"], []), (["failed", "canceled"], [{"kind": "success", "value": 1}])]
)
def test_kinds_of_results_can_be_left_out(pool: Pool, excluded: list[str], heard: list[Any]) -> None:
    pool.enqueue("mutation", "count", {"name": "a"}, on_complete_exclude_kinds=excluded)
    pool.advance()

    assert pool.results() == heard


def test_a_filter_for_failures_fires_once_after_the_last_attempt_and_never_if_a_retry_succeeds(pool: Pool) -> None:
    for name, fails in (("mends", 1), ("hopeless", 9)):
        pool.enqueue(
            "action", "attempt", {"name": name, "fails": fails}, retry=True, on_complete_exclude_kinds=["success"]
        )
    pool.run_all_scheduled()

    assert [result["error"] for result in pool.results()] == ["RuntimeError: attempt 3 failed"]


def test_a_batch_is_one_transaction(pool: Pool) -> None:
    items = pool.enqueue("mutation_batch", "count", [{"name": "a"}, {"name": "b"}, {"name": "a"}])  # type: ignore[arg-type]
    assert len(set(items)) == 3
    pool.advance()

    assert (pool.counter("a"), pool.counter("b")) == (2, 1)
    assert pool.query("work:status_batch", {"items": items}) == [{"state": "finished"}] * 3


def test_only_actions_are_tried_again(pool: Pool) -> None:
    with pytest.raises(ConvexpyError, match=r"enqueue_mutation\(…\) has no option 'retry'"):
        pool.mutation(
            "work:enqueue", {"kind": "mutation", "function": "count", "args": {"name": "a"}, "options": {"retry": True}}
        )
    pool.advance()

    assert pool.counter("a") == 0


def test_an_action_enqueues_and_asks(pool: Pool) -> None:
    item, state = pool.action("work:enqueue_in_action", {"name": "a"})
    pool.advance()

    assert state == "pending" and pool.counter("a") == 1 and pool.state(item) == {"state": "finished"}


def test_an_item_waits_for_its_time(pool: Pool) -> None:
    pool.enqueue("mutation", "count", {"name": "later"}, run_after=60)
    pool.enqueue("mutation", "count", {"name": "then"}, run_at=pool.clock.now_ns() / 1e9 + 120)
    pool.advance(59)
    assert pool.counter("later") == 0
    pool.advance(2)
    assert (pool.counter("later"), pool.counter("then")) == (1, 0)
    pool.advance(60)

    assert pool.counter("then") == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"run_after": 1, "run_at": 1}, "run_after and run_at exclude each other"),
        ({"run_after": -1}, "run_after must be finite and not negative"),
        ({"run_at": "tomorrow"}, "run_at is an aware datetime or epoch seconds"),
    ],
)
def test_nonsense_is_refused(pool: Pool, options: dict[str, Any], error: str) -> None:
    with pytest.raises(ConvexpyError, match=error):
        pool.enqueue("mutation", "count", {"name": "a"}, **options)


def test_large_arguments_and_contexts_arrive_unchanged(pool: Pool) -> None:
    text = "x" * 3_000_000
    pool.enqueue("query", "look", {"text": text}, context=["y" * 700_000], on_complete="work:measured")
    pool.advance()

    assert pool.query("work:measures") == [[3_000_000, 700_000]]


# --- trying again


def test_a_failed_action_is_tried_again_with_growing_waits(pool: Pool) -> None:
    item = pool.enqueue("action", "attempt", {"name": "a", "fails": 2}, retry=True)
    pool.advance()
    waits = []
    for attempts in (1, 2):
        assert pool.counter("a") == attempts
        assert pool.state(item) == {"state": "pending", "previousAttempts": attempts}
        waits.append(0.0)
        while pool.counter("a") == attempts:
            pool.advance(0.25)
            waits[-1] += 0.25
    assert 5 <= waits[0] <= 15.25 and 10 <= waits[1] <= 30.25, "10 and 20 seconds, half to one and a half times"

    assert pool.results() == [{"kind": "success", "value": 3}] and pool.rows() == []


def test_the_last_attempts_failure_is_told(pool: Pool) -> None:
    pool.enqueue("action", "attempt", {"name": "a", "fails": 9}, retry={"attempts": 2, "initial": 1})
    pool.run_all_scheduled()

    assert [result["error"] for result in pool.results()] == ["RuntimeError: attempt 2 failed"]


def test_without_a_policy_there_is_one_attempt(pool: Pool) -> None:
    pool.enqueue("action", "attempt", {"name": "a", "fails": 1})
    pool.run_all_scheduled()

    assert pool.counter("a") == 1


@pytest.mark.parametrize("nested", [False, True])
def test_an_error_that_says_so_is_final(pool: Pool, nested: bool) -> None:
    pool.enqueue("action", "give_up", {"name": "a", "nested": nested}, retry=True)
    pool.run_all_scheduled()

    (result,) = pool.results()
    assert pool.counter("a") == 1 and result["error"] == "no such address" and result["data"]["data"] == {"code": 7}


# --- on_complete


def test_an_on_complete_that_raises_is_tried_again_and_the_work_is_not(pool: Pool) -> None:
    item = pool.enqueue("mutation", "count", {"name": "a"}, on_complete="work:raising")
    pool.advance(5)
    assert pool.counter("a") == 1 and pool.results() == [] and pool.state(item)["state"] == "pending"

    pool.run(lambda ctx: ctx.db.insert("mended", {}))
    pool.run_all_scheduled()

    assert pool.counter("a") == 1 and pool.results() == [{"kind": "success", "value": 1}] and pool.rows() == []


def test_an_item_whose_on_complete_fails_says_so(pool: Pool) -> None:
    """The work is done, and the item stays until the app has been told."""
    item = pool.enqueue("mutation", "count", {"name": "a"}, on_complete="work:raising")
    pool.advance(1)
    trouble = pool.state(item)["trouble"]
    assert trouble["attempts"] == 2 and trouble["nextAt"] == pool.clock.now_ms() + 500
    first, place, source = trouble["error"].splitlines()
    assert first.startswith("ValueError: ") and "pool_app/work.py:" in place and source.strip().startswith("raise ")

    pool.run(lambda ctx: ctx.db.insert("mended", {}))
    pool.push()
    pool.advance()  # no time passes
    assert pool.state(item) == {"state": "finished"}


# --- canceling


def test_a_canceled_item_never_begins(pool: Pool) -> None:
    item = pool.enqueue("mutation", "count", {"name": "a"})
    for _ in range(2):
        pool.mutation("work:cancel", {"item": item})
    pool.run_all_scheduled()

    assert pool.counter("a") == 0 and pool.results() == [CANCELED] and pool.rows() == []


def test_a_cancel_wins_over_a_retry_that_is_pending(pool: Pool) -> None:
    item = pool.enqueue("action", "attempt", {"name": "a", "fails": 9}, retry=True)
    pool.advance()
    pool.mutation("work:cancel", {"item": item})
    pool.run_all_scheduled()

    assert pool.counter("a") == 1 and pool.results() == [CANCELED]


@pytest.mark.parametrize(
    ("fails", "result"), [(False, {"kind": "success", "value": "done all the same"}), (True, CANCELED)]
)
def test_a_running_item_runs_to_its_end_but_is_not_tried_again(pool: Pool, fails: bool, result: Any) -> None:
    pool.enqueue("action", "cancel_itself", {"fails": fails}, retry=True)
    pool.run_all_scheduled()

    assert pool.results() == [result] and pool.rows() == []


@pytest.mark.parametrize("item", ["nonsense", ""])
def test_unknown_items_are_finished_and_cannot_be_canceled(pool: Pool, item: str) -> None:
    pool.mutation("work:cancel", {"item": item})

    assert pool.state(item) == {"state": "finished"}


def test_all_are_canceled_oldest_first_over_several_commits(pool: Pool) -> None:
    for _ in range(3):
        pool.enqueue("mutation_batch", "count", [{"name": "a"}] * 90, run_after=3600)  # type: ignore[arg-type]
    pool.mutation("work:cancel_all", {"options": {"limit": 150}})
    pool.advance(1)
    assert len(pool.rows()) == 120

    pool.mutation("work:cancel_all", {"options": {}})
    pool.advance(1)
    assert pool.rows() == [] and pool.results() == [CANCELED] * 270

    pool.advance(3700)
    assert pool.counter("a") == 0


def test_only_older_ones_are_canceled(pool: Pool) -> None:
    pool.enqueue("mutation", "count", {"name": "old"}, run_after=3600)
    pool.advance(10)
    now = pool.clock.now_ns() / 1e9
    pool.enqueue("mutation", "count", {"name": "new"}, run_after=3600)
    pool.mutation("work:cancel_all", {"options": {"before": now - 1}})
    pool.advance(3700)

    assert (pool.counter("old"), pool.counter("new")) == (0, 1)


# --- how many at once


def limit_of(pool: Pool, name: str) -> float:
    """As the scheduler's queue has it."""
    limits: dict[str, float] = pool.do(pool.runtime.run_system("queue_limits", {}))
    namespace = pool.run(lambda ctx: ctx._host.namespace, component=name)
    return limits[f"{namespace}:work"]


def test_what_the_code_says_is_in_force_with_the_next_item_and_a_change_while_it_runs_stays(pool: Pool) -> None:
    pool.enqueue("mutation", "count", {"name": "a"}, pool="narrow")
    pool.enqueue("mutation", "count", {"name": "a"})
    assert (limit_of(pool, "narrow"), limit_of(pool, "workpool")) == (2, 10)

    pool.mutation("work:resize", {"pool": "narrow", "most": 5})
    pool.enqueue("mutation", "count", {"name": "a"}, pool="narrow")

    assert limit_of(pool, "narrow") == 5


def test_a_paused_pool_goes_on_where_it_was(pool: Pool) -> None:
    pool.mutation("work:resize", {"pool": "workpool", "most": 0})
    pool.enqueue("mutation_batch", "count", [{"name": "a"}] * 5)  # type: ignore[arg-type]
    pool.advance(100)
    assert pool.counter("a") == 0

    pool.mutation("work:resize", {"pool": "workpool", "most": 1})
    pool.advance()

    assert pool.counter("a") == 5


@pytest.mark.parametrize("most", [-1, 1001, 2.5, "3", None, True])
def test_a_number_out_of_range_is_refused(pool: Pool, most: Any) -> None:
    with pytest.raises(ConvexpyError, match="max_parallelism is a whole number from 0"):
        pool.mutation("work:resize", {"pool": "workpool", "most": most})
    if most is not None:
        with pytest.raises(ValueError, match="max_parallelism is a whole number from 0"):
            Workpool(components.workpool, max_parallelism=most)


@pytest.mark.parametrize(("kind", "function"), [("action", "count"), ("mutation", "attempt"), ("query", "count")])
def test_a_function_of_another_kind_is_refused(pool: Pool, kind: str, function: str) -> None:
    """As one of the kind that was asked for it would make promises that it does not keep."""
    with pytest.raises(ConvexpyError, match=rf"work:{function} is a function of another kind: use enqueue_"):
        pool.enqueue(kind, function, {"name": "a"})


def test_pools_do_not_see_each_other(pool: Pool) -> None:
    pool.enqueue("mutation", "count", {"name": "a"}, pool="narrow", run_after=10)
    pool.mutation("work:cancel_all", {"options": {}})

    assert len(pool.rows("narrow")) == 1 and pool.rows("workpool") == []
    pool.advance(11)
    assert pool.counter("a") == 1


def test_items_survive_a_restart(pool: Pool) -> None:
    pool.enqueue("action", "attempt", {"name": "a", "fails": 1}, retry=True)
    pool.advance()
    pool.restart()
    pool.run_all_scheduled()

    assert pool.results() == [{"kind": "success", "value": 2}]


def test_an_outcome_of_an_earlier_attempt_is_dropped(pool: Pool) -> None:
    """It would be the second one of that attempt."""
    item = pool.enqueue("action", "attempt", {"name": "a", "fails": 1}, retry=True)
    [first] = pool.rows()
    pool.advance()
    context = {"item": item, "order": {"on_complete": "never called"}}
    again = {"context": context, "outcome": {"kind": "success", "value": 7}, "job_id": first["job"]}
    pool.run(lambda ctx: ctx.run_mutation("work:completed", again), component="workpool")

    assert pool.state(item) == {"state": "pending", "previousAttempts": 1}
    pool.run_all_scheduled()
    assert pool.results() == [{"kind": "success", "value": 2}]
