"""What is asked of a run and makes no sense is refused by a sentence, and nothing is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf, nan

import pytest
from convexpy_workflow import Event, WorkflowManager
from convexpy_workflow.warm import warm_runs
from flow_deployment import FlowDeployment
from refusals import FLAG, NO_COUNTS, PARALLELISM, WHOLE, Rows, each

from convexpy import components, internal, v

manager = WorkflowManager(components.workflow)
bounded_manager = WorkflowManager(components.workflow, max_parallelism=1)
sums = internal.flows.sums
Typed = Event("e", v.string())
NAMES = {"bounded_manager": bounded_manager, "inf": inf, "manager": manager, "nan": nan, "sums": sums, "Typed": Typed}

OF_ONE_RUN = ("status", "cancel", "restart", "resume", "cleanup", "list_steps", "list_logs")
STARTS: Rows = [
    ("manager.start(ctx, 5)", "5 is no function reference. Pass the decorated function"),
    *each("manager.start(ctx, sums, {})", ("[1]", "'x'", "0"), "args are a dict by the names of the parameters"),
    ("manager.start(ctx, sums, {'amounts': 1})", "Path: .args.amounts"),
    ("manager.start(ctx, sums, {'amounts': []}, on_complete=1)", "1 is no function reference."),
    ("manager.start(ctx, sums, {'amounts': []}, start_async=1)", f"start_async {FLAG} 1."),
]
RUNS: Rows = [
    *each("manager.{}(ctx, 5)", OF_ONE_RUN, "Invalid workflow ID: 5. It is the text that start(…) returned"),
    *each("manager.{}(ctx, 'junk')", OF_ONE_RUN, "Invalid workflow ID: junk"),
    ("manager.fail(ctx, None, 'x')", "Invalid workflow ID: None"),
    ("manager.fail(ctx, run, ValueError('x'))", "error is a text, not ValueError('x')."),
    ("manager.fail(ctx, run, '')", "error is a text that is not empty."),
    ("manager.cleanup(ctx, run, force='yes')", f"force {FLAG} 'yes'."),
]
RESTARTS: Rows = [
    *each(
        "manager.restart(ctx, run, from_={})",
        ("0.5", "nan", "True", "10**400"),
        f"from_, where it is a number, {WHOLE} 0 to",
    ),
    ("manager.restart(ctx, run, from_=-1)", "Step number cannot be negative: -1"),
    ("manager.restart(ctx, run, from_='')", "from_ is a text that is not empty."),
    ("manager.restart(ctx, run, from_='flows:nothing')", 'Step "flows:nothing" not found in workflow'),
    ("manager.restart(ctx, run, from_=[1])", "from_ is the number, the name or the function of a step"),
    ("manager.restart(ctx, run, start_async=0)", f"start_async {FLAG} 0."),
]
CONFIGS: Rows = [
    *each("manager.update_config(ctx, max_parallelism={})", ("1", "nan"), "These steps run in no queue"),
    *each("bounded_manager.update_config(ctx, max_parallelism={})", (*NO_COUNTS, "None"), PARALLELISM),
    ("manager.update_config(ctx, max_parallelism=1, workflow=5)", "5 is not what a manager's define(…) has made."),
]
EVENTS: Rows = [
    ("manager.create_event(ctx, 5, run)", "An event is a name or what define_event made, not 5."),
    ("manager.create_event(ctx, '', run)", "An event is a name or what define_event made, not ''."),
    ("manager.create_event(ctx, 'e', 5)", "Invalid workflow ID: 5"),
    ("manager.send_event(ctx, workflow_id=run)", "Name is required if eventId is not specified"),
    ("manager.send_event(ctx, 'e', workflow_id=5)", "Invalid workflow ID: 5"),
    (
        "manager.send_event(ctx, 'e' * 2000, workflow_id=run)",
        "The name of an event is a text of at most 1000 characters, not of 2000.",
    ),
    ("manager.send_event(ctx, event_id=5)", "event_id is the text that create_event(…) returned, not 5."),
    ("manager.send_event(ctx, 'e', workflow_id=run, error=5)", "The error of an event is a text, not 5."),
    (
        "manager.send_event(ctx, 'e', workflow_id=run, value=1, error='x')",
        "An event carries a value or an error, not both.",
    ),
    ("manager.send_event(ctx, Typed, workflow_id=run, value=1)", "Event 'e': "),
]
LISTS = ("list(ctx, {})", "list_by_name(ctx, sums, {})", "list_steps(ctx, run, {})", "list_logs(ctx, run, {})")
PAGES: Rows = [
    ("manager.list(ctx, order='up')", "order is 'asc' or 'desc', not 'up'."),
    ("manager.list_by_name(ctx, 5)", "5 is no function reference."),
    ("manager.list_by_name(ctx, sums, order=None)", "order is 'asc' or 'desc', not None."),
    ("manager.list_steps(ctx, run, order=1)", "order is 'asc' or 'desc', not 1."),
]
for call in LISTS:
    page = f"manager.{call}".format("pagination_opts={}")
    items = page.format("{{'numItems': {}}}")
    PAGES += [
        *each(items, ("0", *NO_COUNTS, "None"), f"pagination_opts['numItems'] {WHOLE} 1 to"),
        (page.format(5), "pagination_opts are a dict such as"),
        (page.format({"cursor": 5}), "pagination_opts['cursor'] is what a page gave as 'continueCursor', not 5."),
        (page.format({"cursor": "junk"}), "'junk' is no cursor of this list. Pass the 'continueCursor'"),
        (page.format({"cursor": "9" * 5000}), "is no cursor of this list."),
    ]


@pytest.fixture(scope="module")
def deployment() -> Iterator[FlowDeployment]:
    warm_runs.clear()
    with FlowDeployment() as deployment:
        yield deployment


@pytest.fixture(scope="module")
def ended(deployment: FlowDeployment) -> str:
    run = deployment.start("sums", {"amounts": [1, 2]})
    deployment.run_all_scheduled()
    return run


@pytest.mark.parametrize(("call", "text"), [*STARTS, *RUNS, *RESTARTS, *CONFIGS, *EVENTS, *PAGES])
def test_a_call_that_makes_no_sense_is_refused(deployment: FlowDeployment, ended: str, call: str, text: str) -> None:
    def rows() -> list[object]:
        tables = [deployment.rows(table) for table in ("workflows", "steps", "events")]
        return [*tables, deployment.run(lambda ctx: ctx.db.system.query("_scheduled_functions").collect())]

    before = rows()

    with pytest.raises(Exception, match=re.escape(text)):
        deployment.run(lambda ctx: eval(call, NAMES | {"ctx": ctx, "run": ended}))

    assert rows() == before
