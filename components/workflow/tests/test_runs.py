"""The life of a run, on the real runtime: start, watch, cancel, clean up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flow_deployment import FlowDeployment

from convexpy import ConvexpyError, Int64
from convexpy.testing import TestBackend


def test_a_run_starts_in_its_callers_transaction_and_ends_with_a_value(deployment: FlowDeployment) -> None:
    run = deployment.start("sums", {"amounts": [1, 2, 3.5]})
    assert [step["name"] for step in deployment.status(run)["running"]] == ["work:add"]
    assert deployment.counter("sum") == 0  # the first step is a job; it has not run yet

    deployment.advance()

    assert deployment.status(run) == {"type": "completed", "result": 6.5}
    assert deployment.counter("sum") == 6.5


def test_start_async_only_inserts_the_run(deployment: FlowDeployment) -> None:
    run = deployment.start("sums", {"amounts": [1]}, start_async=True)

    assert deployment.status(run) == {"type": "inProgress", "running": [], "waiting": []}
    assert deployment.printed() == []
    deployment.advance()
    assert deployment.status(run)["type"] == "completed"


def test_status_is_a_query_that_follows_every_wave(deployment: FlowDeployment) -> None:
    """It is answered from the cache while nothing happens, and runs again when a wave has touched the run."""
    run = deployment.start("waits", {"days": 1})
    live: Any = deployment.runtime.live

    first = deployment.status(run)
    runs = live.runs
    assert deployment.status(run) == first
    assert live.runs == runs
    deployment.advance(timedelta(days=1))

    assert deployment.status(run)["type"] == "completed"
    assert live.runs == runs + 1


def test_a_month_passes_on_the_manual_clock(deployment: FlowDeployment) -> None:
    run = deployment.start("waits", {"days": 30})
    deployment.advance(timedelta(days=29, hours=23))
    assert deployment.status(run)["type"] == "inProgress"
    jobs = sum(call.kind == "job" for call in deployment.calls)
    assert jobs == 0  # a sleeping run costs nothing

    deployment.advance(timedelta(hours=1))

    begun, ended = deployment.status(run)["result"]
    assert ended - begun == 30 * 86_400


def test_an_uncaught_failure_is_the_runs(deployment: FlowDeployment) -> None:
    run = deployment.start("lets_fail")
    deployment.advance()

    status = deployment.status(run)
    assert status["type"] == "failed"
    assert status["error"].startswith("StepFailed: Step 0 (work:fail_mutation) failed: ConvexError: ")
    assert deployment.counter("lost") == 0
    [row] = deployment.rows("workflows")
    assert row["result"]["data"] == {"code": "broke", "limit": 3}
    assert "flows.py" in row["result"]["traceback"]
    assert "engine.py" not in row["result"]["traceback"]


def test_what_goes_wrong_before_the_first_await_is_the_runs_failure(deployment: FlowDeployment) -> None:
    run = deployment.start("catches", {"kind": "nonsense", "function": "work:add"})

    assert deployment.status(run) == {"type": "failed", "error": "KeyError: 'nonsense'"}


@pytest.mark.parametrize("args", [{"amounts": "many"}, {}, {"amounts": [], "extra": 1}])
def test_arguments_are_checked_at_the_start(deployment: FlowDeployment, args: dict[str, Any]) -> None:
    with pytest.raises(ConvexpyError, match="ArgumentValidationError"):
        deployment.start("sums", args)
    assert deployment.rows("workflows") == []


def test_calling_a_workflow_like_a_mutation_says_how_it_is_done(deployment: FlowDeployment) -> None:
    with pytest.raises(ConvexpyError, match=r"When calling it directly, use '\{ args: "):
        deployment.mutation("flows:sums", {"amounts": [1]})
    with pytest.raises(ConvexpyError, match=r"When calling it directly, use '\{ args: "):
        deployment.mutation("flows:sums", {})

    run = deployment.mutation("flows:sums", {"args": {"amounts": [4]}})
    deployment.advance()
    assert deployment.status(run)["result"] == 4


def test_a_run_can_be_started_and_watched_by_an_action(deployment: FlowDeployment) -> None:
    run, status = deployment.action("flows:start_in_action", {"amounts": [1, 2]})
    assert status == "inProgress"
    deployment.run_all_scheduled()

    assert deployment.status(run)["result"] == 3
    assert [row["context"] for row in deployment.app_rows("ends")] == ["from an action"]


def test_a_result_that_keeps_its_promise_is_given_as_it_is(deployment: FlowDeployment) -> None:
    result = deployment.result("promises", {"value": Int64(7)})
    assert result == {"count": 7}
    assert type(result["count"]) is Int64


def test_a_result_that_breaks_its_promise_fails_the_run(deployment: FlowDeployment) -> None:
    run = deployment.start("promises", {"value": 7})  # a float64; the definition promises an int64

    status = deployment.status(run)
    assert status["type"] == "failed"
    assert status["error"].startswith("Invalid return value: ")
    assert "v.int64()" in status["error"]


def test_a_result_that_is_no_value_fails_the_run(deployment: FlowDeployment) -> None:
    run = deployment.start("returns_junk")
    assert "object" in deployment.status(run)["error"]


def test_on_complete_is_called_once_in_the_last_waves_transaction(deployment: FlowDeployment) -> None:
    context = {"large": bytes(20_000)}
    runs = [deployment.start(flow, notes_end=True, context=context) for flow in ("returns_junk", "lets_fail")]
    runs.append(deployment.start("sums", {"amounts": [1]}, notes_end=True, context=None))
    runs.append(deployment.start("waits", {"days": 1}, notes_end=True))
    deployment.mutation("flows:cancel", {"run": runs[-1]})
    deployment.run_all_scheduled()
    deployment.restart()
    deployment.run_all_scheduled()

    ends = {row["run"]: row for row in deployment.app_rows("ends")}
    assert len(deployment.app_rows("ends")) == len(ends) == 4
    assert [ends[run]["result"]["kind"] for run in runs] == ["failed", "failed", "success", "canceled"]
    assert [ends[run]["context"] for run in runs] == [context, context, None, None]


def test_a_broken_callback_does_not_touch_the_result(deployment: FlowDeployment) -> None:
    run = deployment.mutation("flows:start_with_broken_callback")
    deployment.run_all_scheduled()

    said = {"onCompleteError": "ValueError: the callback is broken"}
    assert deployment.status(run) == {"type": "completed", "result": 1} | said
    assert deployment.app_rows("ends") == []


def test_cancel_ends_a_run_and_drops_what_comes_later(deployment: FlowDeployment) -> None:
    run = deployment.start("slow_then_more")
    deployment.advance(1)

    deployment.mutation("flows:cancel", {"run": run})
    assert deployment.status(run) == {"type": "canceled"}
    deployment.advance(20)

    assert deployment.status(run) == {"type": "canceled"}
    [step] = deployment.query("flows:steps", {"run": run})["page"]
    assert step["runResult"] == {"kind": "canceled"}
    assert deployment.counter("more") == 0


def test_cancel_before_a_step_has_begun_keeps_it_from_running(deployment: FlowDeployment) -> None:
    run = deployment.start("sums", {"amounts": [1]})
    deployment.mutation("flows:cancel", {"run": run})
    deployment.run_all_scheduled()

    assert deployment.counter("sum") == 0
    with pytest.raises(ConvexpyError, match=f"Workflow not running: {run}"):
        deployment.mutation("flows:cancel", {"run": run})


def test_cleanup_removes_every_row_of_a_finished_run(deployment: FlowDeployment) -> None:
    run = deployment.start("everything")
    kept = deployment.start("sums", {"amounts": [1]})
    assert deployment.mutation("flows:cleanup", {"run": run}) is False
    deployment.run_all_scheduled()

    assert deployment.mutation("flows:cleanup", {"run": run}) is True

    assert deployment.mutation("flows:cleanup", {"run": run}) is False
    assert [row["_id"] for row in deployment.rows("workflows")] == [kept]
    assert {row["workflow"] for row in deployment.rows("steps")} == {kept}
    assert deployment.rows("timers") == []
    with pytest.raises(ConvexpyError, match=f"Workflow not found: {run}"):
        deployment.status(run)


def test_forced_cleanup_cancels_first(deployment: FlowDeployment) -> None:
    run = deployment.start("slow_then_more", notes_end=True)
    deployment.advance(1)

    assert deployment.mutation("flows:cleanup", {"run": run, "force": True}) is True
    deployment.run_all_scheduled()

    assert [row["result"] for row in deployment.app_rows("ends")] == [{"kind": "canceled"}]
    assert deployment.rows("workflows") == deployment.rows("steps") == []
    assert deployment.counter("more") == 0


def test_a_long_journal_is_cleaned_up_in_several_commits(deployment: FlowDeployment) -> None:
    run = deployment.start("floods", {"count": 600})
    deployment.run_all_scheduled()
    assert len(deployment.rows("steps")) == 600

    deployment.mutation("flows:cleanup", {"run": run})
    assert deployment.rows("steps") != []
    deployment.run_all_scheduled()

    assert deployment.rows("steps") == []


@pytest.mark.parametrize("junk", ["", "junk", "k57cnh8zvz0ad8cs8tzt92b1ys6p4yxe"])
def test_an_id_that_is_none_is_refused(deployment: FlowDeployment, junk: str) -> None:
    with pytest.raises(ConvexpyError, match=f"Invalid workflow ID: {junk}"):
        deployment.status(junk)


def test_steps_and_runs_are_listed_page_by_page(deployment: FlowDeployment) -> None:
    run = deployment.start("sums", {"amounts": [1, 2, 3, 4, 5]})
    deployment.advance(1)
    others = [deployment.start("waits", {"days": 1}) for _ in range(5)]  # all in one instant

    assert pages(deployment, "flows:steps", {"run": run}, "stepNumber") == [[0, 1], [2, 3], [4]]
    listed = pages(deployment, "flows:runs", {"flow": "waits"}, "workflowId")
    assert [len(page) for page in listed] == [2, 2, 1]
    assert sorted(each for page in listed for each in page) == sorted(others)
    newest_first = pages(deployment, "flows:runs", {}, "workflowId")
    assert newest_first[-1][-1] == run
    assert len({each for page in newest_first for each in page}) == 6


def pages(deployment: TestBackend, path: str, args: dict[str, Any], field: str) -> list[list[Any]]:
    found, cursor = [], None
    while True:
        page = deployment.query(path, args | {"options": {"numItems": 2, "cursor": cursor}})
        found.append([item[field] for item in page["page"]])
        if page["isDone"]:
            return found
        cursor = page["continueCursor"]


def test_ids_and_steps_have_validators(deployment: FlowDeployment) -> None:
    """An app's query with `returns=` may hand them on."""
    run = deployment.mutation("flows:start_checked", {"flow": "everything"})
    assert len(deployment.query("flows:checked_steps", {"run": run})) == 3
    deployment.run_all_scheduled()

    assert (
        deployment.query("flows:checked_steps", {"run": run}) == deployment.query("flows:steps", {"run": run})["page"]
    )
