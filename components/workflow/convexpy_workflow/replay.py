"""A journal run through a fresh engine, and compared with what the handler asks for now.

The journal is what the step rows hold. Resolution n of a run was the n-th piece of news that its handler consumed;
each step knows at which resolution it was issued, at which it was resolved, and at which it was withdrawn. So sorting
by these numbers gives back the exact history, and after each resolution the handler must ask for exactly the steps
that were issued then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, overload

from convexpy_workflow.commands import (
    CancelRequested,
    CancelStep,
    Command,
    Finish,
    Outcome,
    Resolution,
    Started,
    StartStep,
    StepResolved,
    TimerFired,
)
from convexpy_workflow.engine import Engine
from convexpy_workflow.errors import DeterminismError


class LaterArgs(Protocol):
    """Large arguments of a recorded step, which are read when they are to be compared."""

    def load(self) -> dict[str, Any]: ...

    def is_packed_as(self, value: Any) -> bool:
        """Tell whether a value has the same bytes: then it is equal; otherwise it may still be."""


@dataclass(slots=True)
class RecordedStep:
    """One step of the journal.

    Args:
        step: what was asked for.
        issued: number of the resolution during which the handler asked for it.
        resolved: number of the resolution that gave the handler its outcome; None while it has not consumed one.
        resolved_now_ms: the handler's instant at that resolution.
        outcome: what was consumed.
        withdrawn: number of the resolution during which the handler gave it up, None if it did not.
        later_args: the arguments, if they are large; `step` has none then.
        later_outcome: reads the outcome when it is fed, if it is large; `outcome` is None then.
    """

    step: StartStep
    issued: int
    resolved: int | None = None
    resolved_now_ms: int = 0
    outcome: Outcome | None = None
    withdrawn: int | None = None
    later_args: LaterArgs | None = None
    later_outcome: Callable[[], Outcome] | None = None

    def consumed(self) -> StepResolved:
        """The resolution that this step brought."""
        outcome = self.outcome if self.later_outcome is None else self.later_outcome()
        assert outcome is not None
        return StepResolved(self.resolved_now_ms, self.step.position, outcome)

    def whole(self) -> StartStep:
        """What was asked for, with its arguments."""
        return self.step if self.later_args is None else replace(self.step, args=self.later_args.load())


@dataclass(frozen=True, slots=True)
class RecordedSignal:
    """A consumed resolution that belongs to no step: a fired timer, a cancel request."""

    number: int
    resolution: TimerFired | CancelRequested


class Resolutions(Sequence[Resolution]):
    """What a handler consumed, in order. Each is made when it is reached: no two large outcomes need be held."""

    def __init__(self, sources: list[Resolution | RecordedStep]) -> None:
        self._sources = sources

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, index: int) -> Resolution: ...

    @overload
    def __getitem__(self, index: slice) -> Resolutions: ...

    def __getitem__(self, index: int | slice) -> Resolution | Resolutions:
        if isinstance(index, slice):
            return Resolutions(self._sources[index])
        source = self._sources[index]
        return source.consumed() if isinstance(source, RecordedStep) else source


@dataclass(slots=True)
class Journal:
    """All that a run's handler has consumed and asked for. `steps` are dense by position."""

    started_now_ms: int
    steps: list[RecordedStep] = field(default_factory=list)
    signals: list[RecordedSignal] = field(default_factory=list)

    def resolutions(self) -> Resolutions:
        """List what the handler consumed, in the order of consumption.

        Raises:
            AssertionError: numbers are missing or doubled; the journal is damaged.
        """
        numbered: list[tuple[int, Resolution | RecordedStep]] = [(0, Started(self.started_now_ms))]
        numbered += [(signal.number, signal.resolution) for signal in self.signals]
        numbered += [(recorded.resolved, recorded) for recorded in self.steps if recorded.resolved is not None]
        numbered.sort(key=lambda pair: pair[0])
        assert [number for number, _ in numbered] == list(range(len(numbered))), "resolutions must be dense"
        return Resolutions([source for _, source in numbered])


def replay(engine: Engine, journal: Journal, observe: Callable[[Resolution], None] | None = None) -> list[Command]:
    """Bring a fresh engine to where the journal ends.

    Args:
        observe: takes each resolution before the handler does.

    Returns:
        the commands that the last resolution brought beyond the journal: only a `Finish`, of a run that is replayed
        from a complete journal.

    Raises:
        DeterminismError: the handler asks for something else than it did; the engine is closed then.
    """
    resolutions = journal.resolutions()
    starts = _group(journal.steps, [recorded.issued for recorded in journal.steps])
    withdrawals = _group(journal.steps, [recorded.withdrawn for recorded in journal.steps])
    finish: list[Command] = []
    try:
        for number, resolution in enumerate(resolutions):
            if observe is not None:
                observe(resolution)
            commands = engine.feed(resolution)
            _compare_starts(commands, starts.get(number, []), engine)
            _compare_withdrawals(commands, withdrawals.get(number, []), journal)
            if engine.outcome is not None:
                _check_nothing_left(number, resolutions, journal)
                finish = [command for command in commands if isinstance(command, Finish)]
                break
    except BaseException:
        engine.close()
        raise
    return finish


def _group(steps: Sequence[RecordedStep], numbers: Sequence[int | None]) -> dict[int, list[RecordedStep]]:
    groups: dict[int, list[RecordedStep]] = {}
    for recorded, number in zip(steps, numbers, strict=True):
        if number is not None:
            groups.setdefault(number, []).append(recorded)
    return groups


def _compare_starts(commands: Iterable[Command], recorded: list[RecordedStep], engine: Engine) -> None:
    actual = [command for command in commands if isinstance(command, StartStep)]
    for journaled, command in zip(recorded, actual, strict=False):
        compare_recorded(journaled, command)
    if len(actual) > len(recorded):
        extra = actual[len(recorded)]
        raise DeterminismError(
            extra.position,
            "unexpected",
            None,
            step_fields(extra),
            "the handler asks for a step here that the journal does not have.",
        )
    if len(recorded) > len(actual):
        missing = recorded[len(actual)].whole()
        does = "ended" if engine.outcome is not None else "waits for other things"
        raise DeterminismError(
            missing.position,
            "missing",
            step_fields(missing),
            None,
            f"the journal has a step here, but the handler {does} without asking for it.",
        )


def _compare_withdrawals(commands: Iterable[Command], recorded: list[RecordedStep], journal: Journal) -> None:
    actual = {command.position for command in commands if isinstance(command, CancelStep)}
    expected = {journaled.step.position for journaled in recorded}
    for position in sorted(actual ^ expected):
        step = step_fields(journal.steps[position].whole())
        detail = (
            "the handler gives the step up here, but it did not before."
            if position in actual
            else "the handler gave the step up here, but does not any more."
        )
        raise DeterminismError(position, "canceled", step, step, detail)


def _check_nothing_left(number: int, resolutions: Resolutions, journal: Journal) -> None:
    if number + 1 == len(resolutions):
        return
    following = resolutions[number + 1]
    detail = f"the handler ended after {number + 1} of {len(resolutions)} recorded resolutions."
    if isinstance(following, StepResolved):
        step = journal.steps[following.position].whole()
        raise DeterminismError(following.position, "finished", step_fields(step), None, detail)
    raise DeterminismError(None, "finished", detail=detail)


def compare_recorded(recorded: RecordedStep, actual: StartStep) -> None:
    """Compare, but read large arguments only if their bytes differ."""
    if recorded.later_args is None:
        compare_step(recorded.step, actual)
    elif actual.has_unstable_args or recorded.later_args.is_packed_as(actual.args):
        compare_step(replace(recorded.step, args=actual.args), actual)
    else:
        compare_step(recorded.whole(), actual)


def compare_step(recorded: StartStep, actual: StartStep) -> None:
    """Check that what the handler asks for is what it asked for before.

    A step with a name of its own may move to another function: that is what the name is for.

    Raises:
        DeterminismError: kind, name, function, arguments, duration or inline flag differ.
    """
    is_pinned = recorded.is_named and actual.is_named
    if recorded.kind != actual.kind:
        _differ("kind", recorded, actual, f"its kind was {recorded.kind}, and is {actual.kind} now.")
    if not is_pinned and recorded.function != actual.function:
        _differ("function", recorded, actual, f"it called {recorded.function}, and calls {actual.function} now.")
    if recorded.name != actual.name:
        _differ("name", recorded, actual, f"its name was {recorded.name!r}, and is {actual.name!r} now.")
    if recorded.duration_ms != actual.duration_ms:
        _differ(
            "duration", recorded, actual, f"it slept {recorded.duration_ms} ms, and sleeps {actual.duration_ms} ms now."
        )
    if recorded.is_inline != actual.is_inline:
        _differ("inline", recorded, actual, "its inline flag changed.")
    if not actual.has_unstable_args and not is_same_value(recorded.args, actual.args):
        _differ("args", recorded, actual, f"its arguments changed at {find_difference(recorded.args, actual.args)}.")


def is_same_step(recorded: StartStep, actual: StartStep) -> bool:
    """Tell whether `compare_step` finds no difference."""
    try:
        compare_step(recorded, actual)
    except DeterminismError:
        return False
    return True


def _differ(difference: str, recorded: StartStep, actual: StartStep, detail: str) -> None:
    raise DeterminismError(recorded.position, difference, step_fields(recorded), step_fields(actual), detail)


def step_fields(step: StartStep) -> dict[str, Any]:
    """Give what is compared, as plain data for an error."""
    return {
        "kind": step.kind,
        "name": step.name,
        "function": step.function,
        "args": step.args,
        "duration_ms": step.duration_ms,
        "is_inline": step.is_inline,
    }


def is_same_value(left: Any, right: Any) -> bool:
    """Compare two values as the order of values does: `1` and `1.0` are one number, `True` is none, NaN equals NaN.

    A 64-bit integer (a subclass of `int`) is another type than a number. Zeros of different sign differ.
    """
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(is_same_value(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_same_value, left, right))
    if type(left) in (int, float) and type(right) in (int, float):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return bool(left == right) and (left != 0 or math.copysign(1, left) == math.copysign(1, right))
    return type(left) is type(right) and bool(left == right)


def find_difference(left: Any, right: Any, path: str = "$") -> str:
    """Name the path of the first difference, from `$`."""
    if isinstance(left, dict) and isinstance(right, dict):
        for name in sorted(left.keys() | right.keys()):
            if name not in left or name not in right:
                return f"{path}.{name}"
            if not is_same_value(left[name], right[name]):
                return find_difference(left[name], right[name], f"{path}.{name}")
    if isinstance(left, list) and isinstance(right, list):
        for index, (one, other) in enumerate(zip(left, right, strict=False)):
            if not is_same_value(one, other):
                return find_difference(one, other, f"{path}[{index}]")
        if len(left) != len(right):
            return f"{path}[{min(len(left), len(right))}]"
    return path
