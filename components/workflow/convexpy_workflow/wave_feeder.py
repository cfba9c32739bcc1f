"""Gives a run's handler its news, one after the other, and lets the steps begin that it asks for.

queue ─▶ engine.feed ─▶ commands ─▶ run the step in this transaction ─▶ its outcome into the queue
                                └─▶ or schedule it; its outcome is the news of a later wave
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

from convexpy import MutationCtx
from convexpy_workflow.app_values import bounded
from convexpy_workflow.backtraces import describe_function_failure
from convexpy_workflow.beginning import begin_step, may_run_here, run_here, run_inline
from convexpy_workflow.commands import (
    CancelStep,
    Failure,
    Finish,
    Outcome,
    Resolution,
    Started,
    StartStep,
    StepResolved,
)
from convexpy_workflow.definition import Definition
from convexpy_workflow.engine import Engine
from convexpy_workflow.output import HandlerOutput
from convexpy_workflow.records import Fields, outcome_from_fields
from convexpy_workflow.wave_journal import WaveJournal

# Outcomes that the handler is to have, in order; None for a step that is run, or scheduled, when its turn has come.
Queue: TypeAlias = deque[tuple[int, Outcome | None]]
Unfed: TypeAlias = Sequence[tuple[int, Outcome | None]]


class WaveFeeder:
    """Takes the handler of one wave from resolution to resolution, and records in `journal` what comes of it.

    Args:
        run: the run's row, as it was before the wave.
    """

    def __init__(self, ctx: MutationCtx, definition: Definition, run: Fields, journal: WaveJournal) -> None:
        self._ctx = ctx
        self._definition = definition
        self._run = run
        self._journal = journal
        self._commands: dict[int, StartStep] = {}  # of the steps that the wave has started
        self._has_ended = False  # an inline step has ended or deleted the run: nothing is to be gone on with
        self.unfed: Unfed = ()  # what the handler was to have when `advance` raised

    def advance(
        self, engine: Engine, output: HandlerOutput, news: list[tuple[int, Outcome]], takes_timers: bool
    ) -> None:
        """Feed what there is to feed, one resolution after the other.

        Args:
            news: outcomes of steps, in order. Those that the handler does not wait for any more are dropped.
            takes_timers: fire the handler's due timers too, after the news.

        Raises:
            DeterminismError, DeadlockError: the handler cannot take what comes first in `unfed`; it has taken all that
                was before it.
        """
        journal = self._journal
        now_ms = journal.now_ms
        queue: Queue = deque(news)
        journal.note_arrived(news)
        if not journal.resolution_count:
            self._feed(engine, output, Started(now_ms), queue)
        while engine.outcome is None and journal.budget.overflow() is None:
            if queue:
                position, outcome = queue.popleft()
                if position not in engine.pending_positions:
                    continue
                if outcome is None:
                    output.write()  # what the handler has printed so far comes before the step's own lines
                    outcome = self._run_or_schedule(self._commands[position])
                    if self._has_ended:
                        return
                if outcome is not None:
                    self.unfed = [(position, outcome), *queue]
                    self._feed(engine, output, StepResolved(now_ms, position, outcome), queue)
                continue
            timer = engine.due_timer(now_ms) if takes_timers else None
            if timer is None:
                return
            self.unfed = ()
            self._feed(engine, output, timer, queue)

    def settle_unfed(self, news: Unfed) -> None:
        """Record outcomes for later that the handler has not had; what has not run yet runs, or is scheduled."""
        given_up = self._journal.given_up
        for position, known in news:
            if position in given_up:
                continue
            if self._has_ended:
                return
            outcome = self._run_or_schedule(self._commands[position]) if known is None else known
            if outcome is not None:
                self._journal.settle_step(position, outcome)

    def _feed(self, engine: Engine, output: HandlerOutput, resolution: Resolution, queue: Queue) -> None:
        journal = self._journal
        commands = engine.feed(resolution)
        output.warn(engine.warnings)
        journal.record(resolution, engine.patches.drain_new(), output.take_lines())
        new = []
        for command in commands:
            match command:
                case StartStep(position=position):
                    journal.start_step(command)
                    self._commands[position] = command
                    new.append(command)
                case CancelStep(position, at_end):
                    job = journal.withdraw_step(position, at_end)
                    if job is not None:
                        self._ctx.scheduler.cancel(job)
                case Finish():
                    pass  # the engine keeps the outcome
        others = engine.pending_count - len(new)
        for ordinal, command in enumerate(new):
            row = journal.started[command.position]
            if row["state"] == "pending":
                self._begin(command, others + ordinal, queue)
            elif row["state"] == "done":
                queue.append((command.position, outcome_from_fields(row["outcome"])))

    def _begin(self, step: StartStep, pending: int, queue: Queue) -> None:
        """Put a step into the queue that may run in this transaction, or schedule it.

        It runs in its turn, not here: by then the handler may have given it up.
        """
        refusal = None if step.is_inline else self._journal.budget.refuse_step(step, pending)
        if refusal is not None:
            queue.append((step.position, Failure(refusal)))
        elif step.is_inline or may_run_here(self._definition, step):
            queue.append((step.position, None))
        elif (outcome := self._schedule(step)) is not None:
            queue.append((step.position, outcome))

    def _run_or_schedule(self, step: StartStep) -> Outcome | None:
        """Run a step in this transaction and give its outcome; None if that is to come later."""
        ran = run_inline(self._ctx, step) if step.is_inline else run_here(self._ctx, self._definition, step)
        if ran is None:
            return self._schedule(step)
        outcome, lines = ran
        if not step.is_inline:
            self._journal.budget.give_back(step)
        elif step.kind == "mutation":
            address = {"workflowId": self._run["_id"], "epoch": self._run["epoch"]}
            self._has_ended = not self._ctx.run_query(self._definition.component.lifecycle.is_current, address)
        self._journal.note_log(step.position, 1, lines)
        return outcome

    def _schedule(self, step: StartStep) -> Outcome | None:
        """Let a step begin; what cannot even be scheduled has failed. Gives the outcome of one that has it already."""
        try:
            fields, outcome = begin_step(self._ctx, self._definition, self._run, step)
        except Exception as error:
            return bounded(describe_function_failure(error), "Step return value")
        self._journal.started[step.position] |= fields
        return outcome
