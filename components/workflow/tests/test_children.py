"""Runs that are steps of other runs: what they return, how they end together, and what is seen of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from convexpy_workflow.component import children
from convexpy_workflow.warm import warm_runs
from flow_deployment import FlowDeployment

from convexpy import ConvexpyError


def begin(deployment: FlowDeployment, flow: str, **args: Any) -> str:
    run: str = deployment.mutation(f"families:{flow}", {"args": args})
    deployment.advance()
    return run


def child_of(deployment: FlowDeployment, run: str, number: int = 0) -> str:
    child: str = deployment.query("flows:steps", {"run": run})["page"][number]["nestedWorkflowId"]
    return child


def send(deployment: FlowDeployment, run: str, value: Any = None, name: str = "answer") -> None:
    deployment.mutation("talks:send", {"options": {"run": run, "name": name, "value": value}})


def states(deployment: FlowDeployment) -> list[str]:
    """How the runs stand, in the order of their start."""
    rows = sorted(deployment.rows("workflows"), key=lambda row: row["_creationTime"])
    return [row["result"]["kind"] if "result" in row else row["state"] for row in rows]


def result(deployment: FlowDeployment, run: str) -> Any:
    deployment.advance()
    status = deployment.status(run)
    assert status["type"] == "completed", status
    return status["result"]


def test_a_child_returns_its_value_to_its_parent(deployment: FlowDeployment) -> None:
    run = begin(deployment, "sums_in_children", numbers=[1, 2, 3.5])

    assert result(deployment, run) == 6.5
    steps = deployment.query("flows:steps", {"run": run})["page"]
    assert [(step["kind"], step["name"]) for step in steps] == [("workflow", "families:adds")] * 3
    for step in steps:
        assert deployment.status(step["nestedWorkflowId"])["result"] == step["runResult"]["value"]


def test_a_childs_id_and_state_show_in_its_parents_status(deployment: FlowDeployment) -> None:
    run = begin(deployment, "parent", child="families:listens", args={}, options={"name": "the ear"})
    child = child_of(deployment, run)

    status = deployment.status(run)
    [step], [wait] = status["running"], status["waiting"]
    assert (step["kind"], step["name"], step["nestedWorkflowId"]) == ("workflow", "the ear", child)
    assert (wait["kind"], wait["name"], wait["workflowId"], wait["state"]) == ("workflow", "the ear", child, "running")
    [wait] = deployment.status(child)["waiting"]
    assert (wait["kind"], wait["name"]) == ("event", "answer")
    assert wait["eventId"] == deployment.rows("events")[0]["_id"]

    send(deployment, child, "yes")
    assert result(deployment, run) == ["returned", "yes"]


def test_children_are_listed_with_their_parents(deployment: FlowDeployment) -> None:
    run = begin(deployment, "sums_in_children", numbers=[1])
    child = child_of(deployment, run)
    by_id = {each["workflowId"]: each for each in deployment.query("flows:runs")["page"]}
    assert (by_id[child]["parentWorkflowId"], by_id[child]["parentStepNumber"]) == (run, 0)
    assert by_id[run]["parentWorkflowId"] is None
    [listed] = deployment.query("talks:runs_of", {"flow": "families:adds"})["page"]
    assert listed["workflowId"] == child


def test_a_deeply_nested_value_reaches_the_parent(deployment: FlowDeployment) -> None:
    """As deep as any value may be, though on its way it lies in a job."""
    value: Any = 1.0
    for _ in range(12):
        value = [value]
    run = begin(deployment, "parent", child="families:gives_deep", args={"levels": 12}, options={})
    [step] = deployment.query("flows:steps", {"run": run})["page"]
    assert step["runResult"] == {"kind": "success", "value": value}


def test_a_failed_child_raises_at_the_await(deployment: FlowDeployment) -> None:
    run = begin(deployment, "parent", child="families:fails", args={}, options={})
    kind, text, data, name = result(deployment, run)
    assert (kind, name, data) == ("failed", "families:fails", {"code": "broke", "limit": 3})
    assert text.startswith("StepFailed: Step 0 (work:fail_mutation) failed: ConvexError")


def test_a_canceled_child_raises_and_leaves_its_parent_alone(deployment: FlowDeployment) -> None:
    run = begin(deployment, "parent", child="families:listens", args={}, options={})
    deployment.mutation("flows:cancel", {"run": child_of(deployment, run)})
    assert result(deployment, run) == ["canceled", "Canceled"]


def test_a_child_that_is_failed_by_hand_fails_its_step(deployment: FlowDeployment) -> None:
    run = begin(deployment, "parent", child="families:listens", args={}, options={})
    deployment.mutation("flows:fail", {"run": child_of(deployment, run), "error": "enough"})
    assert result(deployment, run)[:2] == ["failed", "enough"]


@pytest.mark.parametrize(
    ("child", "args", "text"),
    [
        ("families:adds", {"a": "one", "b": 2}, "ArgumentValidationError"),
        ("families:adds", {"a": 1}, "ArgumentValidationError"),
        ("families:nothing", {}, "families:nothing"),
        ("work:echo_mutation", {"value": 1}, "ArgumentValidationError"),
        ("work:takes_anything", {"value": 1}, "work:takes_anything is no workflow"),
        ("flows:promises", {"value": "text"}, "Invalid return value: "),
    ],
)
def test_a_child_that_cannot_run_fails_its_step(
    deployment: FlowDeployment, child: str, args: dict[str, Any], text: str
) -> None:
    run = begin(deployment, "parent", child=child, args=args, options={})
    kind, error, *_ = result(deployment, run)
    assert kind == "failed"
    assert text in error
    assert deployment.counter("never") == 0, "what was called and is no workflow has done nothing"


def test_a_childs_promise_of_its_result_holds(deployment: FlowDeployment) -> None:
    run = begin(deployment, "promises_less")
    assert "Invalid return value" in deployment.status(run)["error"]


def test_a_child_may_begin_later(deployment: FlowDeployment) -> None:
    args = {"child": "families:adds", "args": {"a": 1, "b": 2}, "options": {"run_after": 3600}}
    run = begin(deployment, "parent", **args)
    deployment.advance(3599)
    begins = {"wakesAt": deployment.clock.now_ms() + 1000}
    assert deployment.status(child_of(deployment, run)) == {"type": "inProgress", "running": [], "waiting": []} | begins
    deployment.advance(1)
    assert result(deployment, run) == ["returned", 3]


def test_a_child_that_has_not_begun_leaves_no_job_when_it_is_canceled(deployment: FlowDeployment) -> None:
    args = {"child": "families:adds", "args": {"a": 1, "b": 2}, "options": {"run_after": 86_400}}
    run = begin(deployment, "parent", **args)
    deployment.mutation("flows:cancel", {"run": run})
    begun = len(deployment.calls)
    deployment.advance(timedelta(days=2))
    assert [call.path for call in deployment.calls[begun:] if call.path == "families:adds"] == []
    assert states(deployment) == ["canceled", "canceled"]


# --- ending together


def test_cancel_reaches_all_descendants_in_its_own_commit(deployment: FlowDeployment) -> None:
    run = begin(deployment, "grandparent", depth=2, width=3, options={})
    assert states(deployment) == ["running"] * 13
    commits = deployment.watch_commits()

    deployment.mutation("flows:cancel", {"run": run})

    assert len(commits) == 1
    assert states(deployment) == ["canceled"] * 13
    assert {row["state"] for row in deployment.rows("steps")} == {"canceled"}
    deployment.run_all_scheduled()
    assert states(deployment) == ["canceled"] * 13


def test_cancel_of_many_children_goes_on_in_commits_of_its_own(
    deployment: FlowDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "CANCELED_RUNS_PER_COMMIT", 4)
    run = begin(deployment, "grandparent", depth=2, width=3, options={})

    deployment.mutation("flows:cancel", {"run": run})
    assert deployment.status(run) == {"type": "canceled"}
    assert states(deployment).count("canceled") == 5
    deployment.advance()

    assert states(deployment) == ["canceled"] * 13


def test_a_thousand_children_are_canceled(deployment: FlowDeployment) -> None:
    run = begin(deployment, "grandparent", depth=1, width=children.CANCELED_RUNS_PER_COMMIT + 20, options={})
    assert set(states(deployment)) == {"running"}
    deployment.mutation("flows:cancel", {"run": run})
    deployment.run_all_scheduled()
    assert set(states(deployment)) == {"canceled"}


def test_an_abandoned_grandchild_outlives_its_canceled_parent(deployment: FlowDeployment) -> None:
    inner = {"child": "families:listens", "args": {}, "options": {"on_parent_cancel": "abandon"}}
    run = begin(deployment, "parent", child="families:parent", args=inner, options={})
    deployment.advance()
    child = child_of(deployment, run)
    deployment.mutation("flows:cancel", {"run": run})

    assert deployment.status(child) == {"type": "canceled"}
    assert deployment.status(child_of(deployment, child))["type"] == "inProgress"


@pytest.mark.parametrize("how", ["flows:cancel", "flows:fail"])
def test_an_abandoned_child_outlives_its_canceled_parent(deployment: FlowDeployment, how: str) -> None:
    options = {"on_parent_cancel": "abandon"}
    run = begin(deployment, "parent", child="families:listens", args={}, options=options)
    child = child_of(deployment, run)
    deployment.mutation(how, {"run": run} | ({"error": "enough"} if how == "flows:fail" else {}))
    assert deployment.status(child)["type"] == "inProgress"

    send(deployment, child, "still there")

    assert result(deployment, child) == "still there"
    assert deployment.status(run)["type"] in ("canceled", "failed")


def test_on_parent_cancel_takes_two_words(deployment: FlowDeployment) -> None:
    run = begin(deployment, "parent", child="families:adds", args={}, options={"on_parent_cancel": "leave"})
    assert deployment.status(run)["error"] == 'ValueError: on_parent_cancel is "cancel" or "abandon", not \'leave\'.'


@pytest.mark.parametrize("options", [{}, {"on_parent_cancel": "abandon"}])
def test_a_child_that_takes_too_long_is_canceled(deployment: FlowDeployment, options: dict[str, Any]) -> None:
    """The handler has given it up, whatever it says of its own end."""
    run = begin(deployment, "impatient", seconds=60, options=options)
    deployment.advance(61)
    assert result(deployment, run) == "too late"
    assert deployment.status(child_of(deployment, run)) == {"type": "canceled"}
    assert deployment.counter("heard") == 0


@pytest.mark.parametrize(("options", "state"), [({}, "canceled"), ({"on_parent_cancel": "abandon"}, "inProgress")])
def test_a_parent_may_end_before_its_child(deployment: FlowDeployment, options: dict[str, Any], state: str) -> None:
    run = begin(deployment, "leaves_early", options=options)
    deployment.advance(10)
    assert result(deployment, run) == "left"
    assert deployment.status(child_of(deployment, run, 1))["type"] == state


def test_the_loser_of_a_race_of_children_is_canceled(deployment: FlowDeployment) -> None:
    run = begin(deployment, "races")
    left, right = child_of(deployment, run, 0), child_of(deployment, run, 1)
    send(deployment, right, "r", name="right")
    assert result(deployment, run) == "r"
    assert deployment.status(left) == {"type": "canceled"}
    with pytest.raises(ConvexpyError, match=f"Workflow not running: {left}"):
        send(deployment, left, "l", name="left")


def test_both_children_of_a_race_end_at_once(deployment: FlowDeployment) -> None:
    run = begin(deployment, "races")
    for number, name in enumerate(("left", "right")):
        send(deployment, child_of(deployment, run, number), name, name=name)
    assert result(deployment, run) in ("left", "right")
    assert set(states(deployment)) <= {"success", "canceled"}


def test_a_child_hears_of_its_end_once_for_its_parent(deployment: FlowDeployment) -> None:
    """The parent's own `on_complete` is called once, in its last wave; its child has none to call."""
    run = deployment.start_path("families:sums_in_children", {"numbers": [1, 2]}, notes_end=True)
    deployment.run_all_scheduled()
    [end] = deployment.app_rows("ends")
    assert (end["run"], end["result"]) == (run, {"kind": "success", "value": 3})


# --- cleanup


def test_cleanup_deletes_children_with_their_own_children(deployment: FlowDeployment) -> None:
    run = begin(deployment, "grandparent", depth=2, width=2, options={})
    other = begin(deployment, "sums_in_children", numbers=[1])
    assert deployment.mutation("flows:cleanup", {"run": run}) is False

    assert deployment.mutation("flows:cleanup", {"run": run, "force": True}) is True
    deployment.run_all_scheduled()

    kept = {row["_id"] for row in deployment.rows("workflows")}
    assert kept == {other, child_of(deployment, other)}
    assert {row["workflow"] for row in deployment.rows("steps")} == kept
    assert deployment.rows("events") == []


def test_cleanup_of_mixed_steps_tolerates_children_that_are_gone_or_never_began(deployment: FlowDeployment) -> None:
    gone = begin(deployment, "parent", child="families:adds", args={"a": 1, "b": 1}, options={})
    deployment.mutation("flows:cleanup", {"run": child_of(deployment, gone)})
    never = begin(deployment, "parent", child="families:nothing", args={}, options={})
    listening = begin(deployment, "parent", child="families:listens", args={}, options={})
    for run in (gone, never, listening):
        assert deployment.mutation("flows:cleanup", {"run": run, "force": True}) is True
    deployment.run_all_scheduled()
    assert deployment.rows("workflows") == deployment.rows("steps") == deployment.rows("events") == []


def test_cleanup_leaves_an_abandoned_child_that_still_runs(deployment: FlowDeployment) -> None:
    run = begin(deployment, "leaves_early", options={"on_parent_cancel": "abandon"})
    child = child_of(deployment, run, 1)
    deployment.advance(10)
    deployment.mutation("flows:cleanup", {"run": run})
    deployment.run_all_scheduled()
    assert [row["_id"] for row in deployment.rows("workflows")] == [child]
    send(deployment, child, 1)
    assert result(deployment, child) == 1


# --- restart, of the server and of runs


def test_families_outlive_their_server(deployment: FlowDeployment) -> None:
    run = begin(deployment, "parent", child="families:sums_in_children", args={"numbers": [1, 2, 3]}, options={})
    listening = begin(deployment, "parent", child="families:listens", args={}, options={})
    for _ in range(3):
        warm_runs.clear()
        deployment.restart()
        deployment.advance()
    send(deployment, child_of(deployment, listening), "yes")
    warm_runs.clear()
    deployment.restart()

    assert result(deployment, run) == ["returned", 6]
    assert result(deployment, listening) == ["returned", "yes"]


def test_a_restarted_parent_runs_its_unfinished_child_anew(deployment: FlowDeployment) -> None:
    run = begin(deployment, "parent", child="families:listens", args={}, options={})
    first = child_of(deployment, run)
    deployment.mutation("flows:cancel", {"run": run})
    deployment.mutation("flows:restart", {"run": run, "options": {}})
    second = child_of(deployment, run)
    assert first != second
    deployment.advance()
    send(deployment, second, "to the second")
    assert result(deployment, run) == ["returned", "to the second"]


def test_steps_deleted_by_a_restart_take_their_children_along(deployment: FlowDeployment) -> None:
    run = begin(deployment, "sums_in_children", numbers=[1, 2, 3])
    kept, *deleted = (child_of(deployment, run, number) for number in range(3))
    deployment.mutation("flows:restart", {"run": run, "options": {"from_": 1}})
    assert result(deployment, run) == 6
    ids = {row["_id"] for row in deployment.rows("workflows")}
    assert kept in ids
    assert not ids & set(deleted)


def test_a_restarted_child_does_not_disturb_its_parent(deployment: FlowDeployment) -> None:
    run = begin(deployment, "parent", child="families:adds", args={"a": 1, "b": 2}, options={})
    assert result(deployment, run) == ["returned", 3]
    deployment.mutation("flows:restart", {"run": child_of(deployment, run), "options": {"from_": 0}})
    deployment.run_all_scheduled()
    assert deployment.status(run)["result"] == ["returned", 3]
