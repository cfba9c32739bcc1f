"""Runs that end oddly: exceptions that can hardly be told, and runs that end themselves. None of them hangs."""

from __future__ import annotations

import pytest
from convexpy_workflow.retries import to_milliseconds
from flow_deployment import FlowDeployment

TEXTS = {
    "untellable": "Untellable: <its text cannot be had: RuntimeError>",
    "surrogate": "ValueError: \\ud800",
    "interrupt": "KeyboardInterrupt",
    "exit": "SystemExit: 3",
    "generator exit": "GeneratorExit",
    "base": "BaseException: base",
    "group": "BaseExceptionGroup: both (2 sub-exceptions)",
}


@pytest.mark.parametrize("odd", TEXTS)
def test_whatever_a_handler_raises_is_the_runs_failure(deployment: FlowDeployment, odd: str) -> None:
    run = deployment.start("raises_odd", {"odd": odd, "place": "handler"})
    deployment.advance()

    assert deployment.status(run) == {"type": "failed", "error": TEXTS[odd]}


@pytest.mark.parametrize("place", ["inline", "step"])
@pytest.mark.parametrize("odd", TEXTS)
def test_whatever_a_steps_function_raises_is_the_steps_failure(
    deployment: FlowDeployment, odd: str, place: str
) -> None:
    result = deployment.result("raises_odd", {"odd": odd, "place": place})

    assert result == f"Step 0 (flows:raise_odd) failed: {TEXTS[odd]}"


@pytest.mark.parametrize("odd", TEXTS)
def test_whatever_a_callback_raises_the_result_stands(deployment: FlowDeployment, odd: str) -> None:
    run = deployment.mutation("flows:start_with_odd_callback", {"odd": odd})
    deployment.run_all_scheduled()

    status = deployment.status(run)
    assert status.pop("onCompleteError").endswith(TEXTS[odd])
    assert status == {"type": "completed", "result": 1}


def test_a_run_that_cancels_itself_in_an_inline_step_is_canceled(deployment: FlowDeployment) -> None:
    run = deployment.start("ends_itself_inline", {"deletes": False}, notes_end=True)

    assert deployment.status(run) == {"type": "canceled"}
    deployment.run_all_scheduled()
    assert [end["result"] for end in deployment.app_rows("ends")] == [{"kind": "canceled"}]
    assert (deployment.counter("beside"), deployment.counter("after"), deployment.counter("sum")) == (0, 0, 0)
    assert {row["state"] for row in deployment.rows("workflows")} == {"done"}


def test_the_end_that_an_inline_step_has_made_is_told_once_though_the_handler_returns(
    deployment: FlowDeployment,
) -> None:
    """Both are ends in one transaction; the first one holds."""
    run = deployment.start("ends_itself_last", notes_end=True)
    deployment.run_all_scheduled()

    assert deployment.status(run) == {"type": "canceled"}
    assert [end["result"] for end in deployment.app_rows("ends")] == [{"kind": "canceled"}]


def test_nothing_inline_runs_any_more_once_an_inline_step_has_ended_the_run(deployment: FlowDeployment) -> None:
    run = deployment.start("ends_itself_beside", {"undoes": False}, notes_end=True)
    deployment.run_all_scheduled()

    assert deployment.status(run) == {"type": "canceled"}
    assert (deployment.counter("inline beside"), deployment.counter("inline after")) == (0, 0)
    assert [end["result"] for end in deployment.app_rows("ends")] == [{"kind": "canceled"}]


def test_an_end_that_is_rolled_back_ends_nothing(deployment: FlowDeployment) -> None:
    assert deployment.result("ends_itself_beside", {"undoes": True}) == "went on"
    assert (deployment.counter("inline beside"), deployment.counter("inline after")) == (1, 1)


def test_a_run_that_deletes_itself_in_an_inline_step_leaves_nothing(deployment: FlowDeployment) -> None:
    deployment.start("ends_itself_inline", {"deletes": True})
    deployment.run_all_scheduled()

    assert (deployment.counter("beside"), deployment.counter("after"), deployment.counter("sum")) == (0, 0, 0)
    assert deployment.rows("steps") == []


@pytest.mark.parametrize("seconds", [1e18, 1e300, -1, float("nan")])
def test_a_duration_that_the_journal_cannot_hold_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="The duration must be"):
        to_milliseconds(seconds, "The duration")
