"""Code that changes under a run: what does not fit is named, parked, and goes on once it fits again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from flow_deployment import FlowDeployment

CONFIG = """
from convexpy import define_app
from convexpy_workflow.config import workflow

app = define_app()
app.use(workflow)
"""

MODULE = """
import asyncio
from typing import Any

from convexpy import components, internal, internal_mutation, mutation, query
from convexpy_workflow import WorkflowManager

workflow = WorkflowManager(components.workflow)


@mutation
def start(ctx, flow: str, args: Any, options: Any) -> str:
    return workflow.start(ctx, internal.flows.order, args, on_complete=internal.flows.end)


@internal_mutation
def end(ctx, workflowId: str, result: Any, context: Any) -> None:
    ctx.db.insert("ends", {{"result": result}})


@query
def status(ctx, run: str) -> Any:
    return workflow.status(ctx, run)


@mutation
def resume(ctx, run: str) -> None:
    workflow.resume(ctx, run)


@internal_mutation
def book(ctx, item: str) -> str:
    return f"booked {{item}}"


@internal_mutation
def pay(ctx, what: str) -> str:
    ctx.db.insert("payments", {{"what": what}})
    return f"paid for {{what}}"


@workflow.define{options}
async def order(step):
{body}
"""

ORIGINAL = """
booked = await step.run_mutation(internal.flows.book, {"item": "room"})
await step.sleep(60)
return await step.run_mutation(internal.flows.pay, {"what": booked})
"""
INSERTED = ORIGINAL.replace("await step.sleep(60)", "await asyncio.sleep(5)\nawait step.sleep(60)")


class ChangingApp:
    """A project folder whose workflow is written anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "convex_config.py").write_text(CONFIG)
        self.write(ORIGINAL)

    def write(self, body: str, options: str = "") -> None:
        text = MODULE.format(body=indent(body.strip(), "    "), options=options)
        (self.folder / "flows.py").write_text(text)

    def line_of(self, text: str) -> int:
        lines = (self.folder / "flows.py").read_text().splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.fixture
def app(tmp_path: Path) -> ChangingApp:
    return ChangingApp(tmp_path / "changing_app")


@pytest.fixture
def deployment(app: ChangingApp) -> Iterator[FlowDeployment]:
    with FlowDeployment(app.folder) as deployment:
        yield deployment


def push(deployment: FlowDeployment, app: ChangingApp, body: str, options: str = "") -> None:
    app.write(body, options)
    deployment.push()


@pytest.mark.parametrize(
    ("body", "position", "difference", "text"),
    [
        (
            ORIGINAL.replace('"room"', '"car"'),
            0,
            "args",
            """Step 0 does not fit the journal (args): its arguments changed at $.item.
  recorded: mutation flows:book with args {'item': 'room'}
  expected by the code now: mutation flows:book with args {'item': 'car'}
""",
        ),
        (
            ORIGINAL.replace("step.sleep(60)", "step.sleep(61)"),
            1,
            "duration",
            """Step 1 does not fit the journal (duration): it slept 60000 ms, and sleeps 61000 ms now.
  recorded: sleep of 60000 ms
  expected by the code now: sleep of 61000 ms
""",
        ),
        (
            "await step.sleep(60)\n" + ORIGINAL,
            0,
            "kind",
            """Step 0 does not fit the journal (kind): its kind was mutation, and is sleep now.
  recorded: mutation flows:book with args {'item': 'room'}
  expected by the code now: sleep of 60000 ms
""",
        ),
        (
            ORIGINAL.replace("await step.sleep(60)\n", ""),
            1,
            "kind",
            """Step 1 does not fit the journal (kind): its kind was sleep, and is mutation now.
  recorded: sleep of 60000 ms
  expected by the code now: mutation flows:pay with args {'what': 'booked room'}
""",
        ),
        (
            "return 1",
            0,
            "missing",
            """Step 0 does not fit the journal (missing): the journal has a step here, but the handler ended without \
asking for it.
  recorded: mutation flows:book with args {'item': 'room'}
  expected by the code now: nothing
""",
        ),
        (INSERTED, 1, "missing", "but the handler waits for other things without asking for it."),
    ],
    ids=["args", "duration", "inserted step", "removed step", "early end", "inserted timer"],
)
def test_a_run_that_does_not_fit_parks_and_goes_on_with_code_that_fits(
    deployment: FlowDeployment, app: ChangingApp, body: str, position: int, difference: str, text: str
) -> None:
    run = deployment.start("order")
    deployment.advance(1)
    push(deployment, app, body)
    deployment.advance(60)

    status = deployment.status(run)
    assert status["type"] == "stuck"
    assert (status["diff"]["position"], status["diff"]["difference"]) == (position, difference)
    assert text in status["reason"]
    assert deployment.app_rows("ends") == deployment.app_rows("payments") == []

    push(deployment, app, ORIGINAL)
    deployment.mutation("flows:resume", {"run": run})
    deployment.advance()

    assert deployment.status(run) == {"type": "completed", "result": "paid for booked room"}
    assert len(deployment.app_rows("payments")) == len(deployment.app_rows("ends")) == 1


def test_a_stuck_run_notices_by_itself_that_the_code_fits(deployment: FlowDeployment, app: ChangingApp) -> None:
    """It looks again after as long as it has been stuck, at most five minutes later; and no more often than that."""
    run = deployment.start("order")
    push(deployment, app, "return 1")
    deployment.advance(timedelta(hours=3))
    assert deployment.status(run)["type"] == "stuck"
    jobs = sum(call.kind == "job" for call in deployment.calls)
    assert 36 <= jobs < 60  # three hours of five minutes, and the first ones

    push(deployment, app, ORIGINAL)
    deployment.advance(timedelta(minutes=7))

    assert deployment.status(run)["type"] == "completed"
    assert len(deployment.app_rows("payments")) == 1


def test_news_that_comes_to_a_stuck_run_is_kept_once(deployment: FlowDeployment, app: ChangingApp) -> None:
    large = ORIGINAL.replace('"room"', '"r" * 50_000')
    push(deployment, app, large)
    run = deployment.start("order")
    push(deployment, app, "return 1")
    deployment.advance()
    assert deployment.status(run)["type"] == "stuck"
    assert len(deployment.rows("large_values")) == 2  # the step's argument and its outcome

    push(deployment, app, large)
    deployment.mutation("flows:resume", {"run": run})
    assert len(deployment.rows("large_values")) == 2
    deployment.run_all_scheduled()

    assert deployment.status(run)["type"] == "completed"


def test_a_stuck_run_stays_stuck_while_the_code_does_not_fit(deployment: FlowDeployment, app: ChangingApp) -> None:
    run = deployment.start("order")
    push(deployment, app, "return 1")
    deployment.advance()
    before = deployment.status(run)

    deployment.mutation("flows:resume", {"run": run})

    assert deployment.status(run) == before


def test_a_run_may_fail_instead(deployment: FlowDeployment, app: ChangingApp) -> None:
    run = deployment.start("order")
    deployment.advance(1)
    push(deployment, app, ORIGINAL.replace("60", "61"), '(on_mismatch="fail")')
    deployment.run_all_scheduled()

    status = deployment.status(run)
    assert status["type"] == "failed"
    assert status["error"].startswith("DeterminismError: Step 1 does not fit the journal (duration)")
    assert [row["result"]["kind"] for row in deployment.app_rows("ends")] == ["failed"]


@pytest.mark.parametrize(
    "body",
    [
        ORIGINAL.replace('"what": booked', '"what": booked + "!"'),
        ORIGINAL.replace("return await", "await asyncio.sleep(9)\nreturn await"),
        "# moved\n\n\n" + ORIGINAL.replace("booked", "answer").replace('"answer ', '"booked '),
    ],
    ids=["a step not reached yet", "a timer not reached yet", "names and lines"],
)
def test_what_the_journal_has_not_reached_may_change(deployment: FlowDeployment, app: ChangingApp, body: str) -> None:
    run = deployment.start("order")
    deployment.advance(1)
    push(deployment, app, body)
    deployment.run_all_scheduled()

    assert deployment.status(run)["type"] == "completed"
    assert len(deployment.app_rows("payments")) == 1


def test_large_arguments_that_changed_are_shortened_in_the_reason(deployment: FlowDeployment, app: ChangingApp) -> None:
    """The reason lies in the run's row, and both sides of the difference may be as large as a step can be."""
    large = ORIGINAL.replace('"room"', '"r" * 700_000')
    push(deployment, app, large)
    run = deployment.start("order")
    deployment.advance(1)
    push(deployment, app, large.replace('"r"', '"s"'))
    deployment.advance(60)

    status: Any = deployment.status(run)
    assert status["type"] == "stuck"
    assert len(status["diff"]["recorded"]["args"]) < 1_000
