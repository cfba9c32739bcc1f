"""Runs whose journal is far larger than what one transaction may read: replayed, and read a little at a time."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from convexpy_workflow import budget
from convexpy_workflow.component import large_values
from convexpy_workflow.large_replay import LargeValues
from convexpy_workflow.warm import warm_runs
from flow_deployment import FlowDeployment

from convexpy import ConvexpyError

MIB = 1024 * 1024


def test_a_journal_of_many_mebibytes_is_replayed(deployment: FlowDeployment) -> None:
    """44 results of 500 KiB and as many arguments: 43 MiB, where a transaction may read 16. Half of it runs with the
    handler in memory, then each step replays all that came before."""
    run = deployment.start("gathers_bytes", {"count": 44, "size": 500_000})
    deployment.advance(40)
    for _ in range(10):
        warm_runs.clear()
        deployment.restart()
        deployment.advance(1)

    assert deployment.status(run) == {"type": "completed", "result": 44 * 500_000}
    [row] = deployment.rows("workflows")
    assert row["large_bytes"] > 40 * MIB
    assert row["journal_bytes"] < 1 * MIB


def test_a_replay_holds_little_of_the_journal_at_a_time(deployment: FlowDeployment) -> None:
    """The handler keeps none of the values, so what a wave needs does not grow with the journal."""
    peaks = []
    for count in (4, 44):
        run = deployment.start("gathers_bytes", {"count": count, "size": 500_000})
        deployment.advance(count - 1)
        warm_runs.clear()
        tracemalloc.start()
        deployment.advance(1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert deployment.status(run)["type"] == "completed"

    assert peaks[1] < peaks[0] + 2 * MIB, peaks


def test_values_are_read_in_the_order_of_their_use_some_at_a_time() -> None:
    reads: list[list[str]] = []

    def load(ids: list[str]) -> list[bytes]:
        reads.append(ids)
        return [value_id.encode() for value_id in ids[:3]]

    values = LargeValues(load, [f"v{n}" for n in range(200)])
    assert [values.packed(f"v{n}") for n in range(7)] == [f"v{n}".encode() for n in range(7)]

    assert [ids[0] for ids in reads] == ["v0", "v3", "v6"]
    assert {len(ids) for ids in reads} == {128}


def test_many_middling_values_leave_the_rows_before_those_are_too_large(
    deployment: FlowDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay reads all rows in one transaction, so from some size on only small values stay in them."""
    monkeypatch.setattr(large_values, "ROW_VALUES_BYTES", 100_000)
    run = deployment.start("loops", {"rounds": 40, "size": 5_000})
    for _ in range(20):
        deployment.advance()
    warm_runs.clear()
    deployment.run_all_scheduled()

    assert deployment.status(run)["type"] == "completed"
    asides = ["outcome_aside" in row for row in sorted(deployment.rows("steps"), key=lambda row: row["position"])]
    assert asides == sorted(asides)
    assert 5 < sum(asides) < 35


def test_arguments_that_changed_are_found_among_large_ones(deployment: FlowDeployment) -> None:
    """They are compared by their bytes first; a difference is still told with its place."""
    run = deployment.start("gathers_bytes", {"count": 3, "size": 100_000})
    deployment.advance(1)
    warm_runs.clear()

    def change(ctx: Any) -> None:
        [step, *_] = ctx.db.query("steps").collect()
        ctx.db.patch(
            step["_id"],
            {"args_aside": large_values.put_value(ctx, run, "args", {"value": "y" * 20_000}, 0)["args_aside"]},
        )

    deployment.run(change, component="workflow")
    deployment.advance(1)

    status = deployment.status(run)
    assert status["type"] == "stuck"
    assert "its arguments changed at $.value" in status["reason"]


BOUNDS: dict[str, tuple[str, int, float, str]] = {
    "items": ("JOURNAL_PARTS_MAX", 20, 10, "items in its lists and objects; 20 are"),
    "rows": ("JOURNAL_ROWS_MAX", 5, 10, "6 steps and fired timers; 5 are"),
    "bytes in rows": ("JOURNAL_BYTES_MAX", 50_000, 10_000, "bytes of arguments and outcomes in its rows; 50000 are"),
    "bytes beside them": ("LARGE_BYTES_MAX", 500_000, 100_000, "bytes of large arguments and outcomes; 500000 are"),
}


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_journal_that_could_not_be_replayed_ends_the_run(
    deployment: FlowDeployment, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    name, most, size, text = BOUNDS[bound]
    monkeypatch.setattr(budget, name, most)
    run = deployment.start("loops", {"rounds": 50, "size": size}, notes_end=True)
    deployment.run_all_scheduled()

    error = deployment.status(run)["error"]
    assert error.startswith("JournalTooLarge: the journal of this run has ")
    assert text in error
    assert "let a long loop end by starting a new run" in error
    assert [row["result"]["kind"] for row in deployment.app_rows("ends")] == ["failed"]
    steps = sorted(deployment.rows("steps"), key=lambda step: step["position"])
    assert [step["state"] for step in steps][-2:] == ["done", "canceled"]


def test_a_value_that_is_too_large_is_shown_in_part(deployment: FlowDeployment) -> None:
    with pytest.raises(ConvexpyError) as refused:
        deployment.start("keeps", {"large": b"<start>" + bytes(900_000) + b"<end>"})

    text = str(refused.value)
    assert "ValueTooLarge: Workflow arguments too large (90" in text
    assert "Maximum is 819200 bytes. Store it in a document or a file and pass its id. Preview: " in text
    assert "<start>" in text and "<end>" in text
    assert len(text) < 2_000
