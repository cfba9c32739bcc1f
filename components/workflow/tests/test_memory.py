"""Handlers in memory and out of it: the same run either way, whatever gets in between, and what a step costs."""

from __future__ import annotations

from typing import Any

import pytest
from convexpy_workflow.commands import StepResolved, Success
from convexpy_workflow.warm import WarmRun, warm_runs
from flow_deployment import FlowDeployment
from handler_memory import ALONE, MODES, limits_of, set_mode


def journal_of(deployment: FlowDeployment) -> list[Any]:
    """All that a journal says, without ids and nonces, which come from the deployment's own random numbers."""
    unlike = {"_id", "_creationTime", "workflow", "job", "wake_job", "nonce", "outcome_aside", "waves"}
    return [
        sorted(
            ({name: value for name, value in row.items() if name not in unlike} for row in deployment.rows(table)),
            key=repr,
        )
        for table in ("workflows", "steps", "timers")
    ]


def run_everything(mode: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any, list[str]]:
    warm_runs.clear()
    with monkeypatch.context() as patch, FlowDeployment(limits=limits_of(mode)) as deployment:
        set_mode(mode, patch)
        run = deployment.start("everything")
        if mode == "restarted":
            for seconds in (0, 3, 1, 16, 1_000):  # between actions: those that run are lost with the server
                deployment.advance(seconds)
                warm_runs.clear()
                deployment.restart()
        deployment.run_all_scheduled()
        return (
            deployment.status(run),
            journal_of(deployment),
            [line for line in deployment.printed() if "[LOG]" in line],
        )


def test_warm_cold_and_evicted_runs_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results, journals, clocks, random numbers and printed lines; each line is there once, however often it ran."""
    runs = {mode: run_everything(mode, monkeypatch) for mode in MODES}

    status, _, printed = runs["warm"]
    assert status["type"] == "completed"
    assert status["result"][9:11] == ["late", "2 s"]
    assert printed == ["[LOG] begun", "[LOG] late"]
    assert runs["cold"] == runs["evicted"] == runs["warm"]
    # Other transactions draw other delays for the retries.
    assert runs["restarted"] == runs["alone"]
    assert runs["alone"][0]["result"][9:11] == ["late", "2 s"] and runs["alone"][2] == printed


def test_a_wave_that_loses_a_race_runs_again_from_its_journal(deployment: FlowDeployment) -> None:
    """Steps of different runs add to one counter at once, so most of their commits conflict. A refused wave leaves a
    handler in memory that is one step ahead; it is dropped, and nothing is lost or done twice."""
    runs = [deployment.start("sums", {"amounts": [1, 10, 100]}, notes_end=True, context=n) for n in range(6)]
    deployment.run_all_scheduled()

    assert deployment.runtime.conflicts > 10
    assert deployment.counter("sum") == 666
    assert max(deployment.status(run)["result"] for run in runs) == 666
    assert sorted(row["context"] for row in deployment.app_rows("ends")) == [0, 1, 2, 3, 4, 5]
    assert len(deployment.rows("steps")) == 18
    adding = [line for line in deployment.printed() if "adding" in line]
    assert sorted(adding) == sorted(f"[LOG] adding {amount} to sum" for amount in (1, 10, 100) for _ in runs)


@pytest.mark.parametrize("delay", [0, 1])
def test_a_cancel_that_races_a_wave_wins_or_loses_whole(deployment: FlowDeployment, delay: float) -> None:
    """Both are transactions on the run's row, begun on one snapshot: the loser runs again and sees what the winner
    did. So whichever wins, a step that has run is in the journal, and one that has not never runs."""
    run = deployment.start("paced", {"seconds": 1}, notes_end=True)
    deployment.mutation("flows:cancel_later", {"run": run, "delay": delay})
    deployment.run_all_scheduled()

    assert deployment.runtime.conflicts > 0
    assert deployment.status(run) == {"type": "canceled"}
    done = [row for row in deployment.rows("steps") if row["kind"] == "mutation" and row["state"] == "done"]
    assert len(done) == deployment.counter("paced") < 5
    assert len(deployment.app_rows("ends")) == 1


def test_a_step_may_cancel_its_own_run(deployment: FlowDeployment) -> None:
    run = deployment.start("ends_itself", notes_end=True)
    deployment.run_all_scheduled()

    assert deployment.status(run) == {"type": "canceled"}
    assert deployment.counter("after the end") == 0
    assert len(deployment.app_rows("ends")) == 1


def test_a_step_with_a_commit_of_its_own_writes_five_documents() -> None:
    """Its finished job, its row, the run's row, the next step's row, the next job; and one of the app's own."""
    with FlowDeployment(limits=ALONE) as deployment:
        deployment.start("sums", {"amounts": [1] * 10})
        commits = deployment.watch_commits()
        deployment.run_all_scheduled()

    documents = [count - 1 for _, count, _ in commits]
    assert documents == [5] * 9 + [3]  # after the last step there is no next one


def test_steps_that_share_a_commit_write_a_document_each(deployment: FlowDeployment) -> None:
    """Their rows; and once the finished job of the first, and the run's row."""
    deployment.start("sums", {"amounts": [1] * 10})
    commits = deployment.watch_commits()
    deployment.run_all_scheduled()

    assert [count - 1 for _, count, _ in commits] == [10 + 2]


def test_a_wave_does_not_write_the_runs_arguments_again(deployment: FlowDeployment) -> None:
    run = deployment.start("keeps", {"large": bytes(700_000)})
    commits = deployment.watch_commits()
    deployment.advance(30)
    assert max(size for _, _, size in commits) < 3_000

    deployment.advance(30)
    assert deployment.status(run)["result"] == bytes(700_000)


def test_a_warm_step_reads_no_journal(deployment: FlowDeployment) -> None:
    """Step 200 costs what step 10 costs."""
    with FlowDeployment(limits={"documents_read": 40}) as bounded:
        assert bounded.result("sums", {"amounts": [1] * 200}) == 200


def test_a_handler_of_a_refused_commit_is_dropped(deployment: FlowDeployment) -> None:
    """It has the run's epoch and wave number, but consumed other news than the wave that was committed. Only the nonce
    tells: a handler goes on only if the run's row carries the one that its own last wave wrote."""
    run = deployment.start("gathers_slowly", {"seconds": [1, 2]})
    [key] = warm_runs._runs
    refused = warm_runs.take(key)
    assert refused is not None
    refused.engine.feed(StepResolved(refused.engine.now_ms, 1, Success("never committed")))
    deployment.advance(1)
    committed = warm_runs.take(key)
    assert committed is not None
    committed.engine.close()
    warm_runs.put(key, WarmRun(refused.engine, refused.output, committed.stamp | {"nonce": "of a refused commit"}))

    deployment.advance(1)

    assert deployment.status(run)["result"] == ["1 s", "2 s"]


def test_each_wave_draws_its_own_nonce(deployment: FlowDeployment) -> None:
    deployment.start("paced", {"seconds": 1})
    nonces = []
    for _ in range(5):
        nonces.append(deployment.rows("workflows")[0]["nonce"])
        deployment.advance(1)

    assert len(set(nonces)) == 5


def test_news_of_an_older_epoch_changes_nothing(deployment: FlowDeployment) -> None:
    run = deployment.start("sums", {"amounts": [1, 2]})
    deployment.run(lambda ctx: ctx.db.patch(run, {"epoch": 1}), component="workflow")
    deployment.run_all_scheduled()

    assert deployment.counter("sum") == 1  # the job of the first step had been scheduled
    assert deployment.status(run)["type"] == "inProgress"
    assert len(deployment.rows("steps")) == 1
