"""Sixteen clients of real processes, over sockets and HTTP: what they saw is what one at a time would have seen."""

from __future__ import annotations

from pathlib import Path

from tests.histories.history import from_json_lines
from tests.histories.run import run
from tests.seeds import asked_seed

OPERATIONS, CLIENTS = 2_000, 16


def test_a_short_history_is_strictly_serializable(tmp_path: Path) -> None:
    """The long form is `python -m tests.histories`."""
    seed = asked_seed("HISTORY_SEED")

    report = run(OPERATIONS, CLIENTS, seed, print, tmp_path / "history.jsonl")

    assert [str(anomaly) for anomaly in report.anomalies] == []
    assert report.operations >= OPERATIONS
    assert report.commits > OPERATIONS / 8
    records = from_json_lines((tmp_path / "history.jsonl").read_text().splitlines())
    assert {record.process % 2 for record in records if record.status == "ok"} == {0, 1}
