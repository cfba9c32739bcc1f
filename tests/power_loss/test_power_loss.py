"""The short form, and that it would see what it is there to see."""

from __future__ import annotations

import pytest

from tests.power_loss.run import Engine, lose_power
from tests.seeds import asked_seed


@pytest.mark.parametrize("is_relaxed", [False, True], ids=["full", "relaxed"])
def test_whatever_the_power_leaves_is_a_sound_database_with_all_that_was_acknowledged(is_relaxed: bool) -> None:
    """Relaxed durability may lose the commits since the last sync, the latest first, and nothing else.

    The seed is printed; `python -m tests.power_loss --commits 60 --images 150 --seed N [--relaxed]` tries it again.
    """
    report = lose_power(60, 150, asked_seed("POWER_SEED"), Engine(is_relaxed=is_relaxed), print)

    assert report.faults == []
    assert report.writes > 300
    assert report.syncs > 60


@pytest.mark.parametrize(
    "engine",
    [Engine(sync=False), Engine(is_acknowledging_early=True)],
    ids=["nothing is synced", "answers come before the commit"],
)
def test_a_broken_engine_is_caught(engine: Engine) -> None:
    assert lose_power(40, 50, 1, engine, print).faults
