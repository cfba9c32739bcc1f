"""The short form of `python -m tests.chaos`; CHAOS_SEED=… runs one plan again."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.__main__ import APP
from tests.chaos.chaos import ChaosRun
from tests.clients.server import Server
from tests.seeds import asked_seed

RUNS = 60


def test_random_workflows_survive_kills_at_random(tmp_path: Path) -> None:
    """All end; an effect is there once for each mutation step that succeeded and for no other; each end is told once;
    each printed line is kept once."""
    seed = asked_seed("CHAOS_SEED")
    figures = ChaosRun(Server(APP, tmp_path / "data"), seed, RUNS).play()

    print(figures)
    assert figures.steps > 5 * RUNS
    assert figures.kills.total() > 0
