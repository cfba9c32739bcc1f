"""How much a run may do: what one wave can start, and how long its journal can become.

A wave is one transaction, and a replay reads the whole journal in one. So both have bounds that a transaction's own
bounds never meet; what goes beyond is an error that the handler, or whoever looks at the run, can read.
"""

from __future__ import annotations

from typing import Any

from convexpy import size_of
from convexpy_workflow.backtraces import text_of
from convexpy_workflow.commands import Failure, StartStep
from convexpy_workflow.component.large_values import step_value_bytes_max
from convexpy_workflow.errors import JournalTooLarge

STEPS_PER_WAVE_MAX = 999  # the scheduler takes 1000 functions from one mutation; one of them is the wake-up
PENDING_STEPS_MAX = 4000  # ending them all, three documents each, must fit one transaction
WAVE_ARGS_BYTES_MAX = 4 * 1024 * 1024  # they are written into the steps and into their jobs
JOURNAL_ROWS_MAX = 8_000  # a replay of so many takes half of a mutation's second
JOURNAL_BYTES_MAX = 10 * 1024 * 1024  # in its rows; a mutation may read 16 MiB, and logs lie there too
LARGE_BYTES_MAX = 128 * 1024 * 1024  # beside them: a replay takes half a millisecond for each MiB of plain ones, but
JOURNAL_PARTS_MAX = 1_000_000  # of lists and objects with many items: half of a mutation's second for so many items


class Budget:
    """What one wave has used.

    Args:
        run: the run's row, with what its journal had before the wave.
    """

    def __init__(self, run: dict[str, Any]) -> None:
        self._journal_rows = int(run["journal_rows"])
        self._journal_bytes = int(run["journal_bytes"])
        self._large_bytes = int(run.get("large_bytes", 0))
        self._parts = int(run.get("journal_parts", 0))
        self._row_value_bytes_max = step_value_bytes_max(self._journal_bytes)
        self._scheduled = 0
        self._args_bytes = 0

    def count_row(self) -> None:
        """Count a new step or a fired timer."""
        self._journal_rows += 1

    def count_value(self, value: Any) -> None:
        """Count arguments or an outcome."""
        size = size_of(value)
        if size > self._row_value_bytes_max:
            self._large_bytes += size
        else:
            self._journal_bytes += size
        self._parts += _parts_of(value)

    def journal_size(self) -> dict[str, Any]:
        """Give the fields of the run's row that keep count."""
        counts = {"journal_rows": self._journal_rows, "journal_bytes": self._journal_bytes}
        counts["journal_parts"] = self._parts
        return counts | ({"large_bytes": self._large_bytes} if self._large_bytes else {})

    def refuse_step(self, step: StartStep, pending: int) -> str | None:
        """Count a step that is to be scheduled, and say why it cannot be, None if it can.

        Args:
            pending: steps of the run that run already.
        """
        self._scheduled += 1
        self._args_bytes += size_of(step.args)
        advice = "Await some of them before you start more, for example in groups with asyncio.gather."
        if self._scheduled > STEPS_PER_WAVE_MAX:
            return f"Too many steps at once: a handler can start {STEPS_PER_WAVE_MAX} before it waits. {advice}"
        if pending >= PENDING_STEPS_MAX:
            return f"Too many steps at once: {PENDING_STEPS_MAX} can be running. {advice}"
        if self._args_bytes > WAVE_ARGS_BYTES_MAX:
            return (
                f"Too large arguments: the steps that a handler starts before it waits can have {WAVE_ARGS_BYTES_MAX} "
                f"bytes of them together. Pass ids of documents, or await some steps before you start more."
            )
        return None

    def give_back(self, step: StartStep) -> None:
        """Take back the count of a step that has run without being scheduled."""
        self._scheduled -= 1
        self._args_bytes -= size_of(step.args)

    def overflow(self) -> Failure | None:
        """Give the failure of a run whose journal has become too long to be replayed."""
        for unit, of, used, most in (
            ("steps and fired timers", "", self._journal_rows, JOURNAL_ROWS_MAX),
            ("bytes", " of arguments and outcomes in its rows", self._journal_bytes, JOURNAL_BYTES_MAX),
            ("items", " in its lists and objects", self._parts, JOURNAL_PARTS_MAX),
            ("bytes", " of large arguments and outcomes", self._large_bytes, LARGE_BYTES_MAX),
        ):
            if used > most:
                return Failure(text_of(JournalTooLarge(unit, of, used, most)))
        return None


def _parts_of(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_parts_of, value.values()))
    if isinstance(value, list):
        return len(value) + sum(map(_parts_of, value))
    return 0
