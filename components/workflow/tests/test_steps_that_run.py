"""Steps on the real runtime: what they return, how they fail, how they are tried again, how large they may be."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from convexpy_workflow import jobs
from convexpy_workflow.replay import is_same_value
from convexpy_workflow.warm import warm_runs
from convexpy_workflow.wave_feeder import WaveFeeder
from flow_deployment import FlowDeployment

from convexpy import ConvexpyError, Int64

KINDS = ("query", "mutation", "action")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        -0.0,
        1.5,
        Int64(7),
        Int64(-(2**63)),
        "ü\x00",
        b"\x00\xff",
        [Int64(1), b"", []],
        {"a": {"b": [Int64(3), b"x", 1.0, None]}},
    ],
    ids=repr,
)
def test_values_come_back_as_they_went(deployment: FlowDeployment, value: Any) -> None:
    """As argument and as result, of a query, a mutation and an action, scheduled and inline."""
    results = deployment.result("echoes", {"value": value})

    assert len(results) == 6
    assert all(is_same_value(result, value) for result in results), results


def test_replay_gives_back_the_same_values(deployment: FlowDeployment) -> None:
    """After each restart the handler runs again over its journal, so values come out of rows, not out of memory."""
    value = {"large": [Int64(2**62), b"\x00\xff"], "number": 1, "text": "x" * 20_000}
    run = deployment.start("echoes", {"value": value})
    for _ in range(6):
        restart_without_memory(deployment)
        deployment.advance()

    results = deployment.status(run)["result"]
    assert results == [value] * 6
    assert all(type(result["large"][0]) is Int64 and type(result["large"][1]) is bytes for result in results)


def restart_without_memory(deployment: FlowDeployment) -> None:
    warm_runs.clear()
    deployment.restart()


@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_step_raises_at_its_await_and_can_be_caught(deployment: FlowDeployment, kind: str) -> None:
    texts = {
        "query": "ValueError: no query",
        "mutation": 'ConvexError: {"code":"broke","limit":3}',
        "action": "RuntimeError: no action",
    }
    function = f"work:fail_{kind}"

    position, name, text, data, lost = deployment.result("catches", {"kind": kind, "function": function})

    assert (position, name, text) == (0, function, texts[kind])
    assert data == ({"code": "broke", "limit": 3} if kind == "mutation" else None)
    assert lost == 0  # what the failed mutation wrote is gone
    [failed, _] = deployment.query("flows:steps", {"run": deployment.rows("workflows")[0]["_id"]})["page"]
    assert failed["runResult"]["kind"] == "failed"
    assert f"in {function.partition(':')[2]}" in failed["runResult"]["traceback"].replace("at ", "in ")


def test_a_function_that_is_not_there_fails_at_its_await(deployment: FlowDeployment) -> None:
    result = deployment.result("catches", {"kind": "mutation", "function": "work:nothing"})
    assert "work:nothing" in result[2]


def test_gather_runs_its_steps_side_by_side(deployment: FlowDeployment) -> None:
    run = deployment.start("gathers", {"names": ["a", "b", "b"]})
    assert len(deployment.status(run)["running"]) == 3

    deployment.advance()

    first, *rest = deployment.status(run)["result"]
    assert (first, sorted(rest)) == (1, [1, 2])


def test_a_step_that_ran_beside_the_winner_of_a_race_is_done_all_the_same(deployment: FlowDeployment) -> None:
    """Its function has run, and what it did stays; so its row says what came of it, though the handler gave it up. A
    replay gives it up again."""
    run = deployment.start("races_mutations")
    deployment.advance()
    restart_without_memory(deployment)
    deployment.run_all_scheduled()

    assert deployment.status(run) == {"type": "completed", "result": ["1 done", "1 given up"]}
    steps = deployment.query("flows:steps", {"run": run})["page"]
    done = [step for step in steps[:2] if (step["runResult"] or {}).get("kind") == "success"]
    assert deployment.counter("spoke") == len(done) == 2
    assert [line["text"] for step in steps for line in step["logs"]] == ["one", "one again", "two", "two again"]
    assert ["withdrawn" in row for row in deployment.rows("steps")] == [False, True, False]


def test_what_a_given_up_mutation_did_is_known_even_if_the_first_wave_after_it_failed(
    deployment: FlowDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then each of the two outcomes comes again in a transaction of its own, the second when nobody waits for it."""
    run = deployment.start("races_mutations")
    advance, failures = WaveFeeder.advance, [1, 2, 3]

    def fail_at_first(*args: Any, **options: Any) -> None:
        if failures:
            failures.pop()
            raise RuntimeError("the wave is broken")
        advance(*args, **options)

    monkeypatch.setattr(WaveFeeder, "advance", fail_at_first)
    deployment.run_all_scheduled()

    assert failures == []
    assert deployment.status(run)["type"] == "completed"
    steps = deployment.query("flows:steps", {"run": run})["page"]
    assert [step["runResult"]["kind"] for step in steps] == ["success"] * 3
    assert deployment.counter("spoke") == 2
    assert [line["text"] for step in steps for line in step["logs"]] == ["one", "one again", "two", "two again"]


def test_an_inline_step_that_is_given_up_before_its_turn_never_runs(deployment: FlowDeployment) -> None:
    """Its row says canceled, so what it would have done must not be there."""
    assert deployment.result("races_inline") == 1

    assert (deployment.counter("winner"), deployment.counter("loser")) == (1, 0)
    assert [step["state"] for step in deployment.rows("steps")] == ["done", "canceled", "done"]


def test_an_action_is_tried_again_after_its_back_off(deployment: FlowDeployment) -> None:
    args = {"function": "work:work_at_last", "args": {"attempts": 3}, "retry": True}
    run = deployment.start("retries", args)
    deployment.advance()
    [running] = deployment.status(run)["running"]
    assert (running["attempts"], deployment.counter("attempts")) == (1, 1)
    deployment.advance(0.4)  # the first wait is one second, spread over 0.5 to 1.5
    assert deployment.counter("attempts") == 1

    deployment.advance(5)

    assert deployment.status(run) == {"type": "completed", "result": "done at 3"}


def test_without_a_policy_one_attempt_is_all(deployment: FlowDeployment) -> None:
    run = deployment.start("retries", {"function": "work:fail_action", "args": {}, "retry": False})
    deployment.run_all_scheduled()

    assert deployment.status(run)["error"] == "StepFailed: Step 0 (work:fail_action) failed: RuntimeError: no action"
    assert deployment.counter("attempts") == 1


def test_a_policy_ends_after_its_last_attempt(deployment: FlowDeployment) -> None:
    run = deployment.start("retries", {"function": "work:fail_action", "args": {}, "retry": True})
    deployment.run_all_scheduled()

    assert deployment.status(run)["type"] == "failed"
    assert deployment.counter("attempts") == 3


def test_a_non_retryable_error_ends_at_once(deployment: FlowDeployment) -> None:
    run = deployment.start("retries", {"function": "work:fail_for_good", "args": {}, "retry": True})
    deployment.run_all_scheduled()

    assert deployment.status(run)["error"] == "StepFailed: Step 0 (work:fail_for_good) failed: bad key"
    assert deployment.counter("attempts") == 1


def test_an_action_whose_server_was_lost_is_tried_again_by_its_policy(deployment: FlowDeployment) -> None:
    args = {"function": "work:take_time", "args": {"seconds": 10}, "retry": True}
    run = deployment.start("retries", args)
    deployment.advance(1)
    deployment.restart()
    deployment.run_all_scheduled()

    assert deployment.status(run) == {"type": "completed", "result": "10 s"}
    assert deployment.counter("took time") == 1


def test_an_action_whose_server_was_lost_has_failed_without_a_policy(deployment: FlowDeployment) -> None:
    run = deployment.start("slow_then_more")
    deployment.advance(1)
    deployment.restart()
    deployment.run_all_scheduled()

    assert "Transient error while executing action" in deployment.status(run)["error"]
    assert deployment.counter("took time") == 0


@pytest.mark.parametrize(("limit", "seconds"), [(1, 4), (2, 2), (4, 1)])
def test_a_managers_queue_bounds_how_many_steps_run_at_once(
    deployment: FlowDeployment, limit: int, seconds: int
) -> None:
    deployment.mutation("flows:limit_narrow", {"limit": limit})

    assert deployment.result("gathers_in_a_queue", {"count": 4}) == seconds


def test_many_steps_start_in_one_wave(deployment: FlowDeployment) -> None:
    assert deployment.result("floods", {"count": 500}) == "500 ran; no errors"


@pytest.mark.parametrize("count", [1_001, 4_500])
def test_more_steps_than_one_wave_can_start_are_a_clear_error(deployment: FlowDeployment, count: int) -> None:
    result = deployment.result("floods", {"count": count})
    assert result.startswith("999 ran; Step 999 (work:echo_mutation) failed: Too many steps at once: ")
    assert "Await some of them before you start more" in result


@pytest.mark.parametrize("size", [0, 5_000, 300_000, 799_000])
def test_large_values_lie_beside_their_rows(deployment: FlowDeployment, size: int) -> None:
    """Also when a step's argument and its result together would not fit one document."""
    assert deployment.result("passes", {"large": bytes(size)}) == bytes(size)

    [run] = deployment.rows("workflows")
    assert ("args_aside" in run) == (size > 1_024) == ("result_aside" in run)
    assert all(("args_aside" in step) == (size > 16_384) for step in deployment.rows("steps"))


def test_a_result_that_is_too_large_fails_its_step(deployment: FlowDeployment) -> None:
    assert deployment.result("takes_bytes", {"sizes": [800_000, 820_000, 10]}) == [
        800_000,
        "ValueTooLarge: Step return value too large (820002 bytes). Maximum is 819200 bytes. Store ",
        10,
    ]
    assert deployment.counter("gave") == 3  # the mutation itself is not undone


def test_arguments_that_are_too_large_are_refused_at_the_start(deployment: FlowDeployment) -> None:
    with pytest.raises(ConvexpyError, match="Workflow arguments too large"):
        deployment.start("keeps", {"large": bytes(900_000)})


def test_a_handler_that_waits_for_nothing_is_stuck_with_the_place(deployment: FlowDeployment) -> None:
    run = deployment.start("stalls")

    status = deployment.status(run)
    assert status["type"] == "stuck"
    assert "flows.py" in status["reason"]
    assert "awaiting" in status["reason"]


def test_a_handler_that_never_rests_is_its_starters_error(deployment: FlowDeployment) -> None:
    with pytest.raises(ConvexpyError, match="The handler did not come to rest within 250000 turns"):
        deployment.start("spins", {"after": 0})
    assert deployment.rows("workflows") == []


def test_a_handler_that_never_rests_after_a_step_is_stuck_and_the_step_stays_done(deployment: FlowDeployment) -> None:
    run = deployment.start("spins", {"after": 1})
    deployment.advance()

    status = deployment.status(run)
    assert status["type"] == "stuck"
    assert "did not come to rest" in status["reason"]
    assert deployment.counter("before spinning") == 1
    assert [step["state"] for step in deployment.rows("steps")] == ["done"]


@pytest.mark.parametrize("depth", [12, 13])
def test_nested_values_have_a_bound(deployment: FlowDeployment, depth: int) -> None:
    value: Any = 1.0
    for _ in range(depth - 2):  # the arguments' object and the field's value are two levels
        value = [value]

    if depth == 12:
        assert deployment.result("echoes", {"value": [value]})[-1] == [value]
    else:
        with pytest.raises(ConvexpyError, match=r"Workflow arguments too nested\. Maximum is 12 levels\."):
            deployment.start("echoes", {"value": [value]})


def test_an_inline_step_may_be_bounded(deployment: FlowDeployment) -> None:
    """Then it may use so much of its wave's transaction; what goes beyond is its own failure, and takes its writes."""
    run = deployment.start("bounds", {"limits": {"documents_written": 1}, "inline": True})
    assert deployment.status(run) == {"type": "completed", "result": 1}

    run = deployment.start("bounds", {"limits": {"documents_written": 0}, "inline": True})
    status = deployment.status(run)
    assert status["type"] == "completed" and status["result"].startswith("LimitExceeded: Too many writes")
    assert deployment.counter("bounded") == 1


def test_only_an_inline_step_may_be_bounded(deployment: FlowDeployment) -> None:
    run = deployment.start("bounds", {"limits": {"documents_written": 1}, "inline": False})
    error = "ValueError: Cannot set transaction limits for non-inline functions."
    assert deployment.status(run) == {"type": "failed", "error": error}


def test_a_timer_that_is_set_later_and_due_earlier_fires_first(deployment: FlowDeployment) -> None:
    assert deployment.result("sleeps_in_turn", {"outer": 1000, "inner": 5}) == [6, 1000]


def test_a_timer_may_lie_further_ahead_than_the_scheduler_takes(
    deployment: FlowDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reached by several wake-ups, none of them too far ahead."""
    assert timedelta(days=5 * 365) / timedelta(milliseconds=1) > jobs.WAKE_AHEAD_MS_MAX
    monkeypatch.setattr(jobs, "WAKE_AHEAD_MS_MAX", 100_000)
    run = deployment.start("sleeps_in_turn", {"outer": 1000, "inner": 1})
    assert deployment.rows("workflows")[0]["wake_at_ms"] - deployment.rows("workflows")[0]["now_ms"] == 100_000
    deployment.run_all_scheduled()

    assert deployment.status(run) == {"type": "completed", "result": [2, 1000]}
