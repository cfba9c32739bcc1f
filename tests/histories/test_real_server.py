"""Sixteen clients of real processes, over sockets and HTTP: what they saw is what one at a time would have seen."""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.histories.history import from_json_lines
from tests.histories.run import run

OPERATIONS, CLIENTS = 2_000, 16


def test_a_short_history_is_strictly_serializable(tmp_path: Path) -> None:
    """The long form is `python -m tests.histories`."""
    seed = int(os.environ.get("HISTORY_SEED") or random.randrange(2**32))
    print(f"HISTORY_SEED={seed}")

    report = run(OPERATIONS, CLIENTS, seed, print, tmp_path / "history.jsonl")

    assert [str(anomaly) for anomaly in report.anomalies] == []
    assert report.operations >= OPERATIONS
    assert report.commits > OPERATIONS / 8
    records = from_json_lines((tmp_path / "history.jsonl").read_text().splitlines())
    assert {record.process % 2 for record in records if record.status == "ok"} == {0, 1}
