"""What a handler may use of asyncio and how races end; chance that is the same in every replay; what is refused.

All on the real runtime, with handlers in memory, replayed at each step, and over restarts.
"""

from __future__ import annotations

from typing import Any

import pytest
from convexpy_workflow.warm import warm_runs
from flow_deployment import FlowDeployment
from handler_memory import MODES, limits_of, set_mode

USES: dict[str, Any] = {
    "gather": ["3 s", "1 s", "2 s"],
    "gather_with_a_failure": ["2 s", "failed after 1 s"],
    "create_task": ["2 s", True, ["1 s", "2 s"]],
    "wait_first_completed": ["1 s", "2 s", "3 s"],
    "wait_first_exception": [["1 s", "failed after 2 s"], 1],
    "wait_with_a_timeout": [["1 s"], 1],
    "wait_for": ["1 s", "late"],
    "timeout": ["inner", "outer"],
    "sleep_as_a_timeout": [True, False, 2],
    "task_group": ["2 s", "1 s"],
    "task_group_with_a_failure": ["failed after 1 s", True],
    "as_completed": ["1 s", "2 s", "3 s"],
    "event": ["2 s", "a", "b"],
    "queue": ["1 s", "1 s", "3 s", "2 s"],
    "semaphore": [1, 1, 2, 2, 3],
    "condition": [2, ["1 s", "2 s"]],
    "cancel_and_finally": ["canceled", "1 s", True],
    "shield": ["late", "3 s"],
    "equal_deadlines": [True, ["a", "b", "c", "d"]],
}


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "restarted"])
def test_asyncio_is_as_ever_and_the_same_in_every_replay(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Races end in the order of completion, whatever was begun first."""
    warm_runs.clear()
    set_mode(mode, monkeypatch)
    for part, expected in USES.items():
        with FlowDeployment(limits=limits_of(mode)) as deployment:
            run = deployment.mutation("constructs:begin", {"flow": "uses", "args": {"part": part}})
            deployment.run_all_scheduled()
            assert deployment.status(run) == {"type": "completed", "result": expected}, part


def test_every_construct_is_tried(deployment: FlowDeployment) -> None:
    assert deployment.query("constructs:names") == {"asyncio": sorted(USES), "forbidden": sorted(FORBIDDEN)}


@pytest.mark.parametrize("mode", MODES)
def test_chance_is_the_same_in_every_replay(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random numbers, unguessable ones, uuids, every clock; each run has its own, and a clock goes on between steps."""
    warm_runs.clear()
    set_mode(mode, monkeypatch)
    with FlowDeployment(limits=limits_of(mode)) as deployment:
        runs = [deployment.mutation("constructs:begin", {"flow": "draws", "args": {}}) for _ in range(2)]
        if mode == "restarted":
            for _ in range(3):
                warm_runs.clear()
                deployment.restart()
        deployment.run_all_scheduled()
        results = [deployment.status(run)["result"] for run in runs]

    (_, one, one_later), (_, other, _) = results
    drawn, clocks = slice(0, 9), slice(9, 16)
    assert all(mine != theirs for mine, theirs in zip(one[drawn], other[drawn], strict=True))
    assert all(first != later for first, later in zip(one[drawn], one_later[drawn], strict=True))
    assert all(later - first == pytest.approx(100) for first, later in zip(one[clocks], one_later[clocks], strict=True))
    assert len({round(instant, 3) for instant in one[clocks]}) == 1
    reference = played_alone()
    assert [result[1:] for result in results] == reference


_reference: list[Any] = []


def played_alone() -> list[Any]:
    """The same two runs without any interruption; ids are equal, as the test's deployment draws the same ones."""
    if not _reference:
        warm_runs.clear()
        with FlowDeployment() as deployment:
            runs = [deployment.mutation("constructs:begin", {"flow": "draws", "args": {}}) for _ in range(2)]
            deployment.run_all_scheduled()
            _reference.extend(deployment.status(run)["result"][1:] for run in runs)
    return _reference


FORBIDDEN: dict[str, tuple[str, str]] = {
    "start_thread": ("threads", "step.run_action"),
    "use_pool": ("threads", "step.run_action"),
    "open_file": ("open()", "step.run_action"),
    "write_file": ("open()", "step.run_action"),
    "list_folder": ("os.listdir()", "step.run_action"),
    "open_socket": ("socket.socket()", "step.run_action"),
    "connect": ("socket.", "step.run_action"),
    "fetch": ("urllib.request", "step.run_action"),
    "run_process": ("subprocess.Popen()", "step.run_action"),
    "sleep_for_real": ("time.sleep()", "step.sleep"),
    "use_to_thread": ("loop.run_in_executor", "step.run_action"),
    "run_in_executor": ("loop.run_in_executor", "step.run_action"),
    "open_connection": ("loop.", "step.run_action"),
    "serve": ("loop.", "step.run_action"),
    "spawn": ("loop.subprocess_exec", "step.run_action"),
    "ask": ("input()", "step.run_action"),
}


@pytest.mark.parametrize("part", FORBIDDEN)
def test_the_outside_world_is_refused_with_what_to_do_instead(deployment: FlowDeployment, part: str) -> None:
    """At the handler's own line, as an exception that it may catch; the run goes on, and the worker is unharmed."""
    thing, instead = FORBIDDEN[part]
    run = deployment.mutation("constructs:begin", {"flow": "tries", "args": {"part": part}})
    deployment.run_all_scheduled()

    error = deployment.status(run)["result"]
    assert "NotAllowed" in error.partition(":")[0], error
    assert thing in error
    assert instead in error
    assert deployment.counter("steps") == 2
