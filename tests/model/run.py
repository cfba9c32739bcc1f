"""Runs the machine: in the suite for some seconds, alone for as many steps as are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine, steps_compared

EXAMPLES_PER_ROUND = 50


def examples_settings(count: int) -> settings:
    """So many deployments, each with up to 30 transactions, pages and pushes."""
    return settings(
        max_examples=count,
        stateful_step_count=30,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def run(steps: int, seed_number: int, report: Callable[[str], None]) -> bool:
    """Compare at least so many operations; False where engine and model differ, after the history is printed."""
    begun, started, rounds = steps_compared[0], time.monotonic(), 0
    while steps_compared[0] - begun < steps:
        machine = seed(seed_number * 100_000 + rounds)(type("Machine", (Machine,), {}))
        try:
            run_state_machine_as_test(machine, settings=examples_settings(EXAMPLES_PER_ROUND))
        except Exception as error:
            report(f"A difference in round {rounds} of --seed {seed_number}: {type(error).__name__}: {error}")
            for note in getattr(error, "__notes__", []):
                report(note)
            return False
        rounds += 1
    done, seconds = steps_compared[0] - begun, time.monotonic() - started
    report(f"{done} steps in {rounds} rounds, {seconds:.0f} s, {done / seconds:.0f} steps/s; no difference")
    return True
