"""A child run that another component defines: its rows lie in that component's own instance of this one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from convexpy_workflow.warm import warm_runs
from flow_deployment import FlowDeployment


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[FlowDeployment]:
    warm_runs.clear()
    monkeypatch.syspath_prepend(Path(__file__).parent)
    with FlowDeployment(Path(__file__).parent / "agency_app") as deployment:
        yield deployment
    warm_runs.clear()


def begin(deployment: FlowDeployment, seconds: float = 3600) -> tuple[str, str]:
    run = deployment.start("delegates", {"what": "milk", "seconds": seconds})
    deployment.advance()
    [step] = deployment.query("flows:steps", {"run": run})
    return run, step["nestedWorkflowId"]


def child_status(deployment: FlowDeployment, child: str) -> Any:
    return deployment.query("errands:status", {"run": child}, component="agency")


def test_it_returns_its_value_across_the_boundary(deployment: FlowDeployment) -> None:
    run, child = begin(deployment)
    [wait] = deployment.status(run)["waiting"]
    assert (wait["name"], wait["workflowId"], wait["state"]) == ("errand", child, None)
    assert child_status(deployment, child)["type"] == "inProgress"

    deployment.mutation("errands:report", {"run": child, "value": 7}, component="agency")
    deployment.advance()

    assert deployment.status(run) == {"type": "completed", "result": ["milk", 7]}


def test_it_is_canceled_with_its_parent(deployment: FlowDeployment) -> None:
    run, child = begin(deployment)
    deployment.mutation("flows:cancel", {"run": run})
    deployment.advance()
    assert child_status(deployment, child) == {"type": "canceled"}


def test_it_is_canceled_when_its_step_is_given_up(deployment: FlowDeployment) -> None:
    run, child = begin(deployment, seconds=10)
    deployment.advance(11)
    assert deployment.status(run)["result"] == "TimeoutError"
    assert child_status(deployment, child) == {"type": "canceled"}


def test_it_is_deleted_with_its_parent(deployment: FlowDeployment) -> None:
    run, _ = begin(deployment)
    assert deployment.query("errands:count", component="agency") == 1
    deployment.mutation("flows:cleanup", {"run": run})
    deployment.run_all_scheduled()
    assert deployment.query("errands:count", component="agency") == 0


def test_without_a_handle_the_error_says_that_it_is_not_exported(deployment: FlowDeployment) -> None:
    run = deployment.start("delegates_by_reference", {})
    deployment.advance()
    assert 'Component "agency" does not export' in str(deployment.status(run))
