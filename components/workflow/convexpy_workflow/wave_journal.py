"""What one wave adds to the journal of its run, gathered in memory until the wave is written.

The rows are in the shape that `journal.commit_wave` takes; nothing here reads or writes the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from convexpy_workflow.budget import Budget
from convexpy_workflow.commands import Outcome, Resolution, Started, StartStep, StepResolved, TimerFired
from convexpy_workflow.large_replay import LargeValues, with_large_values
from convexpy_workflow.records import AHEAD, Fields, outcome_to_fields, step_from_fields, step_to_fields
from convexpy_workflow.replay import is_same_step

# Position and outcome of each finished step, in the order in which the handler is to have them.
News: TypeAlias = Sequence[tuple[int, Outcome]]
# By position: which attempt brought the outcome, and what the step's function printed in it.
Printed: TypeAlias = Mapping[int, tuple[int, list[str]]]


class WaveJournal:
    """New and changed rows of a run's journal, and how much of its bounds they use.

    Args:
        run: the run's row, as it was before the wave.
        now_ms: the instant of all that the wave records.
    """

    def __init__(self, run: Fields, now_ms: int, printed: Printed) -> None:
        self.now_ms = now_ms
        self.resolution_count = int(run["wave"])  # of the whole run: the next one has this number
        self.budget = Budget(run)
        self.started: dict[int, Fields] = {}  # rows of the steps that the handler has asked for, by position
        self.settled: list[Fields] = []
        self.withdrawn: list[Fields] = []
        self.timers: list[Fields] = []
        self.patches: list[Fields] = []
        self.start_lines: list[str] = []  # what the handler printed before its first step
        # Fields with the lines of a step's function, by position, until a row takes them.
        self._log_of: dict[int, Fields] = {}
        for position, (attempt, lines) in printed.items():
            self.note_log(position, attempt, lines)
        self._arrived: dict[int, Outcome] = {}  # of steps whose functions have run, before the handler has them
        self._kept: dict[int, Fields] = {}
        self._values: LargeValues | None = None  # of the kept ones

    # --- what a restart has kept

    @property
    def has_kept(self) -> bool:
        """Whether there are steps that a restart has kept and that the handler has not asked for again."""
        return bool(self._kept)

    @property
    def kept_ids(self) -> list[str]:
        """Rows of those steps."""
        return [row["_id"] for row in self._kept.values()]

    def keep(self, steps: list[Fields], values: LargeValues) -> None:
        """Take the rows of a loaded journal, and hold ready those that wait for the handler to ask for them again."""
        self._kept = {int(row["position"]): row for row in steps if row["issued"] == AHEAD}
        self._values = values

    def _kept_fields(self, command: StartStep) -> Fields:
        """Give what a restart has kept of a step: its outcome, if it is the same step. Another one runs anew."""
        kept = self._kept.pop(command.position, None)
        if kept is None or self._values is None:
            return {}
        kept = with_large_values(kept, self._values)
        fields: Fields = {"replaces": kept["_id"]}
        if kept["state"] != "done" or not is_same_step(step_from_fields(kept), command):
            return fields
        names = ("state", "outcome", "started_ms", "completed_ms", "attempts", "event", "child", "child_handler")
        return fields | {name: kept[name] for name in names if name in kept}

    # --- what the wave brings

    def note_log(self, position: int, attempt: int, lines: list[str]) -> None:
        """Hold what a step's function has printed until its outcome is recorded."""
        if lines:
            self._log_of[position] = {"attempt": attempt, "lines": lines}

    def note_arrived(self, news: News) -> None:
        """Hold what the handler is to have: for a step that it gives up instead, the journal still has it."""
        self._arrived = dict(news)

    def late_fields(self, position: int, outcome: Outcome) -> Fields:
        """Give what a row is to have of a step that was given up before its outcome came."""
        return {"outcome": outcome_to_fields(outcome)} | self._log_of.pop(position, {})

    # --- what the handler does with it

    def record(self, resolution: Resolution, patches: Sequence[str], lines: list[str]) -> None:
        """Record that the handler has taken a resolution.

        Args:
            patches: names that it has asked for since, for the first time.
            lines: what it has printed since.
        """
        number = self.resolution_count
        self.resolution_count += 1
        self.patches += [{"name": name, "resolution": number} for name in patches]
        handler_log = {"handler_lines": lines} if lines else {}
        match resolution:
            case Started():
                self.start_lines = lines
            case StepResolved(_, position, outcome):
                fields = {
                    "outcome": outcome_to_fields(outcome),
                    "resolved": number,
                    "resolved_now_ms": self.now_ms,
                    "completed_ms": self.now_ms,
                }
                fields |= self._log_of.pop(position, {}) | handler_log
                self.budget.count_value(fields["outcome"])
                if position in self.started:
                    self.started[position] = {**fields, **self.started[position], "state": "done"}
                else:
                    self.settled.append({"position": position} | fields)
            case TimerFired(now_ms, timer, deadline_ms):
                self.budget.count_row()
                self.timers.append(
                    {"resolution": number, "number": timer, "deadline_ms": deadline_ms, "now_ms": now_ms} | handler_log
                )

    def start_step(self, command: StartStep) -> None:
        """Record that the handler, at the last resolution, has asked for a step."""
        row = step_to_fields(command)
        row |= {"state": "pending", "issued": self.resolution_count - 1, "started_ms": self.now_ms}
        row |= self._kept_fields(command)
        self.budget.count_row()
        self.budget.count_value(command.args)
        self.started[command.position] = row

    def withdraw_step(self, position: int, at_end: bool) -> str | None:
        """Record that the handler, at the last resolution, has given a step up; give the job to cancel, if it has one.

        Args:
            at_end: because the handler has ended.
        """
        number = self.resolution_count - 1
        row = self.started.get(position)
        if row is None:
            patch = {"position": position, "withdrawn": number, "at_end": at_end}
            if position in self._arrived:
                # Its function has run, and what that has done stays: the journal says so.
                patch |= self.late_fields(position, self._arrived[position])
                self.budget.count_value(patch["outcome"])
            self.withdrawn.append(patch)
            return None
        row |= {"withdrawn": number, "at_end": at_end}
        if row["state"] != "done":  # as a restart has kept it
            row |= {"state": "canceled", "completed_ms": self.now_ms}
        job: str | None = row.pop("job", None)
        return job

    @property
    def given_up(self) -> set[int]:
        """Positions of the steps that the handler has given up in this wave."""
        positions = {patch["position"] for patch in self.withdrawn}
        return positions | {position for position, row in self.started.items() if row["state"] == "canceled"}

    def settle_step(self, position: int, outcome: Outcome) -> None:
        """Record what has come of a step, for a handler that is to have it in a later wave."""
        fields = {"outcome": outcome_to_fields(outcome), "completed_ms": self.now_ms}
        self.budget.count_value(fields["outcome"])
        fields |= self._log_of.pop(position, {})
        if position in self.started:
            self.started[position] |= fields | {"state": "done"}
        else:
            self.settled.append({"position": position} | fields)
