"""Whatever a handler does with asyncio, its replay asks for the same steps."""

from __future__ import annotations

from typing import Any

import pytest
from convexpy_workflow.replay import Journal
from convexpy_workflow.step import Step
from journal_driver import DrivenRun, Mode
from random_programs import Interpreter, random_program


def play(seed: int, mode: Mode) -> DrivenRun:
    program = random_program(seed)

    async def handler(step: Step) -> Any:
        return await Interpreter(step).run(program)

    run = DrivenRun(handler, mode, seed)
    run.play()
    return run


@pytest.mark.parametrize("block", range(10))
def test_warm_cold_and_mixed_runs_are_equal(block: int) -> None:
    """Cold replays the whole journal before each resolution, so every prefix is replayed and compared; mixed drops
    the suspended engine at random. The journal, hence every command and argument, is the same in all three."""
    for seed in range(block * 30, block * 30 + 30):
        print("seed", seed)
        warm, cold, mixed = play(seed, "warm"), play(seed, "cold"), play(seed, "mixed")

        assert warm.commands == cold.commands == mixed.commands
        assert warm.journal == cold.journal == mixed.journal
        assert warm.outcome is not None


def test_the_programs_meet_withdrawals_timers_and_concurrency() -> None:
    """The equality above proves something only if the programs do what it is about."""
    journals: list[Journal] = [play(seed, "warm").journal for seed in range(60)]

    assert sum(len(journal.signals) for journal in journals) > 20
    assert sum(step.withdrawn is not None for journal in journals for step in journal.steps) > 20
    orders = [[step.resolved for step in journal.steps if step.resolved] for journal in journals]
    assert sum(order != sorted(order) for order in orders) > 10
