"""Code that changes under running workflows: what a push says beforehand, and what keeps old runs going."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from convexpy_workflow.warm import warm_runs
from flow_deployment import FlowDeployment
from test_changed_code import ORIGINAL, ChangingApp, push

from convexpy import ConvexpyError


@pytest.fixture
def app(tmp_path: Path) -> ChangingApp:
    return ChangingApp(tmp_path / "safe_app")


@pytest.fixture
def deployment(app: ChangingApp) -> Iterator[FlowDeployment]:
    with FlowDeployment(app.folder) as deployment:
        yield deployment


def pushed(deployment: FlowDeployment, app: ChangingApp, body: str, options: str = "") -> Any:
    app.write(body, options)
    return deployment.push()


SLEEPS_LONGER = ORIGINAL.replace("step.sleep(60)", "step.sleep(61)")


def test_a_push_names_the_runs_that_would_be_stuck_before_it_is_live(
    deployment: FlowDeployment, app: ChangingApp
) -> None:
    run = deployment.start("order")
    deployment.advance(1)

    found = pushed(deployment, app, SLEEPS_LONGER).findings

    line = app.line_of("step.sleep(61)")
    assert found == [
        "flows:order: 1 of 1 runs checked does not fit this code and will be stuck until code that fits is pushed, or "
        "they are restarted or ended:",
        f"  {run}: Step 1 does not fit the journal (duration): it slept 60000 ms, and sleeps 61000 ms now.",
        "    changed step 1: sleep of 61000 ms; it slept 60000 ms, and sleeps 61000 ms now.  "
        f"(safe_app/flows.py:{line}  await step.sleep(61))",
    ]


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (ORIGINAL.replace("await step.sleep(60)", "await step.sleep(60)\nawait step.sleep(100)"), []),
        (
            "await step.sleep(5)\n" + ORIGINAL,
            ["inserted step 0: sleep of 5000 ms  (safe_app/flows.py:{line}  await step.sleep(5))"],
        ),
        (
            ORIGINAL.replace('booked = await step.run_mutation(internal.flows.book, {"item": "room"})', "booked = ''"),
            ["removed step 0: mutation flows:book with args {{'item': 'room'}}"],
        ),
        (
            """
await step.sleep(60)
booked = await step.run_mutation(internal.flows.book, {"item": "room"})
return booked
""",
            ["moved step 1: sleep of 60000 ms, now step 0  (safe_app/flows.py:{line}  await step.sleep(60))"],
        ),
        (
            ORIGINAL.replace('"room"', '"car"'),
            [
                "changed step 0: mutation flows:book with args {{'item': 'car'}}; its arguments changed at $.item.  "
                '(safe_app/flows.py:{line}  booked = await step.run_mutation(internal.flows.book, {{"item": "car"}}))'
            ],
        ),
    ],
    ids=["beyond the journal", "inserted", "removed", "moved", "arguments"],
)
def test_the_diff_says_what_was_inserted_removed_moved_or_changed(
    deployment: FlowDeployment, app: ChangingApp, body: str, changes: list[str]
) -> None:
    run = deployment.start("order")
    deployment.advance(1)

    found = pushed(deployment, app, body).findings
    said = [line.strip() for line in found if line.startswith("    ")]
    place = said[0].partition("flows.py:")[2].partition(" ")[0] if said else ""
    assert said == [text.format(line=place) for text in changes]

    deployment.advance(60)
    status = deployment.status(run)
    if changes:  # the stuck run carries the same
        assert [change["change"] for change in status["changes"]] == [text.partition(" ")[0] for text in changes]
    else:
        assert status["type"] == "inProgress"


def test_steps_side_by_side_are_placed_at_the_line_that_waits_for_them(
    deployment: FlowDeployment, app: ChangingApp
) -> None:
    both = """
await asyncio.gather(step.sleep(10), step.sleep(20))
return 1
"""
    push(deployment, app, both)
    deployment.start("order")

    found = pushed(deployment, app, both.replace("20", "30")).findings

    assert "(safe_app/flows.py:" in found[-1]
    assert found[-1].endswith("await asyncio.gather(step.sleep(10), step.sleep(30)))")


def test_a_stuck_run_goes_on_as_soon_as_fitting_code_is_pushed(deployment: FlowDeployment, app: ChangingApp) -> None:
    run = deployment.start("order")
    deployment.advance(1)
    pushed(deployment, app, SLEEPS_LONGER)
    deployment.advance(3600)
    assert deployment.status(run)["type"] == "stuck"

    found = pushed(deployment, app, ORIGINAL).findings
    assert found == ["flows:order: 1 stuck run will go on with this code."]
    deployment.advance()  # no time passes

    assert deployment.status(run) == {"type": "completed", "result": "paid for booked room"}


def test_a_push_that_does_not_mend_a_stuck_run_says_so_again(deployment: FlowDeployment, app: ChangingApp) -> None:
    run = deployment.start("order")
    deployment.advance(1)
    pushed(deployment, app, SLEEPS_LONGER)
    deployment.advance(60)

    found = pushed(deployment, app, ORIGINAL.replace("60", "62")).findings
    assert "sleeps 62000 ms now" in found[1]
    deployment.advance()

    assert "sleeps 62000 ms now" in deployment.status(run)["reason"]


def test_a_definition_may_refuse_code_that_running_runs_do_not_fit(
    deployment: FlowDeployment, app: ChangingApp
) -> None:
    refusing = '(on_mismatch="refuse")'
    push(deployment, app, ORIGINAL, refusing)
    run = deployment.start("order")
    deployment.advance(1)

    app.write(SLEEPS_LONGER, refusing)
    with pytest.raises(ConvexpyError, match=r"(?s)'workflow' refuses this push.*would be stuck.*sleeps 61000 ms now"):
        deployment.push()

    deployment.advance(60)
    assert deployment.status(run)["type"] == "completed"  # the code before it went on


def test_runs_that_will_fail_are_named_too(deployment: FlowDeployment, app: ChangingApp) -> None:
    deployment.start("order")
    deployment.advance(1)

    found = pushed(deployment, app, SLEEPS_LONGER, '(on_mismatch="fail")').findings

    assert found[0] == "flows:order: 1 of 1 runs checked does not fit this code and will fail:"


def test_a_run_that_waits_for_nothing_is_no_finding(deployment: FlowDeployment, app: ChangingApp) -> None:
    push(deployment, app, "await asyncio.get_running_loop().create_future()")
    run = deployment.start("order")
    assert deployment.status(run)["type"] == "stuck"

    assert deployment.push().findings == []


def test_a_second_look_at_a_stuck_run_shows_the_code_of_then(deployment: FlowDeployment, app: ChangingApp) -> None:
    """The text is the same after the edit, and the line is another one."""
    run = deployment.start("order")
    deployment.advance(1)
    pushed(deployment, app, SLEEPS_LONGER)
    deployment.advance(60)
    before = deployment.status(run)
    pushed(deployment, app, "# moved\n" + SLEEPS_LONGER.strip())
    deployment.advance()

    after = deployment.status(run)
    assert after["reason"] == before["reason"]
    line = app.line_of("step.sleep(61)")
    assert f"flows.py:{line} " in after["changes"][0]["place"]
    assert f"flows.py:{line} " not in before["changes"][0]["place"]


def test_runs_whose_workflow_is_gone_are_named(deployment: FlowDeployment, app: ChangingApp) -> None:
    deployment.start("order")
    text = (app.folder / "flows.py").read_text().replace("async def order", "async def orders")
    (app.folder / "flows.py").write_text(text)

    [found] = deployment.push().findings

    assert found.startswith("flows:order: it has runs that this code cannot go on with, and that wait for code that")
    assert "Could not find function for 'flows:_replay_order'" in found


@pytest.mark.parametrize("is_begun", [False, True])
@pytest.mark.parametrize("pause", ["step.sleep(60)", "asyncio.sleep(60)"])
def test_runs_whose_workflow_was_gone_for_a_while_go_on(
    deployment: FlowDeployment, app: ChangingApp, pause: str, is_begun: bool
) -> None:
    """What was due meanwhile, a step's outcome, a sleep, a timer, is kept until there is code to take it."""
    push(deployment, app, ORIGINAL.replace("step.sleep(60)", pause))
    run = deployment.start("order")
    deployment.advance(1 if is_begun else 0)
    text = (app.folder / "flows.py").read_text()
    (app.folder / "flows.py").write_text(text.replace("async def order", "async def orders"))
    deployment.push()
    deployment.advance(100)
    assert deployment.status(run)["type"] == "inProgress"

    (app.folder / "flows.py").write_text(text)
    deployment.push()
    deployment.advance(600)

    assert deployment.status(run) == {"type": "completed", "result": "paid for booked room"}
    assert len(deployment.app_rows("payments")) == 1


def test_a_run_whose_workflow_is_gone_can_be_ended(deployment: FlowDeployment, app: ChangingApp) -> None:
    run = deployment.start("order")
    deployment.advance(1)
    text = (app.folder / "flows.py").read_text()
    stop = "\n\n@mutation\ndef stop(ctx, run: str) -> None:\n    workflow.cancel(ctx, run)\n"
    (app.folder / "flows.py").write_text(text.replace("async def order", "async def orders") + stop)
    deployment.push()

    deployment.mutation("flows:stop", {"run": run})
    deployment.advance(100)

    assert deployment.status(run) == {"type": "canceled"}
    assert [row["result"]["kind"] for row in deployment.app_rows("ends")] == ["canceled"]
    assert deployment.push().findings == []


def test_a_push_looks_at_a_bounded_number_of_runs(
    deployment: FlowDeployment, app: ChangingApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convexpy_workflow.component.pushes.RUNS_CHECKED_PER_WORKFLOW", 2)
    for _ in range(5):
        deployment.start("order")

    found = pushed(deployment, app, SLEEPS_LONGER.replace("room", "car")).findings

    assert found[0].startswith("flows:order: 2 of 2 runs checked do not fit")
    assert found[-1] == "flows:order: 1 or more other runs were not checked."


def test_code_that_fits_is_pushed_without_a_word(deployment: FlowDeployment, app: ChangingApp) -> None:
    deployment.start("order")
    deployment.advance(1)
    assert pushed(deployment, app, ORIGINAL.replace("return await", "print('x')\nreturn await")).findings == []


# --- old behaviour kept in code

PATCHED = """
booked = await step.run_mutation(internal.flows.book, {"item": "room"})
if step.patched("two nights"):
    await step.run_mutation(internal.flows.book, {"item": "a second night"})
await step.sleep(60)
return (await step.run_mutation(internal.flows.pay, {"what": booked})) + f" {step.patched('two nights')}"
"""


@pytest.mark.parametrize("is_cold", [False, True])
def test_patched_keeps_runs_that_passed_it_on_the_old_branch(
    deployment: FlowDeployment, app: ChangingApp, is_cold: bool
) -> None:
    old = deployment.start("order")
    deployment.advance(1)
    assert pushed(deployment, app, PATCHED).findings == []
    new = deployment.start("order")
    deployment.advance(30)
    if is_cold:
        warm_runs.clear()
    deployment.run_all_scheduled()

    assert deployment.status(old)["result"] == "paid for booked room False"
    assert deployment.status(new)["result"] == "paid for booked room True"
    markers = {row["_id"]: row.get("patches") for row in deployment.rows("workflows")}
    assert markers == {old: None, new: [{"name": "two nights", "resolution": 1}]}


def test_a_run_that_has_not_come_to_a_patch_takes_the_new_branch(deployment: FlowDeployment, app: ChangingApp) -> None:
    run = deployment.start("order")  # its first step has not run yet
    push(deployment, app, PATCHED)
    deployment.run_all_scheduled()

    assert deployment.status(run)["result"].endswith("True")


def test_a_deprecated_patch_fits_the_runs_that_took_it_and_no_older_ones(
    deployment: FlowDeployment, app: ChangingApp
) -> None:
    deprecated = PATCHED.replace('if step.patched("two nights"):', 'step.deprecate_patch("two nights")\nif True:')
    old = deployment.start("order")
    deployment.advance(1)
    push(deployment, app, PATCHED)
    new = deployment.start("order")
    deployment.advance(1)

    found = pushed(deployment, app, deprecated).findings
    assert f"  {old}: Step 1 does not fit the journal" in found[1]
    assert new not in "\n".join(found)
    later = deployment.start("order")
    deployment.advance(120)

    assert deployment.status(old)["type"] == "stuck"
    for run in (new, later):
        assert deployment.status(run)["result"] == "paid for booked room True"
    removed = PATCHED.replace('if step.patched("two nights"):', "if True:").replace("step.patched('two nights')", "1")
    deployment.mutation("flows:resume", {"run": old})
    run = deployment.start("order")
    deployment.advance(1)
    assert run not in "\n".join(pushed(deployment, app, removed).findings)


def test_the_version_of_a_run_is_the_one_it_was_started_with(deployment: FlowDeployment, app: ChangingApp) -> None:
    branches = ORIGINAL.replace(
        "await step.sleep(60)", "await step.sleep(60 if step.version < 2 else 5)\nprint('version', step.version)"
    )
    old = deployment.start("order")
    deployment.advance(1)
    assert pushed(deployment, app, branches, "(version=2)").findings == []
    new = deployment.start("order")
    deployment.advance(10)
    assert deployment.status(new)["type"] == "completed"
    assert deployment.status(old)["type"] == "inProgress"
    deployment.advance(60)

    assert deployment.status(old)["type"] == "completed"
    assert deployment.printed() == ["[LOG] version 2", "[LOG] version 1"]


def test_a_restart_from_the_beginning_takes_the_newest_version(deployment: FlowDeployment, app: ChangingApp) -> None:
    restart = "\n\n@mutation\ndef restart(ctx, run: str) -> None:\n    workflow.restart(ctx, run, from_=0)\n"
    run = deployment.start("order")
    deployment.run_all_scheduled()
    app.write("return step.version", "(version=3)")
    with (app.folder / "flows.py").open("a") as file:
        file.write(restart)
    deployment.push()

    deployment.mutation("flows:restart", {"run": run})

    assert deployment.status(run) == {"type": "completed", "result": 3}


def test_an_old_version_may_be_kept_as_a_handler_of_its_own(deployment: FlowDeployment, app: ChangingApp) -> None:
    old = deployment.start("order")
    deployment.advance(1)
    app.write("return 'the new way'", "(version=2)")
    body = ORIGINAL.strip().replace("\n", "\n    ")
    with (app.folder / "flows.py").open("a") as file:
        file.write(f"\n\n@workflow.old_version(order, 1)\nasync def order_before(step):\n    {body}\n")

    assert deployment.push().findings == []
    new = deployment.start("order")
    deployment.advance(60)

    assert deployment.status(new)["result"] == "the new way"
    assert deployment.status(old)["result"] == "paid for booked room"


def test_old_versions_are_of_workflows_and_older(deployment: FlowDeployment, app: ChangingApp) -> None:
    for wrong, text in (("book, 1", "is no workflow"), ("order, 2", "Version 2 is not older than that of order, 2")):
        app.write("return 1", "(version=2)")
        with (app.folder / "flows.py").open("a") as file:
            file.write(f"\n\n@workflow.old_version({wrong})\nasync def order_before(step):\n    pass\n")
        with pytest.raises(ConvexpyError, match=text):
            deployment.push()


def test_waves_are_counted_by_where_the_handler_came_from(deployment: FlowDeployment, app: ChangingApp) -> None:
    run = deployment.start("order")
    deployment.advance(1)
    warm_runs.clear()
    deployment.run_all_scheduled()

    rows: Any = {row["_id"]: row for row in deployment.rows("workflows")}
    assert rows[run]["waves"] == {"resumed": 1, "replayed": 1}  # paid in the wave that the sleep woke
