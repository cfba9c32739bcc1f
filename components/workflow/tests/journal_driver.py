"""A run driven in memory: completions in a random order, every command and resolution kept in a journal."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from convexpy_workflow.commands import (
    CancelRequested,
    CancelStep,
    Command,
    Failure,
    Finish,
    Outcome,
    Started,
    StartStep,
    StepResolved,
    Success,
    TimerFired,
)
from convexpy_workflow.engine import Engine
from convexpy_workflow.events import Event
from convexpy_workflow.replay import Journal, RecordedSignal, RecordedStep, replay
from convexpy_workflow.step import Step

Handler = Callable[[Step], Awaitable[Any]]
Mode = Literal["warm", "cold", "mixed"]


class PlainHost:
    """A host for engines without an app: names are taken as they are."""

    def function_name(self, function: Any) -> str:
        return function if isinstance(function, str) else f"{function.__module__}:{function.__name__}"

    def copy_args(self, args: Mapping[str, Any]) -> dict[str, Any]:
        return {name: copy_value(value) for name, value in args.items()}

    def check_event(self, event: Event, value: Any) -> None:
        event.check(value)


def copy_value(value: Any) -> Any:
    """Copy lists and dicts to any depth; every other value is immutable."""
    if isinstance(value, dict):
        return {name: copy_value(item) for name, item in value.items()}
    if isinstance(value, list):
        return [copy_value(item) for item in value]
    return value


def new_engine(handler: Handler, **options: Any) -> Engine:
    """An engine for a handler without arguments."""
    randomness = random.Random("run")

    async def main(engine: Engine) -> Any:
        return await handler(Step(engine, PlainHost(), "run", randomness))

    return Engine(main, **options)


class DrivenRun:
    """One run, its journal, and the suspended engine as far as the mode keeps it."""

    def __init__(self, handler: Handler, mode: Mode = "warm", seed: int = 0, start_ms: int = 1_000) -> None:
        self.handler = handler
        self.mode = mode
        self.random = random.Random(seed)
        self._eviction = random.Random(f"evict {seed}")
        self.now_ms = start_ms
        self.journal = Journal(start_ms)
        self.commands: list[Command] = []
        self.outcome: Outcome | None = None
        self.engine = new_engine(handler)
        self._take(self.engine.feed(Started(start_ms)), 0)

    @property
    def pending(self) -> list[int]:
        """Steps without an outcome that the handler has not given up."""
        return [r.step.position for r in self.journal.steps if r.resolved is None and r.withdrawn is None]

    def resolve(self, position: int, value: Any = None, error: str | None = None) -> None:
        """Complete one step."""
        outcome = Success(value) if error is None else Failure(error)
        number = self._consumed()
        commands = self.engine.feed(StepResolved(self.now_ms, position, outcome))
        recorded = self.journal.steps[position]
        recorded.resolved, recorded.resolved_now_ms, recorded.outcome = number, self.now_ms, outcome
        self._take(commands, number)

    def fire(self) -> None:
        """Move the clock to the first deadline and fire that timer."""
        assert self.engine.wake_at_ms is not None
        self.now_ms = max(self.now_ms, self.engine.wake_at_ms)
        timer = self.engine.due_timer(self.now_ms)
        assert timer is not None
        self._signal(timer)

    def cancel(self) -> None:
        """Ask the handler to end."""
        self._signal(CancelRequested(self.now_ms))

    def play(self, steps_max: int = 400) -> None:
        """Complete steps and fire timers in random order until the run ends or waits for nothing."""
        for _ in range(steps_max):
            choices: list[int | None] = list(self.pending)
            if self.engine.wake_at_ms is not None:
                choices.append(None)
            if self.outcome is not None or not choices:
                return
            self.evict_if_due()
            self.now_ms += self.random.choice([0, 0, 1, 7])
            choice = self.random.choice(choices)
            if choice is None:
                self.fire()
            elif self.random.random() < 0.2:
                self.resolve(choice, error=f"no {choice}")
            else:
                self.resolve(choice, self.random.randrange(1000))

    def cold_engine(self) -> Engine:
        """Replay the journal from its beginning; raises what replay raises."""
        engine = new_engine(self.handler)
        replay(engine, self.journal)
        return engine

    def _consumed(self) -> int:
        return 1 + len(self.journal.signals) + sum(r.resolved is not None for r in self.journal.steps)

    def _signal(self, resolution: TimerFired | CancelRequested) -> None:
        number = self._consumed()
        commands = self.engine.feed(resolution)
        self.journal.signals.append(RecordedSignal(number, resolution))
        self._take(commands, number)

    def _take(self, commands: list[Command], number: int) -> None:
        self.commands += commands
        for command in commands:
            match command:
                case StartStep(position=position):
                    assert position == len(self.journal.steps)
                    self.journal.steps.append(RecordedStep(command, number))
                case CancelStep(position):
                    self.journal.steps[position].withdrawn = number
                case Finish(outcome):
                    self.outcome = outcome

    def evict_if_due(self) -> None:
        """Swap the suspended engine for a replayed one, as the mode says. Call it between two resolutions."""
        if self.outcome is not None or self.mode == "warm":
            return
        if self.mode == "cold" or self._eviction.random() < 0.5:
            self.engine.close()
            self.engine = self.cold_engine()
