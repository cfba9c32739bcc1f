"""A run that has ended, or is stuck, goes on from one of its steps; `fail` ends one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from convexpy_workflow.warm import warm_runs
from flow_deployment import FlowDeployment
from test_changed_code import MODULE, ChangingApp

from convexpy import ConvexpyError


def positions(deployment: FlowDeployment) -> list[int]:
    return sorted(int(row["position"]) for row in deployment.rows("steps"))


def restart(deployment: FlowDeployment, run: str, **options: Any) -> None:
    deployment.mutation("flows:restart", {"run": run, "options": options})


@pytest.fixture
def ended(deployment: FlowDeployment) -> str:
    """A run of three steps that add 1, 2 and 4 and has come to its end."""
    run = deployment.start("sums", {"amounts": [1, 2, 4]}, notes_end=True)
    deployment.advance()
    assert deployment.status(run) == {"type": "completed", "result": 7}
    return run


def test_restart_from_a_number_deletes_exactly_the_steps_from_there(deployment: FlowDeployment, ended: str) -> None:
    before = {row["position"]: row for row in deployment.rows("steps")}

    restart(deployment, ended, from_=1)

    # The handler has run in the caller's transaction: step 1 is issued again, step 2 is gone.
    after = {row["position"]: row for row in deployment.rows("steps")}
    assert sorted(after) == [0, 1]
    assert after[0]["_id"] == before[0]["_id"]
    assert after[1]["_id"] not in {row["_id"] for row in before.values()}
    [row] = deployment.rows("workflows")
    assert (row["state"], row["epoch"], "result" in row) == ("running", 1, False)
    deployment.advance()
    assert deployment.status(ended) == {"type": "completed", "result": 13}  # 7, then 2 and 4 once more
    assert [end["result"]["value"] for end in deployment.app_rows("ends")] == [7, 13]


@pytest.mark.parametrize("options", [{"from_": "work:add"}, {"from_add": True}], ids=["name", "function"])
def test_restart_from_a_name_is_from_its_last_step(
    deployment: FlowDeployment, ended: str, options: dict[str, Any]
) -> None:
    restart(deployment, ended, **options)
    assert [row["state"] for row in deployment.rows("steps")] == ["done", "done", "pending"]
    deployment.advance()

    assert deployment.status(ended)["result"] == 11


@pytest.mark.parametrize(
    ("from_", "text"),
    [("work:subtract", 'Step "work:subtract" not found'), (-1, "Step number cannot be negative: -1")],
)
def test_restart_from_nowhere_is_refused(deployment: FlowDeployment, ended: str, from_: Any, text: str) -> None:
    with pytest.raises(ConvexpyError, match=text):
        restart(deployment, ended, from_=from_)

    assert deployment.status(ended)["type"] == "completed"


def test_restart_while_running_is_refused(deployment: FlowDeployment) -> None:
    run = deployment.start("waits", {"days": 1})
    with pytest.raises(ConvexpyError, match="Workflow is still running"):
        restart(deployment, run)


def test_restart_with_start_async_runs_the_handler_later(deployment: FlowDeployment, ended: str) -> None:
    restart(deployment, ended, from_=0, start_async=True)
    assert deployment.rows("steps") == []
    assert deployment.status(ended) == {"type": "inProgress", "running": [], "waiting": []}
    deployment.advance()

    assert deployment.status(ended)["result"] == 14


def test_a_restart_from_its_beginning_is_as_a_new_run(deployment: FlowDeployment) -> None:
    """Steps side by side, timers, a failed step, an inline one: all of it is done once more."""
    run = deployment.start("everything")
    deployment.run_all_scheduled()
    first = deployment.status(run)
    assert first["type"] == "completed"
    steps = len(deployment.rows("steps"))

    restart(deployment, run, from_=0)
    deployment.run_all_scheduled()

    again = deployment.status(run)
    assert again["type"] == "completed"
    assert len(again["result"]) == len(first["result"])
    assert len(deployment.rows("steps")) == steps


def test_every_place_of_a_long_run_can_be_restarted_from(deployment: FlowDeployment) -> None:
    """What is kept has its outcome still, and what is not is run again; whatever the handler's constructs."""
    run = deployment.start("everything")
    deployment.run_all_scheduled()
    first = deployment.status(run)["result"]
    count = len(deployment.rows("steps"))
    for number in reversed(range(count + 1)):
        before = {row["position"]: row["_id"] for row in deployment.rows("steps")}
        outcomes = {row["position"]: row.get("outcome") for row in deployment.rows("steps")}

        restart(deployment, run, from_=number)
        kept = {row["position"]: row["_id"] for row in deployment.rows("steps") if row["position"] < number}
        assert kept == {position: id for position, id in before.items() if position < number}
        warm_runs.clear()  # what the wave made must hold for a replay too
        deployment.run_all_scheduled()

        assert deployment.status(run)["type"] == "completed", number
        for row in deployment.rows("steps"):
            if row["position"] < number and outcomes[row["position"]] is not None:
                assert row["outcome"] == outcomes[row["position"]]
        assert positions(deployment) == list(range(count))
        assert all(row["issued"] < 1000 for row in deployment.rows("steps"))
    assert len(deployment.status(run)["result"]) == len(first)


def test_of_steps_side_by_side_those_before_the_number_are_kept(deployment: FlowDeployment) -> None:
    run = deployment.start("gathers", {"names": ["a", "b", "c"]})
    deployment.advance()

    restart(deployment, run, from_=1)
    assert [row["state"] for row in deployment.rows("steps")] == ["done", "pending", "pending"]
    deployment.advance()

    assert deployment.status(run)["result"] == [1, 2, 2]


def test_steps_that_were_canceled_with_the_run_begin_again(deployment: FlowDeployment) -> None:
    """Two actions side by side take 5 and 50 seconds; the run is canceled after 10."""
    run = deployment.start("gathers_slowly", {"seconds": [5, 50]})
    deployment.advance(10)
    deployment.mutation("flows:cancel", {"run": run})
    assert [row["state"] for row in deployment.rows("steps")] == ["done", "canceled"]

    restart(deployment, run)
    assert [row["state"] for row in deployment.rows("steps")] == ["done", "pending"]
    deployment.advance(60)

    assert deployment.status(run) == {"type": "completed", "result": ["5 s", "50 s"]}


def test_a_run_that_was_canceled_before_it_began_can_begin(deployment: FlowDeployment) -> None:
    run = deployment.start("sums", {"amounts": [3]}, start_async=True)
    deployment.mutation("flows:cancel", {"run": run})
    restart(deployment, run)
    deployment.advance()

    assert deployment.status(run) == {"type": "completed", "result": 3}


def test_large_values_of_deleted_steps_are_gone(deployment: FlowDeployment) -> None:
    run = deployment.start("passes", {"large": b"x" * 50_000})
    deployment.advance()
    count = len(deployment.rows("large_values"))

    restart(deployment, run, from_=1, start_async=True)
    assert len(deployment.rows("large_values")) == 3  # the run's argument, the first step's argument and its result
    deployment.advance()

    assert deployment.status(run)["result"] == b"x" * 50_000
    assert len(deployment.rows("large_values")) == count


def test_outcomes_of_the_life_before_are_stale(deployment: FlowDeployment) -> None:
    """The action of the canceled life ends while the new one runs; its result is nobody's."""
    run = deployment.start("gathers_slowly", {"seconds": [20]})
    deployment.advance(1)
    deployment.mutation("flows:cancel", {"run": run})
    restart(deployment, run, from_=0)
    deployment.advance(19.5)
    assert deployment.status(run)["type"] == "inProgress"
    deployment.advance(10)

    assert deployment.status(run) == {"type": "completed", "result": ["20 s"]}


@pytest.fixture
def app(tmp_path: Path) -> ChangingApp:
    return ChangingApp(tmp_path / "restarting_app")


@pytest.fixture
def changing(app: ChangingApp) -> Iterator[FlowDeployment]:
    with FlowDeployment(app.folder) as deployment:
        yield deployment


RESTART = """
@mutation
def restart(ctx, run: str, options: Any) -> None:
    workflow.restart(ctx, run, **options)

@mutation
def fail(ctx, run: str) -> None:
    workflow.fail(ctx, run, "we gave up")


@workflow.define"""
BODY = """
booked = await step.run_mutation(internal.flows.book, {"item": "room"})
raise ValueError("no such thing as " + booked)
"""


def write(app: ChangingApp, body: str) -> None:
    text = MODULE.format(body=indent(body.strip(), "    "), options="").replace("\n@workflow.define", RESTART)
    (app.folder / "flows.py").write_text(text)


def test_a_failed_run_goes_on_with_a_mended_handler(changing: FlowDeployment, app: ChangingApp) -> None:
    """No step is run again: the handler takes the last news once more, and does better."""
    write(app, BODY)
    changing.push()
    run = changing.start("order")
    changing.advance()
    assert changing.status(run) == {"type": "failed", "error": "ValueError: no such thing as booked room"}

    write(app, BODY.replace("raise", "await step.sleep(5)\nreturn booked\nraise"))
    changing.push()
    changing.mutation("flows:restart", {"run": run, "options": {}})
    changing.advance(5)

    assert changing.status(run) == {"type": "completed", "result": "booked room"}
    assert [row["result"]["kind"] for row in changing.app_rows("ends")] == ["failed", "success"]


def test_a_kept_step_that_the_code_asks_for_otherwise_runs_anew(changing: FlowDeployment, app: ChangingApp) -> None:
    both = """
one, two = await asyncio.gather(
    step.run_mutation(internal.flows.book, {"item": "room"}), step.run_mutation(internal.flows.book, {"item": "car"})
)
return one + ", " + two
"""
    write(app, both)
    changing.push()
    run = changing.start("order")
    changing.advance()
    write(app, both.replace("room", "suite"))
    changing.push()
    changing.mutation("flows:restart", {"run": run, "options": {"from_": 1}})
    changing.advance()

    assert changing.status(run) == {"type": "completed", "result": "booked suite, booked car"}


def test_a_kept_step_that_the_code_does_not_ask_for_any_more_goes(changing: FlowDeployment, app: ChangingApp) -> None:
    both = 'await asyncio.gather(*(step.run_mutation(internal.flows.book, {"item": i}) for i in ["a", "b", "c"]))'
    write(app, both)
    changing.push()
    run = changing.start("order")
    changing.advance()
    write(app, "return 'nothing to do'")
    changing.push()
    changing.mutation("flows:restart", {"run": run, "options": {"from_": 2}})

    assert changing.status(run) == {"type": "completed", "result": "nothing to do"}
    assert changing.rows("steps") == []


def test_a_stuck_run_can_be_restarted(changing: FlowDeployment, app: ChangingApp) -> None:
    sleeps = 'await step.run_mutation(internal.flows.book, {"item": "room"})\nawait step.sleep(60)\nreturn 1'
    write(app, sleeps)
    changing.push()
    run = changing.start("order")
    changing.advance(1)
    write(app, sleeps.replace("60", "30"))
    changing.push()
    changing.advance(60)
    assert changing.status(run)["type"] == "stuck"

    changing.mutation("flows:restart", {"run": run, "options": {"from_": 1}})
    assert changing.status(run)["type"] == "inProgress"
    changing.advance(30)

    assert changing.status(run) == {"type": "completed", "result": 1}
    changing.run_all_scheduled()
    assert len(changing.app_rows("ends")) == 1


def test_a_stuck_run_can_be_failed(changing: FlowDeployment, app: ChangingApp) -> None:
    write(app, 'await step.run_mutation(internal.flows.book, {"item": "room"})\nawait step.sleep(60)')
    changing.push()
    run = changing.start("order")
    changing.advance(1)
    write(app, "return 1")
    changing.push()
    changing.advance(60)
    assert changing.status(run)["type"] == "stuck"

    changing.mutation("flows:fail", {"run": run})

    assert changing.status(run) == {"type": "failed", "error": "we gave up"}
    assert changing.app_rows("ends")[0]["result"] == {"kind": "failed", "error": "we gave up"}
    row = changing.rows("workflows")
    changing.run_all_scheduled()
    assert changing.rows("workflows") == row  # nothing that is left to be run touches it
    assert len(changing.app_rows("ends")) == 1


def test_lines_of_what_is_undone_are_printed_once(deployment: FlowDeployment, ended: str) -> None:
    def lines() -> list[str]:
        page = deployment.query("flows:logs", {"run": ended})["page"]
        return [line["text"] for line in page if line["source"] == "handler"]

    assert lines() == ["adding 1 to sum", "adding 2 to sum", "adding 4 to sum"]

    restart(deployment, ended, from_=1)
    deployment.advance()

    assert lines() == ["adding 1 to sum", "adding 2 to sum", "adding 4 to sum"]


def test_a_kept_step_that_was_given_up_after_it_had_run_is_there_for_code_that_waits_for_it(
    changing: FlowDeployment, app: ChangingApp
) -> None:
    """Both mutations had run when the handler took the first and gave up the other; the mended one wants both."""
    race = """
tasks = [asyncio.create_task(step.run_mutation(internal.flows.book, {"item": item})) for item in ("room", "car")]
done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
for task in pending:
    task.cancel()
raise ValueError("only one")
"""
    write(app, race)
    changing.push()
    run = changing.start("order")
    changing.advance()
    assert changing.status(run) == {"type": "failed", "error": "ValueError: only one"}
    assert ["withdrawn" in row for row in changing.rows("steps")] == [False, True]

    head, _, _ = race.partition("done,")
    write(app, head + "return await asyncio.gather(*tasks)")
    changing.push()
    changing.mutation("flows:restart", {"run": run, "options": {}})
    changing.advance()

    assert changing.status(run) == {"type": "completed", "result": ["booked room", "booked car"]}


def test_a_restart_from_the_beginning_counts_large_values_anew(deployment: FlowDeployment) -> None:
    run = deployment.start("passes", {"large": b"x" * 50_000})
    deployment.advance()
    [before] = deployment.rows("workflows")
    restart(deployment, run, from_=0)
    deployment.advance()

    [after] = deployment.rows("workflows")
    assert (after["large_bytes"], after["journal_parts"]) == (before["large_bytes"], before["journal_parts"])
