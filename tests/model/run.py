"""Runs the machine: in the suite for some seconds, alone for as many steps as are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.comparing import steps_compared
from tests.model.machine import Machine

EXAMPLES_PER_ROUND = 10
PROGRESS_SECONDS = 10


def examples_settings(count: int) -> settings:
    """So many deployments, each with up to 30 transactions, pages, pushes and restarts."""
    return settings(
        max_examples=count,
        stateful_step_count=30,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


class Progress:
    """Says now and then how far a run is; a history that is being shortened also takes its time."""

    def __init__(self, steps: int, report: Callable[[str], None]) -> None:
        self._steps = steps
        self._report = report
        self._before = steps_compared[0]
        self._begun = self._reported = time.monotonic()
        self.rounds = 0
        self.failures = 0

    @property
    def done(self) -> int:
        """Operations that were compared."""
        return steps_compared[0] - self._before

    def machine_ended(self, has_failed: bool) -> None:
        """Called after each deployment."""
        self.failures += has_failed
        if self.failures == 1 and has_failed:
            self._report("A difference was found; looking for the shortest history that shows it")
        now = time.monotonic()
        if now - self._reported >= PROGRESS_SECONDS:
            self._reported = now
            shortening = f", {self.failures} histories with a difference" if self.failures else ""
            self._report(f"{self.done}/{self._steps} steps, round {self.rounds}, {self.seconds:.0f} s{shortening}")

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._begun


def run(steps: int, seed_number: int, report: Callable[[str], None]) -> bool:
    """Compare at least so many operations; False where engine and model differ, after the history is printed."""
    progress = Progress(steps, report)
    while progress.done < steps:
        machine = seed(seed_number * 100_000 + progress.rounds)(
            type("Machine", (Machine,), {"on_end": staticmethod(progress.machine_ended)})
        )
        try:
            run_state_machine_as_test(machine, settings=examples_settings(EXAMPLES_PER_ROUND))
        except Exception as error:
            report(f"A difference in round {progress.rounds} of --seed {seed_number}: {type(error).__name__}: {error}")
            for note in getattr(error, "__notes__", []):
                report(note)
            return False
        progress.rounds += 1
    report(
        f"{progress.done} steps in {progress.rounds} rounds, {progress.seconds:.0f} s, "
        f"{progress.done / progress.seconds:.0f} steps/s; no difference"
    )
    return True
