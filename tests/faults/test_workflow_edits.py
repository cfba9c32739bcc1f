"""A running server, a running workflow, and its file edited: what does not fit is named, waits, and goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.server import Server
from tests.faults.test_reload import Project
from tests.patience import PATIENCE_SECONDS

CONFIG = """from convexpy_workflow.config import workflow

from convexpy import define_app

app = define_app()
app.use(workflow)
"""

ORDERS = """import asyncio
from typing import Any

from convexpy_workflow import WorkflowManager

from convexpy import components, internal, internal_action, internal_mutation, internal_query, mutation, query

workflow = WorkflowManager(components.workflow)


@workflow.define
async def order(step) -> Any:
    booked = await step.run_mutation(internal.orders.book, {"item": "room"})
    await step.run_action(internal.orders.wait_for_the_gate)
    return await step.run_mutation(internal.orders.book, {"item": booked})


@internal_mutation
def book(ctx, item: str) -> str:
    ctx.db.insert("booked", {"item": item})
    return f"booked {item}"


@internal_action
async def wait_for_the_gate(ctx) -> None:
    while not await ctx.run_query(internal.orders.is_open):
        await asyncio.sleep(0.01)


@internal_query
def is_open(ctx) -> bool:
    return ctx.db.query("gate").first() is not None


@mutation
def open_gate(ctx) -> None:
    ctx.db.insert("gate", {})


@mutation
def begin(ctx) -> str:
    return workflow.start(ctx, internal.orders.order)


@query
def status(ctx, run: str) -> Any:
    return workflow.status(ctx, run)


@query
def booked(ctx) -> list[str]:
    return [row["item"] for row in ctx.db.query("booked")]
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    folder = tmp_path / "edited_orders"
    folder.mkdir()
    (folder / "convex_config.py").write_text(CONFIG)
    (folder / "orders.py").write_text(ORDERS)
    server = Server(folder, tmp_path / "data", is_watching=True)
    server.start()
    yield Project(folder, server)
    server.stop()


def wait_for(project: Project, run: str, kind: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    status: dict[str, Any] = project.call("query", "orders:status", {"run": run})
    while status["type"] != kind:
        assert time.monotonic() < deadline, status
        time.sleep(0.02)  # polling another process
        status = project.call("query", "orders:status", {"run": run})
    return status


def is_at_the_gate(status: dict[str, Any]) -> bool:
    """Whether the run's first step is over and its second one has begun."""
    return [step["name"] for step in status["running"]] == ["orders:wait_for_the_gate"]


def lines_after(project: Project, count: int) -> list[str]:
    return [project.server.output.next(PATIENCE_SECONDS) or "" for _ in range(count)]


def test_an_edit_under_a_running_workflow(project: Project) -> None:
    run = project.call("mutation", "orders:begin")
    while not is_at_the_gate(project.call("query", "orders:status", {"run": run})):
        time.sleep(0.02)  # polling another process; before that the journal has no first step that could not fit

    project.edit("orders.py", '{"item": "room"}', '{"item": "suite"}')
    project.reload()
    said = lines_after(project, 3)
    assert said[0].startswith("orders:order: 1 of 1 runs checked does not fit this code and will be stuck")
    assert said[1] == f"  {run}: Step 0 does not fit the journal (args): its arguments changed at $.item."
    assert said[2].startswith("    changed step 0: mutation orders:book with args {'item': 'suite'}")
    assert "edited_orders/orders.py:13  booked = await step.run_mutation(" in said[2]

    project.call("mutation", "orders:open_gate")
    status = wait_for(project, run, "stuck")
    assert status["diff"]["position"] == 0
    assert status["changes"][0]["change"] == "changed"

    project.server.restart()  # kill -9 while it is stuck: the start is a push as well, and says so again
    assert "orders:order: 1 of 1 runs checked does not fit this code" in project.server.output.so_far()
    assert wait_for(project, run, "stuck")["reason"] == status["reason"]

    production = Server(project.folder, project.server.data, "serve")
    project.server.stop()
    production.start()
    said_in_production = production.output.so_far()
    production.stop()
    assert "orders:order: 1 of 1 runs checked does not fit this code" in said_in_production
    project.server.start()
    assert wait_for(project, run, "stuck")["reason"] == status["reason"]

    project.edit("orders.py", '{"item": "suite"}', '{"item": "room"}')
    project.reload()
    assert lines_after(project, 1) == ["orders:order: 1 stuck run will go on with this code."]
    assert wait_for(project, run, "completed")["result"] == "booked booked room"
    assert project.call("query", "orders:booked") == ["room", "booked room"]  # each step's effect once
