"""Journals of real runs as files, replayed on the code in a folder: what apps test with, what debuggers show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from convexpy_workflow.commands import Failure, Success
from convexpy_workflow.errors import WorkflowError
from convexpy_workflow.testing import describe_event, load_functions, read_journal, replay_journal
from flow_deployment import APP, FlowDeployment
from test_changed_code import ORIGINAL, ChangingApp, push

from convexpy import components, encode_json


def export(deployment: FlowDeployment, run: str) -> dict[str, Any]:
    """As `convexpy workflow export` does it, page by page."""
    journal: dict[str, Any] = deployment.query(components.workflow.console.export_journal, {"workflowId": run})
    following = journal.pop("next")
    while following is not None:
        args = {"workflowId": run, "position": following}
        page = deployment.query(components.workflow.console.export_journal, args)
        journal["steps"] += page["steps"]
        following = page["next"]
    return journal


def test_a_journal_from_a_file_fits_the_code_that_wrote_it(deployment: FlowDeployment, tmp_path: Path) -> None:
    """Steps of all kinds, timers, random numbers, 64-bit integers: all of it is in the file."""
    run = deployment.start("everything")
    deployment.run_all_scheduled()
    file = tmp_path / "everything.json"
    file.write_bytes(json.dumps(json.loads(encode_json(export(deployment, run))), indent=1).encode())

    report = replay_journal(APP, file)

    report.assert_fits()
    assert report.outcome == Success(deployment.status(run)["result"])
    kinds = [event.kind for event in report.events]
    assert (kinds[0], kinds[-1], kinds.count("asked")) == ("took", "ended", len(deployment.rows("steps")))
    places = [event.place.source for event in report.events if event.place is not None]
    assert 'seen.append(await step.run_mutation(internal.work.add, {"name": "a", "by": 5}, inline=True))' in places


@pytest.mark.parametrize("sizes", [[300_000] * 9, [100] * 3], ids=["several pages", "one page"])
def test_an_export_has_all_steps_whatever_their_size(deployment: FlowDeployment, sizes: list[int]) -> None:
    run = deployment.start("takes_bytes", {"sizes": sizes})
    deployment.run_all_scheduled()

    journal = export(deployment, run)

    assert [step["position"] for step in journal["steps"]] == list(range(len(sizes)))
    replay_journal(APP, journal).assert_fits()


@pytest.mark.parametrize("approved", [True, "by somebody who only knows the name"])
def test_values_of_events_are_checked_in_a_replay_too(deployment: FlowDeployment, approved: Any) -> None:
    """As at the handler's await, where the value may also be one that the event's validator refuses."""
    counter = deployment.run(lambda ctx: ctx.db.insert("counters", {"name": "a", "value": 1}))
    run = deployment.start_path("talks:asks", {})
    value = {"approved": approved, "counter": counter}
    deployment.mutation("talks:send", {"options": {"name": "approval", "run": run, "value": value}})
    deployment.run_all_scheduled()
    assert deployment.status(run)["type"] == "completed"

    replay_journal(APP, export(deployment, run)).assert_fits()


def test_functions_of_components_fit_by_their_path(deployment: FlowDeployment) -> None:
    """A handle holds a number of its own deployment; the code at hand has only the reference."""
    run = deployment.start("asks_a_component")
    deployment.run_all_scheduled()
    assert deployment.status(run)["type"] == "completed"

    replay_journal(APP, export(deployment, run)).assert_fits()


def test_unfinished_and_failed_runs_are_replayed_as_far_as_they_came(deployment: FlowDeployment) -> None:
    waiting = deployment.start("waits", {"days": 1})
    failed = deployment.start("lets_fail")
    not_begun = deployment.start("sums", {"amounts": [1]}, start_async=True)
    functions = load_functions(APP)
    first = replay_journal(functions, export(deployment, not_begun))
    deployment.advance()

    second = replay_journal(functions, export(deployment, waiting))
    third = replay_journal(functions, export(deployment, failed))

    assert [report.fits for report in (first, second, third)] == [True] * 3
    assert [describe_event(event).strip() for event in second.events] == [
        "▶ the run began",
        "0 → sleep for 86400 s",
    ]
    assert isinstance(third.outcome, Failure)
    assert "lets_fail" in third.outcome.traceback


@pytest.fixture
def app(tmp_path: Path) -> ChangingApp:
    return ChangingApp(tmp_path / "replayed_app")


@pytest.fixture
def changing(app: ChangingApp) -> Iterator[FlowDeployment]:
    with FlowDeployment(app.folder) as deployment:
        yield deployment


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (ORIGINAL.replace("60", "61"), "Step 1 does not fit the journal (duration)"),
        (
            ORIGINAL.replace("return await", "await"),
            "The handler returned 'paid for booked room', and returns None now.",
        ),
        (
            ORIGINAL.replace("return await", "await") + "\nraise ValueError('no')",
            "The handler returned, and fails now: ValueError: no",
        ),
        (ORIGINAL.replace("return await", "await") + "\nawait asyncio.sleep(1)", "the handler goes on"),
        (ORIGINAL.replace("return await", "await") + "\nawait step.sleep(1)", "asks for a step here that the journal"),
    ],
    ids=["a step", "the result", "a failure", "no end", "a step after the end"],
)
def test_every_kind_of_misfit_is_told(changing: FlowDeployment, app: ChangingApp, body: str, text: str) -> None:
    run = changing.start("order")
    changing.run_all_scheduled()
    journal = export(changing, run)
    app.write(body)

    report = replay_journal(app.folder, journal)

    assert not report.fits
    with pytest.raises(AssertionError, match="flows:order") as failure:
        report.assert_fits()
    assert text in str(failure.value)


def test_patches_answer_as_they_did(changing: FlowDeployment, app: ChangingApp) -> None:
    patched = 'if step.patched("dear"):\n    await step.sleep(1)\n' + ORIGINAL
    old = changing.start("order")
    changing.run_all_scheduled()
    push(changing, app, patched)
    new = changing.start("order")
    changing.run_all_scheduled()

    reports = [replay_journal(app.folder, export(changing, run)) for run in (old, new)]

    assert [report.fits for report in reports] == [True, True]
    assert [report.patches for report in reports] == [{"dear": False}, {"dear": True}]


def test_what_is_no_journal_is_a_sentence(deployment: FlowDeployment, tmp_path: Path) -> None:
    run = deployment.start("waits", {"days": 1})
    journal = export(deployment, run)
    journal["run"]["name"] = "flows:gone"
    with pytest.raises(WorkflowError, match=r"has no workflow 'flows:gone'. It has: .*flows:waits"):
        replay_journal(APP, journal)
    for text, reason in (
        ("{", "is no exported journal"),
        ("[]", "`convexpy workflow export ID > odd.json` writes one"),
    ):
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(WorkflowError, match=reason):
            read_journal(tmp_path / "odd.json")
    assert deployment.query(components.workflow.console.export_journal, {"workflowId": "nonsense"}) is None
