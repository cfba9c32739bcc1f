"""What has changed between a journal and the code of now: steps inserted, removed, moved, or asked for otherwise.

`replay` stops at the first difference. Here the handler is led on past it, to see where code and journal meet again: a
step that the journal has too gets its recorded outcome, one that it does not have gets None. So what is said about the
steps after an inserted one is a guess, as every diff is; nothing that the handler does here has an effect.
"""

from __future__ import annotations

import linecache
import sys
from bisect import bisect_left
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from convexpy_workflow.backtraces import is_users_file
from convexpy_workflow.commands import Resolution, Started, StartStep, StepResolved, Success, TimerFired
from convexpy_workflow.engine import Engine
from convexpy_workflow.errors import DeterminismError, WorkflowError, describe_step
from convexpy_workflow.loop import WorkflowLoop
from convexpy_workflow.replay import Journal, RecordedStep, compare_recorded, is_same_step, step_fields

CHANGES_MAX = 20
STEPS_BEYOND_MAX = 50  # that the code asks for and the journal does not have


@dataclass(frozen=True)
class Place:
    """A line of the user's code."""

    file: str
    line: int
    source: str

    def to_text(self) -> str:
        """`folder/file.py:12  the source line`."""
        return f"{Path(*Path(self.file).parts[-2:])}:{self.line}  {self.source}"


def place_of_step(engine: Engine) -> Place | None:
    """Find the user's line that issues a step just now; for a step in a task of its own, the line that waits for it."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not WorkflowLoop.drain.__code__:
        if is_users_file(frame.f_code.co_filename):
            return _place(frame)
        frame = frame.f_back
    waiting = engine.waiting_frames()
    return _place(waiting[-1]) if waiting else None


def _place(frame: FrameType) -> Place:
    file = frame.f_code.co_filename
    return Place(file, frame.f_lineno, linecache.getline(file, frame.f_lineno).strip())


def find_changes(engine: Engine, journal: Journal) -> list[dict[str, Any]]:
    """Compare a whole journal with what a fresh engine asks for; the engine is closed then.

    Returns:
        `{"change": "inserted" | "removed" | "moved" | "changed", "position", "newPosition", "step", "detail",
        "place"}` each, as far as they are known, in the order of the code; at most CHANGES_MAX.
    """
    comparison = _Comparison(engine, journal)
    try:
        comparison.run()
    except WorkflowError:
        pass  # the handler came to no rest; what it asked for before is all there is
    finally:
        engine.close()
    return comparison.changes()[:CHANGES_MAX]


class _Comparison:
    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal
        self._asked: list[tuple[StartStep, Place | None]] = []
        self._partners: dict[int, RecordedStep] = {}  # by the position that the code asks for it at
        self._unused = list(journal.steps)
        self._signals = list(journal.signals)
        self._is_guessing = False
        engine.on_step = self._take

    def run(self) -> None:
        """Lead the handler as far as the journal goes."""
        news: Resolution | None = Started(self._journal.started_now_ms)
        while news is not None and self._engine.outcome is None:
            self._engine.feed(news)
            if len(self._asked) > len(self._journal.steps) + STEPS_BEYOND_MAX:
                return
            news = self._next()

    def _take(self, step: StartStep) -> None:
        self._asked.append((step, place_of_step(self._engine)))
        partner = next((each for each in self._unused if _may_be_same(each, step)), None)
        if partner is None and self._unused and _key(self._unused[0].step) == _key(step):
            partner = self._unused[0]
        if partner is not None:
            self._unused.remove(partner)
            self._partners[step.position] = partner

    def _next(self) -> Resolution | None:
        now_ms = self._engine.now_ms
        recorded: list[tuple[int, TimerFired | tuple[int, RecordedStep]]] = []
        for position in self._engine.pending_positions:
            partner = self._partners.get(position)
            if partner is not None and partner.resolved is not None:
                recorded.append((partner.resolved, (position, partner)))
        for signal in self._signals:
            if isinstance(signal.resolution, TimerFired):
                timer = self._engine.loop.timer(signal.resolution.number)
                if timer is not None:
                    at_ms = max(now_ms, signal.resolution.now_ms)
                    recorded.append((signal.number, TimerFired(at_ms, timer.number, timer.deadline_ms)))
        if recorded:
            number, chosen = min(recorded, key=lambda pair: pair[0])
            self._signals = [signal for signal in self._signals if signal.number != number]
            if isinstance(chosen, TimerFired):
                return chosen
            position, partner = chosen
            return StepResolved(max(now_ms, partner.resolved_now_ms), position, partner.consumed().outcome)
        if not self._unused:
            return None
        self._is_guessing = True
        for position in self._engine.pending_positions:
            partner = self._partners.get(position)
            if partner is None or partner.resolved is None:
                return StepResolved(now_ms, position, Success())
        pending = self._engine.loop.next_timer()
        if pending is None:
            return None
        return TimerFired(max(now_ms, pending.deadline_ms), pending.number, pending.deadline_ms)

    def changes(self) -> list[dict[str, Any]]:
        """List what was found."""
        found: list[tuple[float, dict[str, Any]]] = []
        reached = max((partner.step.position for partner in self._partners.values()), default=-1)
        first = min((each.step.position for each in self._unused), default=0)
        for each in self._unused:
            position = each.step.position
            if not self._is_guessing or position < reached or position == first:
                found.append((position - 0.5, _change("removed", each.step, None, None)))
        moved = self._moved()
        for step, place in self._asked:
            partner = self._partners.get(step.position)
            if partner is None:
                found.append((step.position, _change("inserted", None, step, place)))
            elif (detail := _difference(partner, step)) is not None:
                found.append((step.position, _change("changed", partner.step, step, place) | {"detail": detail}))
            elif step.position in moved:
                found.append((step.position, _change("moved", partner.step, step, place)))
        found.sort(key=lambda pair: pair[0])
        # What is asked for behind all that the journal has is most likely what the run has not come to yet.
        beyond = max(self._partners, default=-1)
        while len(found) > 1 and found[-1][1]["change"] == "inserted" and found[-1][0] > beyond:
            found.pop()
        return [change for _, change in found]

    def _moved(self) -> set[int]:
        """The positions that break the order of the recorded ones; the others are a longest rising sequence."""
        order = sorted(self._partners)
        tails: list[int] = []
        ends: list[int] = []  # index into `order` of the last element of the best sequence of each length
        before: dict[int, int | None] = {}
        for index, position in enumerate(order):
            recorded = self._partners[position].step.position
            length = bisect_left(tails, recorded)
            before[index] = ends[length - 1] if length else None
            if length == len(tails):
                tails.append(recorded)
                ends.append(index)
            else:
                tails[length], ends[length] = recorded, index
        kept: set[int] = set()
        index_: int | None = ends[-1] if ends else None
        while index_ is not None:
            kept.add(order[index_])
            index_ = before[index_]
        return set(order) - kept


def _may_be_same(recorded: RecordedStep, asked: StartStep) -> bool:
    """Compare without large arguments: the handler is running."""
    if recorded.later_args is None:
        return is_same_step(recorded.step, asked)
    return is_same_step(replace(recorded.step, args=asked.args), asked)


def _difference(recorded: RecordedStep, asked: StartStep) -> str | None:
    try:
        compare_recorded(recorded, asked)
    except DeterminismError as error:
        return error.detail
    return None


def _key(step: StartStep) -> tuple[Any, ...]:
    return (step.kind, step.name)


def _change(change: str, recorded: StartStep | None, asked: StartStep | None, place: Place | None) -> dict[str, Any]:
    shown = asked or recorded
    assert shown is not None
    fields: dict[str, Any] = {"change": change, "step": describe_step(step_fields(shown))}
    if recorded is not None:
        fields["position"] = recorded.position
    if asked is not None:
        fields["newPosition"] = asked.position
    if place is not None:
        fields["place"] = place.to_text()
    return fields


def describe_change(change: dict[str, Any]) -> str:
    """One change in a line, as reload output and the command show it."""
    number = change.get("position", change.get("newPosition"))
    text = f"{change['change']} step {number:g}: {change['step']}"
    if change["change"] == "moved":
        text += f", now step {change['newPosition']:g}"
    if "detail" in change:
        text += f"; {change['detail']}"
    return f"{text}  ({change['place']})" if "place" in change else text
