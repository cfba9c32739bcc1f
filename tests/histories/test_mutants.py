"""The judges pass the engine, and no engine that is broken anywhere.

HISTORY_SEED=… runs one seed again. Without it the engine itself gets a new one every time, mutants always the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from convexpy.transactions import committer as committing
from tests.histories.anomalies import Anomaly, find_anomalies
from tests.histories.engine import Database, Engine, opened_database
from tests.histories.model import Model
from tests.histories.mutants import MUTANTS, Patch, patched
from tests.histories.replay import replay
from tests.seeds import asked_seed

CLIENTS = 8
WINDOW, WINDOWS_MAX = 200, 30  # transactions; no mutant may live longer
CLEAN_WINDOWS = 10
MUTANT_SEED = 1
CONTROLS: dict[str, list[Patch]] = {
    "the engine as it is": [],
    "a write log that forgets soon": [(committing, "WRITE_LOG_KEYS_MAX", 8)],
}

# Broken in a way that lists and registers cannot show, or not in so short a time: only the replay is sure to see it.
REPLAY_ONLY = {
    "old index keys are ignored",
    "the start of a range is not checked",
    "commits are answered in the wrong order",
    "a timestamp is used twice",
    "results are shown before publishing",
}


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with opened_database() as database:
        yield database


class Judged:
    """An engine, window by window, and what both judges have found so far."""

    def __init__(self, database: Database, seed: int) -> None:
        self.engine = Engine(database, seed)
        self.inferred: list[Anomaly] = []
        self.replayed: list[Anomaly] = []
        self.transactions = 0
        self._model = Model()

    def run_window(self) -> None:
        records = self.engine.run_window(WINDOW, CLIENTS)
        self.transactions += WINDOW
        self.inferred += find_anomalies(records)
        self.replayed += replay(records, self._model)


@pytest.mark.parametrize("control", CONTROLS)
def test_the_engine_passes(database: Database, control: str) -> None:
    with patched(CONTROLS[control]):
        judged = Judged(database, asked_seed("HISTORY_SEED"))
        for _ in range(CLEAN_WINDOWS):
            judged.run_window()
        judged.engine.close()

    assert [*map(str, judged.inferred), *map(str, judged.replayed)] == []
    assert judged.engine.refusals == 0
    assert judged.engine.conflicts > WINDOW, "nobody met: this run proves nothing"


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_fails(database: Database, mutant: str) -> None:
    """Both judges see it, each by its own means, unless nothing of it shows in lists and registers."""
    with patched(MUTANTS[mutant]):
        judged = Judged(database, MUTANT_SEED)
        while judged.transactions < WINDOW * WINDOWS_MAX:
            judged.run_window()
            if judged.replayed and (judged.inferred or mutant in REPLAY_ONLY):
                break
        judged.engine.close()

    names = sorted({anomaly.name for anomaly in (*judged.inferred, *judged.replayed)})
    print(f"{mutant}: after {judged.transactions} transactions {', '.join(names)}")
    assert judged.replayed
    assert judged.inferred or mutant in REPLAY_ONLY
