"""What runs and their steps print: kept once, in order, with its step; and where failed steps have failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from convexpy_workflow.component import log_rows
from convexpy_workflow.warm import warm_runs
from flow_deployment import APP, FlowDeployment
from handler_memory import ALONE, MODES, limits_of, set_mode

SPOKEN = [
    ("handler", None, None, "LOG", "begun"),
    ("step", 0, 1, "LOG", "a query"),
    ("handler", None, None, "WARN", "after the query"),
    ("step", 1, 1, "LOG", "attempt 1"),
    ("step", 1, 1, "ERROR", "RuntimeError: attempt 1 failed"),
    ("step", 1, 2, "LOG", "attempt 2"),
    ("step", 1, 2, "ERROR", "RuntimeError: attempt 2 failed"),
    ("step", 1, 3, "LOG", "attempt 3"),
    ("handler", None, None, "LOG", "unfinished"),
    ("step", 2, 1, "LOG", "inline"),
    ("step", 2, 1, "ERROR", "inline again"),
    ("handler", None, None, "LOG", "after the timer"),
    ("step", 3, 1, "LOG", "a mutation"),
    ("step", 3, 1, "ERROR", "a mutation again"),
    ("handler", None, None, "LOG", "two"),
    ("handler", None, None, "LOG", "lines"),
]


def spoken(deployment: FlowDeployment, run: str, lines_a_page: int = 100) -> list[tuple[Any, ...]]:
    """All lines of a run, over as many pages as it takes: source, step, attempt, level, first line of the text."""
    found: list[Any] = []
    cursor = None
    while True:
        page = deployment.query("flows:logs", {"run": run, "options": {"numItems": lines_a_page, "cursor": cursor}})
        found += page["page"]
        cursor = page["continueCursor"]
        if page["isDone"]:
            return [
                (
                    line["source"],
                    line.get("stepNumber"),
                    line.get("attempt"),
                    line["level"],
                    line["text"].split("\n")[0],
                )
                for line in found
            ]


@pytest.mark.parametrize("mode", MODES)
def test_every_line_is_kept_once_in_order_and_with_its_step(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the handler goes on or is run again over its journal, and over restarts between any two steps."""
    warm_runs.clear()
    with FlowDeployment(limits=limits_of(mode)) as deployment:
        set_mode(mode, monkeypatch)
        run = deployment.start("speaks")
        if mode == "restarted":
            for _ in range(12):
                deployment.advance(1)
                warm_runs.clear()
                deployment.restart()
        deployment.run_all_scheduled()

        assert deployment.status(run)["type"] == "completed"
        assert spoken(deployment, run) == SPOKEN


@pytest.mark.parametrize("lines_a_page", [1, 2, 5])
def test_lines_come_in_pages(deployment: FlowDeployment, lines_a_page: int) -> None:
    run = deployment.start("speaks")
    deployment.run_all_scheduled()

    assert spoken(deployment, run, lines_a_page) == SPOKEN


def test_lines_are_there_while_the_run_goes_on(deployment: FlowDeployment) -> None:
    """Those of the attempts that a running step has behind it too."""
    run = deployment.start("speaks")
    assert spoken(deployment, run) == SPOKEN[:1]
    deployment.advance()

    assert spoken(deployment, run) == SPOKEN[:5]
    [_, step] = deployment.query("flows:steps", {"run": run})["page"]
    attempt, error = step["logs"]
    assert attempt == {"level": "LOG", "text": "attempt 1", "attempt": 1}
    assert "at speak_at_last (flow_app/work.py:" in error["text"]
    assert 'raise RuntimeError(f"attempt {count:.0f} failed")' in error["text"]


def test_steps_of_racing_runs_keep_each_line_once(deployment: FlowDeployment) -> None:
    """Their commits conflict, so handlers and functions run again; what a refused commit printed is not kept."""
    runs = [deployment.start("speaks") for _ in range(5)]
    deployment.run_all_scheduled()

    assert deployment.runtime.conflicts > 0
    for run in runs:
        lines = spoken(deployment, run)
        assert [line for line in lines if line[1] != 1] == [line for line in SPOKEN if line[1] != 1]


def test_lines_cost_no_document() -> None:
    """A sequential step whose function and whose handler print writes the same five as a silent one."""
    with FlowDeployment(limits=ALONE) as deployment:
        deployment.start("speaks_much", {"rounds": 10, "count": 3, "chars": 50})
        commits = deployment.watch_commits()
        deployment.run_all_scheduled()

    assert [count for _, count, _ in commits] == [5] * 9 + [3]


def test_long_logs_are_cut_with_a_word_about_it(deployment: FlowDeployment) -> None:
    run = deployment.start("speaks_much", {"rounds": 1, "count": 200, "chars": 1_000})
    deployment.run_all_scheduled()

    [step] = deployment.query("flows:steps", {"run": run})["page"]
    assert len(step["logs"]) == 66
    assert step["logs"][-1]["text"].endswith("Remaining log lines omitted: 135.")
    assert len(deployment.rows("large_values")) == 1  # beside the step's row


def test_steps_that_share_a_commit_do_not_share_the_bound_of_a_calls_lines(deployment: FlowDeployment) -> None:
    """Nor does the handler, which prints in that commit too."""
    run = deployment.start("speaks_beside", {"steps": 3, "count": 200})
    deployment.run_all_scheduled()

    steps = deployment.query("flows:steps", {"run": run})["page"]
    assert [len(step["logs"]) for step in steps] == [200, 200, 200]
    assert len(deployment.printed()) == 601
    assert "[LOG] all have spoken" in deployment.printed()


def test_the_log_of_a_run_has_a_bound(deployment: FlowDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_rows, "RUN_LOG_BYTES_MAX", 10_000)
    run = deployment.start("speaks_much", {"rounds": 20, "count": 1, "chars": 1_000})
    deployment.run_all_scheduled()

    lines = spoken(deployment, run)
    assert lines[-1][-1] == "Log too large to be kept. Remaining log lines omitted: 1."
    assert len(lines) == 10
    assert deployment.status(run)["type"] == "completed"


def line_of(file: str, text: str) -> int:
    """The number of the line that holds a text."""
    lines = Path(APP, file).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.mark.parametrize(
    ("kind", "inline"),
    [("query", False), ("query", True), ("mutation", False), ("mutation", True), ("action", False)],
)
def test_a_failed_step_tells_where(deployment: FlowDeployment, kind: str, inline: bool) -> None:
    """File and line of its function, and no frame of ours: to the handler that catches it, and to who lists it."""
    source = {
        "query": 'raise ValueError("no query")',
        "mutation": 'raise ConvexError({"code": "broke", "limit": 3})',
        "action": 'raise RuntimeError("no action")',
    }[kind]
    run = deployment.start("fails_in", {"kind": kind, "function": f"work:fail_{kind}", "inline": inline})
    deployment.run_all_scheduled()

    place = f"    at fail_{kind} (flow_app/work.py:{line_of('work.py', source)})\n        {source}"
    assert deployment.status(run)["result"] == place
    [step] = deployment.query("flows:steps", {"run": run})["page"]
    assert step["runResult"]["traceback"] == place


def test_the_traceback_of_a_failed_run_shows_both_sides(deployment: FlowDeployment) -> None:
    """First the step's function, then the await of the handler that the error came out of."""
    deployment.start("lets_fail")
    deployment.run_all_scheduled()

    [row] = deployment.rows("workflows")
    inner, outer = row["result"]["traceback"].split("The above exception was the direct cause of the following")
    assert f"at fail_mutation (flow_app/work.py:{line_of('work.py', 'raise ConvexError')})" in inner
    assert "flow_app/flows.py" in outer
    assert "await step.run_mutation(internal.work.fail_mutation)" in outer
    for ours in ("convexpy_workflow/engine.py", "convexpy/runtime", "asyncio/"):
        assert ours not in row["result"]["traceback"]
