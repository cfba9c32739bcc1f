"""Events and child runs whose workflows change, break or vanish meanwhile: nothing sent or returned is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from convexpy_workflow.warm import warm_runs
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

from convexpy import components, internal, mutation, query
from convexpy_workflow import WorkflowManager

workflow = WorkflowManager(components.workflow)


@mutation
def start(ctx, flow: str, args: Any, options: Any) -> str:
    return workflow.start(ctx, flow, args)


@query
def status(ctx, run: str) -> Any:
    return workflow.status(ctx, run)


@query
def steps(ctx, run: str) -> Any:
    return workflow.list_steps(ctx, run)["page"]


@mutation
def resume(ctx, run: str) -> None:
    workflow.resume(ctx, run)


@mutation
def send(ctx, run: str, name: str, value: Any) -> None:
    workflow.send_event(ctx, name, workflow_id=run, value=value)


@workflow.define
async def child(step, name: str = "go"):
{child}
"""

PARENT = """
@workflow.define{options}
async def parent(step):
{parent}
"""

LISTENS = "return await step.await_event(name)"
WAITS_FOR_CHILD = "return [await step.run_workflow(internal.flows.child)]"
RACES = """
tasks = [asyncio.create_task({wait}) for name in ("left", "right")]
done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
for task in pending:
    task.cancel()
return [done.pop().result(), *[await step.await_event("right") for _ in range({more})]]
"""
RACES_CHILDREN = RACES.format(wait='step.run_workflow(internal.flows.child, {"name": name})', more=0)
RACES_EVENTS = RACES.format(wait="step.await_event(name)", more=1)
OTHER = "await step.sleep(1)"


class FamilyApp:
    """A project folder with a parent and a child, each of which may be written anew; the parent may vanish."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "convex_config.py").write_text(CONFIG)

    def write(self, parent: str | None, child: str = LISTENS, options: str = "") -> None:
        text = MODULE.format(child=indent(child.strip(), "    "))
        if parent is not None:
            text += PARENT.format(parent=indent(parent.strip(), "    "), options=options)
        (self.folder / "flows.py").write_text(text)


@pytest.fixture
def app(tmp_path: Path) -> FamilyApp:
    app = FamilyApp(tmp_path / "family_app")
    app.write(WAITS_FOR_CHILD)
    return app


@pytest.fixture
def deployment(app: FamilyApp) -> Iterator[FlowDeployment]:
    warm_runs.clear()
    with FlowDeployment(app.folder) as deployment:
        yield deployment
    warm_runs.clear()


def push(
    deployment: FlowDeployment, app: FamilyApp, parent: str | None, child: str = LISTENS, options: str = ""
) -> None:
    app.write(parent, child, options)
    deployment.push()


def children_of(deployment: FlowDeployment, run: str) -> list[str]:
    return [step["nestedWorkflowId"] for step in deployment.query("flows:steps", {"run": run})]


def begin(deployment: FlowDeployment) -> str:
    run = deployment.start("parent")
    deployment.advance()
    return run


def send(deployment: FlowDeployment, run: str, value: Any, name: str = "go") -> None:
    deployment.mutation("flows:send", {"run": run, "name": name, "value": value})
    deployment.advance()


def resume(deployment: FlowDeployment, run: str) -> Any:
    deployment.mutation("flows:resume", {"run": run})
    deployment.advance()
    return deployment.status(run).get("result")


def test_a_parent_shows_that_its_child_is_stuck(deployment: FlowDeployment, app: FamilyApp) -> None:
    run = begin(deployment)
    [child] = children_of(deployment, run)
    push(deployment, app, WAITS_FOR_CHILD, OTHER)
    send(deployment, child, "kept")

    status: Any = deployment.status(run)
    assert status["type"] == "inProgress"
    [wait] = status["waiting"]
    assert (wait["workflowId"], wait["state"]) == (child, "stuck")
    assert "Step 0 does not fit the journal (kind)" in wait["reason"]

    push(deployment, app, WAITS_FOR_CHILD)
    assert resume(deployment, child) == "kept"
    assert deployment.status(run) == {"type": "completed", "result": ["kept"]}


def test_a_child_that_ends_while_its_parent_is_stuck_is_heard_later(deployment: FlowDeployment, app: FamilyApp) -> None:
    run = begin(deployment)
    [child] = children_of(deployment, run)
    push(deployment, app, OTHER)
    send(deployment, child, "kept")
    assert deployment.status(run)["type"] == "stuck"
    assert deployment.status(child) == {"type": "completed", "result": "kept"}

    push(deployment, app, WAITS_FOR_CHILD)
    assert resume(deployment, run) == ["kept"]


def test_both_children_of_a_race_end_while_their_parent_is_stuck(deployment: FlowDeployment, app: FamilyApp) -> None:
    """The first news makes the handler give up the step of the second, which has its outcome already."""
    push(deployment, app, RACES_CHILDREN)
    run = begin(deployment)
    left, right = children_of(deployment, run)
    push(deployment, app, OTHER)
    send(deployment, left, "l", "left")
    send(deployment, right, "r", "right")
    assert deployment.status(run)["type"] == "stuck"

    push(deployment, app, RACES_CHILDREN)
    assert resume(deployment, run) == ["l"]
    assert [step["state"] for step in deployment.rows("steps") if step["workflow"] == run] == ["done", "canceled"]


def test_events_sent_to_a_stuck_run_are_kept_and_given_back(deployment: FlowDeployment, app: FamilyApp) -> None:
    push(deployment, app, RACES_EVENTS)
    run = begin(deployment)
    push(deployment, app, OTHER)
    send(deployment, run, "l", "left")
    send(deployment, run, "r", "right")
    assert deployment.status(run)["type"] == "stuck"
    assert [row["state"] for row in deployment.rows("events")] == ["delivered", "delivered"]

    push(deployment, app, RACES_EVENTS)
    resume(deployment, run)
    assert deployment.status(run) == {"type": "completed", "result": ["l", "r"]}


def test_a_parent_that_fails_instead_of_being_stuck_cancels_its_child(
    deployment: FlowDeployment, app: FamilyApp
) -> None:
    run = begin(deployment)
    [child] = children_of(deployment, run)
    push(deployment, app, OTHER, options='(on_mismatch="fail")')
    deployment.mutation("flows:resume", {"run": run})

    assert deployment.status(run)["type"] == "failed"
    assert deployment.status(child) == {"type": "canceled"}
    assert {row["state"] for row in deployment.rows("steps")} == {"canceled"}


def test_a_child_ends_though_its_parents_code_is_gone_and_tells_it_later(
    deployment: FlowDeployment, app: FamilyApp
) -> None:
    run = begin(deployment)
    [child] = children_of(deployment, run)
    push(deployment, app, None)
    send(deployment, child, "kept")
    assert deployment.status(child) == {"type": "completed", "result": "kept"}
    deployment.advance(3_000)
    assert deployment.status(run)["type"] == "inProgress"

    push(deployment, app, WAITS_FOR_CHILD)
    deployment.advance(3_600)

    assert deployment.status(run) == {"type": "completed", "result": ["kept"]}


def test_what_was_sent_is_taken_though_the_code_was_gone_when_it_was_due(
    deployment: FlowDeployment, app: FamilyApp
) -> None:
    push(deployment, app, "return await step.await_event('go')")
    run = begin(deployment)
    deployment.mutation("flows:send", {"run": run, "name": "go", "value": "kept"})
    push(deployment, app, None)
    deployment.advance(60)
    assert [row["state"] for row in deployment.rows("events")] == ["delivered"]

    push(deployment, app, "return await step.await_event('go')")
    deployment.run_all_scheduled()

    assert deployment.status(run) == {"type": "completed", "result": "kept"}
