"""How many steps run at once: what the code says, what somebody says while they run, and which of them counts."""

from __future__ import annotations

from typing import Any

import pytest
from convexpy_workflow import WorkflowManager
from flow_deployment import FlowDeployment

from convexpy import ConvexpyError, components

FLOWS = {"wide": 2, "single": 1}


def limits(deployment: FlowDeployment) -> list[float]:
    """Of the scheduler's queues."""
    found: dict[str, float] = deployment.do(deployment.runtime.run_system("queue_limits", {}))
    return sorted(found.values())


@pytest.mark.parametrize("flow", FLOWS)
def test_what_the_code_says_is_in_force_with_the_first_step(deployment: FlowDeployment, flow: str) -> None:
    run = deployment.start_path(f"sized:{flow}")
    assert limits(deployment) == [FLOWS[flow]]
    deployment.run_all_scheduled()

    assert deployment.status(run)["type"] == "completed" and deployment.counter(flow) == 6


@pytest.mark.parametrize("flow", FLOWS)
def test_what_is_said_while_steps_run_stays(deployment: FlowDeployment, flow: str) -> None:
    """The next steps declare again what the code says, which is nothing new."""
    deployment.start_path(f"sized:{flow}")
    deployment.mutation("sized:resize", {"flow": flow, "most": 5})
    deployment.start_path(f"sized:{flow}")
    deployment.run_all_scheduled()

    assert limits(deployment) == [5] and deployment.counter(flow) == 12


@pytest.mark.parametrize("flow", FLOWS)
def test_paused_steps_wait_and_go_on(deployment: FlowDeployment, flow: str) -> None:
    deployment.mutation("sized:resize", {"flow": flow, "most": 0})
    deployment.mutation("sized:resize", {"flow": flow, "most": 0})
    run = deployment.start_path(f"sized:{flow}")
    deployment.mutation("sized:resize", {"flow": flow, "most": 0})
    deployment.advance(3600)
    assert deployment.counter(flow) == 0 and deployment.status(run)["type"] == "inProgress"

    deployment.mutation("sized:resize", {"flow": flow, "most": 1})
    deployment.run_all_scheduled()

    assert deployment.counter(flow) == 6 and deployment.status(run)["type"] == "completed"


@pytest.mark.parametrize("most", [-1, 1001, 1.5, "2", None, True])
def test_a_number_out_of_range_is_refused(deployment: FlowDeployment, most: Any) -> None:
    with pytest.raises(ConvexpyError, match="max_parallelism is a whole number from 0"):
        deployment.mutation("sized:resize", {"flow": "wide", "most": most})
    if most is not None:
        with pytest.raises(ValueError, match="max_parallelism is a whole number from 0"):
            WorkflowManager(components.workflow, max_parallelism=most)


def test_steps_without_a_queue_have_no_size(deployment: FlowDeployment) -> None:
    with pytest.raises(ConvexpyError, match="These steps run in no queue"):
        deployment.mutation("sized:resize_nothing")


@pytest.mark.parametrize(("flow", "attempts"), [("tries_twice", 2), ("tries_once", 1)])
def test_a_workflow_has_a_policy_of_its_own(deployment: FlowDeployment, flow: str, attempts: int) -> None:
    run = deployment.start_path(f"sized:{flow}")
    deployment.run_all_scheduled()

    assert deployment.status(run)["type"] == "failed" and deployment.counter("attempts") == attempts
