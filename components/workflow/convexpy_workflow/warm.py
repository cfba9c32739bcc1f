"""Suspended handlers kept in memory, so that a step's news costs one feed instead of a replay.

Speed only. A handler may go on only if the run's row still carries the stamp that the handler's last wave wrote. The
stamp's nonce is random: a wave whose commit was refused leaves a handler with a nonce that no row has, and it is
dropped at the next look.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from convexpy_workflow.engine import Engine
from convexpy_workflow.output import HandlerOutput

# A suspended handler of a few frames takes some 4 KiB, without the values that it holds.
WARM_RUNS_MAX = 1000


@dataclass(slots=True)
class WarmRun:
    """A suspended handler with what belongs to it.

    Args:
        stamp: `{epoch, wave, nonce}` as its last wave wrote it into the run's row.
    """

    engine: Engine
    output: HandlerOutput
    stamp: dict[str, Any]


class WarmRuns:
    """The least recently used ones go first."""

    def __init__(self, runs_max: int = WARM_RUNS_MAX) -> None:
        self._runs_max = runs_max
        self._runs: OrderedDict[tuple[int, str], WarmRun] = OrderedDict()

    def take(self, key: tuple[int, str]) -> WarmRun | None:
        """Take a handler out: whoever holds it either puts it back with a new stamp or closes it."""
        return self._runs.pop(key, None)

    def put(self, key: tuple[int, str], run: WarmRun) -> None:
        """Keep a handler, in the place of the one used least recently if there are too many."""
        previous = self._runs.pop(key, None)
        if previous is not None:
            previous.engine.close()
        self._runs[key] = run
        while len(self._runs) > self._runs_max:
            _, oldest = self._runs.popitem(last=False)
            oldest.engine.close()

    def clear(self) -> None:
        """Drop all, as a new process would."""
        while self._runs:
            _, run = self._runs.popitem()
            run.engine.close()


warm_runs = WarmRuns()
