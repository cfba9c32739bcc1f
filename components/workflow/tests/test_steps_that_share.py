"""Steps that share a transaction, since nothing has to be waited for between them: all as if each had its own."""

from __future__ import annotations

from typing import Any

import pytest
from convexpy_workflow.warm import warm_runs
from flow_deployment import FlowDeployment
from handler_memory import ALONE

LIMITS: list[dict[str, int]] = [{}, ALONE]


def steps_of(deployment: FlowDeployment, run: str) -> list[tuple[Any, ...]]:
    """What the journal says of each step."""
    page = deployment.query("flows:steps", {"run": run})["page"]
    return [(step["stepNumber"], step["name"], step["args"], step["runResult"], step["logs"]) for step in page]


def both_ways(flow: str, args: dict[str, Any] | None = None, **limits: int) -> tuple[Any, int]:
    """Run a workflow with steps that share and with steps that do not: what it left behind, the same both times, and
    how many commits it took less."""
    seen, commits = [], []
    for own in LIMITS:
        warm_runs.clear()
        with FlowDeployment(limits=limits | own) as deployment:
            run = deployment.start_path(flow, args, notes_end=True)
            noted = deployment.watch_commits()
            deployment.run_all_scheduled()
            ends = [(row["context"], row["result"]) for row in deployment.app_rows("ends")]
            counters = sorted((row["name"], row["value"]) for row in deployment.app_rows("counters"))
            seen.append((deployment.status(run), steps_of(deployment, run), ends, counters))
            commits.append(len(noted))
    assert seen[0] == seen[1]
    return seen[0], commits[1] - commits[0]


def test_a_chain_of_short_steps_is_one_commit() -> None:
    (status, steps, ends, _), saved = both_ways("flows:sums", {"amounts": [1] * 10})

    assert status == {"type": "completed", "result": 10}
    assert len(steps) == 10 and len(ends) == 1
    assert saved == 9


def test_a_long_chain_is_cut_into_transactions_of_bounded_size(deployment: FlowDeployment) -> None:
    deployment.start("sums", {"amounts": [1] * 200})
    commits = deployment.watch_commits()
    deployment.run_all_scheduled()

    assert deployment.counter("sum") == 200
    assert len(commits) == -(-200 // 32)


def test_a_step_that_fails_takes_only_its_own_writes_along() -> None:
    (status, steps, _, counters), saved = both_ways("shared:goes_on_after_failures", {"rounds": 3})

    assert status["result"] == ['ConvexError: {"code":"broke","limit":3}'] * 3
    assert [step[3]["kind"] for step in steps] == ["success", "failed"] * 3
    assert counters == [("kept", 3)]
    assert saved == 5


@pytest.mark.parametrize("wrong", ["nowhere", "mutation as query", "query as mutation", "action as mutation"])
def test_a_reference_that_names_no_such_function_fails_or_runs_as_ever(wrong: str) -> None:
    """After a step, where the next one might share its transaction."""
    (status, _, _, counters), _ = both_ways("shared:takes_a_wrong_turn", {"wrong": wrong})

    assert status["result"].startswith("StepFailed") or wrong == "action as mutation"
    assert counters == [("before", 1)]


def test_each_step_has_bounds_of_its_own() -> None:
    """Three steps that each write nearly all that a function may, and one that writes too much."""
    (status, _, _, _), _ = both_ways("shared:writes_much", {"counts": [90, 90, 101, 90]}, documents_written=100)

    assert status["result"] == [True, True, False, True]


def test_a_step_that_looks_at_its_own_run_sees_all_that_was_before_it() -> None:
    """It would see a journal that is not written yet, so it waits until that is."""
    (status, _, _, _), _ = both_ways("shared:watches_itself")

    assert status["result"] == [
        {"done": [0], "running": [1]},
        {"done": [0, 1, 2], "running": [3]},
        {"done": [0, 1, 2, 3, 4], "running": [5]},
    ]


def test_a_step_that_ends_its_own_run_is_its_last_one() -> None:
    (status, steps, ends, counters), _ = both_ways("flows:ends_itself")

    assert status == {"type": "canceled"}
    assert ("after the end", 1) not in counters
    assert len(ends) == 1 and steps[-1][3]["kind"] == "canceled"


def test_steps_of_a_queue_are_counted_one_by_one() -> None:
    """Its limit is the scheduler's, so each step of it goes through the scheduler."""
    (status, _, _, _), saved = both_ways("shared:queued", {"rounds": 4})

    assert status["type"] == "completed"
    assert saved == 0


def test_what_comes_after_an_action_shares_the_commit_of_its_outcome() -> None:
    (status, steps, _, _), saved = both_ways("shared:acts_between")

    assert status["type"] == "completed"
    assert [name for _, name, *_ in steps] == ["work:add", "work:take_time", "work:add", "work:add"]
    assert saved == 2  # the two after the action are in its completion


def test_steps_side_by_side_that_share_end_in_the_order_of_their_issue() -> None:
    (status, _, _, _), _ = both_ways("shared:fans_out_after_a_step", {"width": 5})

    assert status["result"] == [0, 1, 2, 3, 4]


def test_a_handler_that_is_stuck_keeps_what_its_steps_have_done(deployment: FlowDeployment) -> None:
    """The second step's outcome is what it cannot take; both have run once, and the journal has both."""
    run = deployment.start_path("shared:spins_after", {"rounds": 2})
    deployment.advance(2)

    status = deployment.status(run)
    assert status["type"] == "stuck", status
    assert deployment.counter("before the spin") == 2
    outcomes = [step[3] for step in steps_of(deployment, run)]
    assert [outcome["kind"] for outcome in outcomes] == ["success", "success"]


@pytest.mark.parametrize("limits", LIMITS)
def test_what_a_stuck_handler_had_given_up_stays_given_up(limits: dict[str, int]) -> None:
    warm_runs.clear()
    with FlowDeployment(limits=limits) as deployment:
        run = deployment.start_path("shared:spins_beside_what_it_gave_up")
        deployment.advance(2)

        assert deployment.status(run)["type"] == "stuck"
        kinds = [step[3]["kind"] for step in steps_of(deployment, run)]
        assert kinds == ["success", "success", "canceled", "success"]
        assert [deployment.counter(f"task {n}") for n in range(3)] == [1, 0, 1]


@pytest.mark.parametrize("limits", LIMITS)
def test_racing_chains_each_take_effect_once(limits: dict[str, int]) -> None:
    warm_runs.clear()
    with FlowDeployment(limits=limits) as deployment:
        for _ in range(6):
            deployment.start("sums", {"amounts": [1, 10, 100]}, notes_end=True)
        deployment.run_all_scheduled()

        assert deployment.runtime.conflicts > 0
        assert deployment.counter("sum") == 666
        assert len(deployment.app_rows("ends")) == 6
