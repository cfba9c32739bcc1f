"""Whether handlers stay in memory between two steps: always, never, now and then, or until the server restarts."""

from __future__ import annotations

import random

import pytest
from convexpy_workflow.warm import WarmRun, WarmRuns

MODES = ("warm", "cold", "evicted", "restarted")


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
