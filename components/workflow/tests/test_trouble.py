"""News that a run cannot take: its wave fails for no reason of the handler's own, and everybody sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from convexpy_workflow import cli_output
from flow_deployment import FlowDeployment
from test_changed_code import ORIGINAL, ChangingApp, push

from convexpy import components

# As a limit of the platform's does, it interrupts the wave, whatever the handler would make of it.
INTERRUPTED = """
await step.sleep(60)
raise type("TimeIsUp", (BaseException,), {})("the wave took too long")
"""
FINE = INTERRUPTED.partition("raise")[0] + 'return "done"'


@pytest.fixture
def app(tmp_path: Path) -> ChangingApp:
    return ChangingApp(tmp_path / "troubled_app")


@pytest.fixture
def deployment(app: ChangingApp) -> Iterator[FlowDeployment]:
    with FlowDeployment(app.folder) as deployment:
        yield deployment


def begin(deployment: FlowDeployment, app: ChangingApp, body: str) -> tuple[str, int]:
    """Start a run that sleeps, and let the sleep be over; tells when that was."""
    push(deployment, app, body)
    run = deployment.start("order")
    deployment.advance(60)
    return run, deployment.clock.now_ms()


def console(deployment: FlowDeployment, function: str, args: dict[str, Any]) -> Any:
    """What the command line asks."""
    return deployment.query(getattr(components.workflow.console, function), args)


def test_status_says_that_a_wave_fails_how_often_and_when_it_is_tried_again(
    deployment: FlowDeployment, app: ChangingApp
) -> None:
    run, at = begin(deployment, app, INTERRUPTED)

    status = deployment.status(run)
    assert status["type"] == "inProgress"
    assert [step["kind"] for step in status["running"]] == ["sleep"], "nothing of the wave was written"
    trouble = status["trouble"]
    assert trouble["error"].startswith("TimeIsUp: the wave took too long")
    assert (trouble["attempts"], trouble["nextAt"]) == (1, at + 500)

    deployment.advance(10)
    trouble = deployment.status(run)["trouble"]
    assert (trouble["attempts"], trouble["nextAt"]) == (5, at + 15_500)


def test_lists_and_the_command_line_show_it_too(
    deployment: FlowDeployment, app: ChangingApp, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = begin(deployment, app, INTERRUPTED)

    trouble = deployment.status(run)["trouble"]
    listed = deployment.query(components.workflow.runs.list_runs, {})["page"]
    assert [(one["state"], one["trouble"]) for one in listed] == [("running", trouble)]
    assert [one["trouble"] for one in console(deployment, "list_runs", {})] == [trouble]
    shown = console(deployment, "show", {"workflowId": run})
    assert shown["trouble"] == trouble

    cli_output.print_runs(console(deployment, "list_runs", {}))
    assert "failed 1 time: TimeIsUp: the wave took too long" in capsys.readouterr().out
    cli_output.print_run({**shown, "steps": shown["stepPage"]["page"]})
    facts = capsys.readouterr().out
    assert "trouble" in facts and "failed 1 time, next 20" in facts and "TimeIsUp: the wave" in facts


def test_code_that_can_take_the_news_has_it_at_once(deployment: FlowDeployment, app: ChangingApp) -> None:
    """The next attempt would be an hour away."""
    run, _ = begin(deployment, app, INTERRUPTED)
    deployment.advance(2 * 3600)
    assert deployment.status(run)["trouble"]["attempts"] > 10

    push(deployment, app, FINE)
    deployment.advance()  # no time passes

    assert deployment.status(run) == {"type": "completed", "result": "done"}
    assert "trouble" not in deployment.rows("workflows")[0]


def test_code_that_cannot_take_it_either_is_counted_as_one_attempt_more(
    deployment: FlowDeployment, app: ChangingApp
) -> None:
    run, _ = begin(deployment, app, INTERRUPTED)
    deployment.advance(3600)
    before = deployment.status(run)["trouble"]

    push(deployment, app, INTERRUPTED.replace("too long", "longer still"))
    deployment.advance()

    after = deployment.status(run)["trouble"]
    assert after["attempts"] == before["attempts"] + 1
    assert after["nextAt"] > deployment.clock.now_ms()


def test_trouble_is_over_when_its_own_news_is_taken_not_when_others_are(
    deployment: FlowDeployment, app: ChangingApp
) -> None:
    body = """
async def is_interrupted():
    await step.sleep(60)
    raise type("TimeIsUp", (BaseException,), {})("the wave took too long")
await asyncio.gather(is_interrupted(), step.sleep(70))
"""
    run, _ = begin(deployment, app, body)
    deployment.advance(20)

    status = deployment.status(run)
    assert [step["args"] for step in status["running"]] == [{}], "the longer sleep is over"
    assert status["trouble"]["attempts"] == 6


def test_a_run_whose_workflow_is_gone_says_so(deployment: FlowDeployment, app: ChangingApp) -> None:
    push(deployment, app, ORIGINAL)
    run = deployment.start("order")
    deployment.advance(1)
    text = (app.folder / "flows.py").read_text()
    (app.folder / "flows.py").write_text(
        text.replace("async def order", "async def orders").replace(".order", ".orders")
    )
    deployment.push()
    deployment.advance(60)

    trouble = deployment.status(run)["trouble"]
    assert trouble["error"].startswith("Could not find function for 'flows:order'.")

    push(deployment, app, ORIGINAL)
    deployment.advance()
    assert deployment.status(run)["type"] == "completed"


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_a_troubled_run_can_be_ended_and_is_in_no_trouble_then(
    deployment: FlowDeployment, app: ChangingApp, end: str
) -> None:
    run, _ = begin(deployment, app, INTERRUPTED)

    args = {"workflowId": run} | ({"error": "given up"} if end == "fail" else {})
    deployment.mutation(getattr(components.workflow.lifecycle, end), args)
    deployment.run_all_scheduled()

    assert deployment.status(run)["type"] == {"cancel": "canceled", "fail": "failed"}[end]
    assert "trouble" not in deployment.rows("workflows")[0]
    assert [row["result"]["kind"] for row in deployment.app_rows("ends")] == [deployment.status(run)["type"]]


def test_an_on_complete_that_raised_is_in_the_list(deployment: FlowDeployment, app: ChangingApp) -> None:
    """It is called once, and the result stands; so it is no trouble."""
    text = (app.folder / "flows.py").read_text()
    (app.folder / "flows.py").write_text(
        text.replace('ctx.db.insert("ends", {"result": result})', 'raise ValueError("no end")')
    )
    deployment.push()
    run = deployment.start("order")
    deployment.run_all_scheduled()

    assert deployment.status(run)["type"] == "completed"
    [listed] = deployment.query(components.workflow.runs.list_runs, {})["page"]
    assert listed["onCompleteError"] == "ValueError: no end"
