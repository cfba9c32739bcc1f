"""Whether handlers stay in memory between two steps: always, never, now and then, or until the server restarts.

And "alone": always, but each step in a transaction of its own, as it is where there is no room for several in one.
"""

from __future__ import annotations

import random

import pytest
from convexpy_workflow.warm import WarmRun, WarmRuns

MODES = ("warm", "cold", "evicted", "restarted", "alone")
ALONE = {"functions_together": 1}


def limits_of(mode: str) -> dict[str, int]:
    """The deployment's limits in a mode; a restart between any two steps needs a commit between them."""
    return ALONE if mode in ("alone", "restarted") else {}


def set_mode(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every handler in memory, none, or now one and now none."""
    take, chance = WarmRuns.take, random.Random(7)

    def taken(runs: WarmRuns, key: tuple[int, str]) -> WarmRun | None:
        held = take(runs, key)
        if held is not None and (mode == "cold" or (mode == "evicted" and chance.random() < 0.5)):
            held.engine.close()
            return None
        return held

    monkeypatch.setattr(WarmRuns, "take", taken)
