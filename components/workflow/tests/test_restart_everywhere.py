"""Whatever a handler is made of: its journal replays from a file, and it can be restarted from each of its steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from convexpy_workflow.testing import load_functions, replay_journal
from convexpy_workflow.warm import warm_runs
from flow_deployment import APP, FlowDeployment
from test_replay_journal import export

PARTS = [
    *("gather", "gather_with_a_failure", "create_task", "wait_first_completed", "wait_first_exception"),
    *("wait_with_a_timeout", "wait_for", "timeout", "sleep_as_a_timeout", "task_group", "task_group_with_a_failure"),
    *("as_completed", "event", "queue", "semaphore", "condition", "cancel_and_finally", "shield", "equal_deadlines"),
]


def begin_part(part: str) -> Callable[[FlowDeployment], str]:
    def begin(deployment: FlowDeployment) -> str:
        run: str = deployment.mutation("constructs:begin", {"flow": "uses", "args": {"part": part}})
        return run

    return begin


def begin_family(deployment: FlowDeployment) -> str:
    run: str = deployment.mutation("families:sums_in_children", {"args": {"numbers": [1, 2, 3.5]}})
    return run


def begin_talk(deployment: FlowDeployment) -> str:
    run: str = deployment.mutation("talks:hears", {"args": {"name": "answer", "count": 2}})
    return run


WAYS: dict[str, Callable[[FlowDeployment], str]] = {part: begin_part(part) for part in PARTS}
WAYS |= {"children": begin_family, "events": begin_talk}


@pytest.mark.parametrize("way", WAYS)
def test_replayed_from_a_file_and_restarted_from_every_step(deployment: FlowDeployment, way: str) -> None:
    functions = load_functions(APP)

    def finish(run: str) -> dict[str, Any]:
        for value in (1, 2):
            deployment.run_all_scheduled()
            if way == "events" and deployment.status(run)["type"] == "inProgress":
                deployment.mutation("talks:send", {"options": {"run": run, "name": "answer", "value": value}})
        deployment.run_all_scheduled()
        return deployment.status(run)

    run = WAYS[way](deployment)
    first = finish(run)
    assert first["type"] in ("completed", "failed")
    replay_journal(functions, export(deployment, run)).assert_fits()
    count = len(steps_of(deployment, run))
    for number in reversed(range(count + 1)):
        before = {row["position"]: row["_id"] for row in steps_of(deployment, run)}

        deployment.mutation("flows:restart", {"run": run, "options": {"from_": number}})
        kept = {row["position"]: row["_id"] for row in steps_of(deployment, run) if row["position"] < number}
        assert kept == {position: id for position, id in before.items() if position < number}
        warm_runs.clear()

        again = finish(run)
        assert again["type"] == first["type"], (number, again)
        replay_journal(functions, export(deployment, run)).assert_fits()


def steps_of(deployment: FlowDeployment, run: str) -> list[dict[str, Any]]:
    return [row for row in deployment.rows("steps") if row["workflow"] == run]
