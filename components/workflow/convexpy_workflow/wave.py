"""A wave: one transaction in which a run's handler takes news and what follows from it is written.

    load ─▶ warm handler, or replay ─▶ feed the news ─▶ schedule new steps ─▶ commit_wave ─▶ callback, if it ended
                     └─ journal and code disagree ─▶ park as stuck, news kept

It runs inside the app's own mutation (see `manager`), after the step's function in the same transaction. If the
transaction conflicts, all of it runs again, by replay.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from convexpy import MutationCtx
from convexpy_workflow.app_values import bounded
from convexpy_workflow.backtraces import describe_function_failure
from convexpy_workflow.beginning import begin_step, may_run_here, run_here, run_inline
from convexpy_workflow.budget import Budget
from convexpy_workflow.commands import (
    CancelStep,
    Failure,
    Finish,
    Outcome,
    Resolution,
    Started,
    StartStep,
    StepResolved,
    Success,
    TimerFired,
)
from convexpy_workflow.definition import Definition
from convexpy_workflow.dry_run import describe_misfit
from convexpy_workflow.engine import Engine
from convexpy_workflow.errors import DeadlockError, DeterminismError, StalledError
from convexpy_workflow.jobs import call_back, schedule_wake
from convexpy_workflow.large_replay import LargeValues, large_values_of, with_large_values
from convexpy_workflow.output import HandlerOutput
from convexpy_workflow.records import (
    AHEAD,
    describe_stuck,
    journal_from_rows,
    outcome_from_fields,
    outcome_to_fields,
    step_from_fields,
    step_to_fields,
    unconsumed_steps,
)
from convexpy_workflow.replay import is_same_step, replay
from convexpy_workflow.warm import WarmRun, warm_runs

RUNTIME = f"{sys.implementation.name}-{sys.version_info.major}.{sys.version_info.minor}"
# A stuck run is tried again after as long as it has been stuck, so that a push of code that fits is noticed.
STUCK_RETRY_MS_MIN = 1_000
STUCK_RETRY_MS_MAX = 300_000

News = Sequence[tuple[int, Outcome]]
Printed = Mapping[int, tuple[int, list[str]]]

_log = logging.getLogger("convexpy_workflow")

# Outcomes that the handler is to have, in order; None for a step that is run, or scheduled, when its turn has come.
Queue: TypeAlias = deque[tuple[int, Outcome | None]]


def run_wave(
    ctx: MutationCtx,
    definition: Definition,
    workflow_id: str,
    epoch: int,
    news: News = (),
    printed: Printed = MappingProxyType({}),
    is_wake: bool = False,
    is_start: bool = False,
    jobs: Sequence[str] = (),
) -> None:
    """Give a run its news, if it still is the run that the news is for.

    Args:
        epoch: the run's epoch when the news was ordered; another one now means that the run was canceled since.
        news: position and outcome of each finished step, in the order in which the handler is to have them.
        printed: by position, which attempt brought the news, and what the step's function printed in it.
        is_wake: this call is the wake-up that the run's row names.
        is_start: the caller waits for the run's first wave; what goes wrong in it is the caller's error.
        jobs: those whose completions bring the news.

    Raises:
        DeterminismError, DeadlockError: in a first wave that its caller waits for.
    """
    key = (id(definition), workflow_id)
    held = warm_runs.take(key)
    loaded = ctx.run_query(
        definition.component.journal.load,
        {"workflowId": workflow_id, "held": None if held is None else held.stamp},
    )
    run = None if loaded is None else loaded["run"]
    if run is None or run["epoch"] != epoch or run["state"] == "done":
        if held is not None:
            held.engine.close()
        return
    if "trouble" in run and jobs:
        ctx.run_mutation(definition.component.trouble.overcome, {"workflowId": workflow_id, "jobs": [*jobs]})
    wave = Wave(ctx, definition, run, is_wake, news, printed)
    pending: list[tuple[int, Outcome]] = []
    values: LargeValues | None = None
    try:
        if held is not None and loaded["journal"] is None:
            engine, output = held.engine, held.output
            wave.source = "resumed"
        else:
            if held is not None:
                held.engine.close()
            values = large_values_of(loaded["journal"]["steps"], partial(_load_packed, ctx, definition))
            pending = unconsumed_steps(loaded["journal"]["steps"], values)
            wave.keep(loaded["journal"]["steps"], values)
            engine, output = _replayed(definition, run, loaded["journal"], values)
            wave.source = "replayed" if run["wave"] else None
    except (DeterminismError, DeadlockError) as error:
        wave.park(error, news, loaded["journal"], values)
        return
    if news:
        if not pending and run["state"] == "running" and not wave.has_kept:
            waiting = set(engine.pending_positions)
            wave.note_late([one for one in news if one[0] not in waiting])
            news = [one for one in news if one[0] in waiting]
            if not news:
                # All of it is of steps that the handler gave up. The suspended handler still fits.
                stamp = {"epoch": run["epoch"], "wave": run["wave"], "nonce": run["nonce"]}
                warm_runs.put(key, WarmRun(engine, output, stamp))
                return
        pending += news
    try:
        wave.advance(engine, output, pending, takes_timers=not news)
    except (DeterminismError, DeadlockError) as error:
        engine.close()
        if is_start:
            raise  # the whole transaction goes, and with it what this wave did
        wave.park(error, wave.unfed)
        return
    except BaseException:
        engine.close()
        raise
    output.write()
    stalled = engine.stalled()
    outcome = engine.outcome or wave.overflow
    written = wave.commit(engine, outcome, stalled)
    if written is not None and outcome is None and stalled is None and not wave.has_kept:
        warm_runs.put(key, WarmRun(engine, output, written))
    else:
        engine.close()


def _load_packed(ctx: MutationCtx, definition: Definition, ids: list[str]) -> list[bytes]:
    load = definition.component.large_values.load_packed
    packed: list[bytes] = ctx.run_query(load, {"ids": ids}, stale_snapshot=True)
    # What this very transaction has written is only seen by an ordinary query.
    return packed or list(ctx.run_query(load, {"ids": ids}))


def _replayed(
    definition: Definition, run: dict[str, Any], journal: dict[str, Any], values: LargeValues
) -> tuple[Engine, HandlerOutput]:
    engine, output = definition.new_engine(run["_id"], journal["args"], run)
    if run["wave"]:
        replay(engine, journal_from_rows(int(run["started_ms"]), journal["steps"], journal["timers"], values))
        output.drop()
        engine.warnings.clear()
    return engine, output


class Wave:
    """What one wave has done so far, until `commit` writes it."""

    def __init__(
        self,
        ctx: MutationCtx,
        definition: Definition,
        run: dict[str, Any],
        is_wake: bool,
        news: News,
        printed: Printed,
    ) -> None:
        self._ctx = ctx
        self._definition = definition
        self._run = run
        self._is_wake = is_wake
        self._now_ms = max(int(run["now_ms"]), ctx.now_ms())
        self._wave = int(run["wave"])
        self._started: dict[int, dict[str, Any]] = {}
        self._commands: dict[int, StartStep] = {}  # of `_started`
        self.unfed: list[tuple[int, Outcome | None]] = []  # what the handler was to have when `advance` raised
        self._settled: list[dict[str, Any]] = []
        self._withdrawn: list[dict[str, Any]] = []
        self._timers: list[dict[str, Any]] = []
        self._budget = Budget(run)
        self._patches: list[dict[str, Any]] = []
        self._log_of: dict[int, dict[str, Any]] = {}  # fields with the lines of a step's function, by position
        self._start_lines: list[str] = []
        for position, (attempt, lines) in printed.items():
            if lines:
                self._log_of[position] = {"attempt": attempt, "lines": lines}
        self._arrived: dict[int, Outcome] = {}  # of steps whose functions have run, before the handler has them
        self._kept: dict[int, dict[str, Any]] = {}
        self._values: LargeValues | None = None  # of the kept ones
        # Where the handler came from; None for the first wave.
        self.source: Literal["resumed", "replayed"] | None = None

    @property
    def has_kept(self) -> bool:
        """Whether there are steps that a restart has kept and that the handler has not asked for again."""
        return bool(self._kept)

    def keep(self, steps: list[dict[str, Any]], values: LargeValues) -> None:
        """Take the rows of a loaded journal, and hold ready those that wait for the handler to ask for them again."""
        self._kept = {int(row["position"]): row for row in steps if row["issued"] == AHEAD}
        self._values = values

    def note_late(self, news: News) -> None:
        """Let the journal say what came of steps that the handler gave up before their outcomes came."""
        for position, outcome in news:
            fields = {"outcome": outcome_to_fields(outcome)} | self._log_of.pop(position, {})
            late = {"workflowId": self._run["_id"], "position": position, "fields": fields}
            self._ctx.run_mutation(self._definition.component.journal.note_late, late)

    @property
    def overflow(self) -> Failure | None:
        """The failure of a run whose journal this wave has made too long."""
        return self._budget.overflow()

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
        queue: Queue = deque(news)
        self._arrived = dict(news)
        if not self._wave:
            self._feed(engine, output, Started(self._now_ms), queue)
        while engine.outcome is None and self._budget.overflow() is None:
            if queue:
                position, outcome = queue.popleft()
                if position not in engine.pending_positions:
                    continue
                if outcome is None:
                    output.write()  # what the handler has printed so far comes before the step's own lines
                    outcome = self._run_or_schedule(self._commands[position])
                if outcome is not None:
                    self.unfed = [(position, outcome), *queue]
                    self._feed(engine, output, StepResolved(self._now_ms, position, outcome), queue)
                continue
            timer = engine.due_timer(self._now_ms) if takes_timers else None
            if timer is None:
                return
            self.unfed = []
            self._feed(engine, output, timer, queue)

    def _feed(self, engine: Engine, output: HandlerOutput, resolution: Resolution, queue: Queue) -> None:
        number = self._wave
        commands = engine.feed(resolution)
        self._patches += [{"name": name, "resolution": number} for name in engine.patches.drain_new()]
        self._wave += 1
        output.warn(engine.warnings)
        handler_log = {"handler_lines": lines} if (lines := output.take_lines()) else {}
        match resolution:
            case Started():
                self._start_lines = lines
            case StepResolved(_, position, outcome):
                fields = {
                    "outcome": outcome_to_fields(outcome),
                    "resolved": number,
                    "resolved_now_ms": self._now_ms,
                    "completed_ms": self._now_ms,
                }
                fields |= self._log_of.pop(position, {}) | handler_log
                self._budget.count_value(fields["outcome"])
                if position in self._started:
                    self._started[position] = {**fields, **self._started[position], "state": "done"}
                else:
                    self._settled.append({"position": position} | fields)
            case TimerFired(now_ms, timer, deadline_ms):
                self._budget.count_row()
                self._timers.append(
                    {"resolution": number, "number": timer, "deadline_ms": deadline_ms, "now_ms": now_ms} | handler_log
                )
        new = []
        for command in commands:
            match command:
                case StartStep(position=position):
                    row = step_to_fields(command)
                    row |= {"state": "pending", "issued": number, "started_ms": self._now_ms}
                    row |= self._kept_fields(command)
                    self._budget.count_row()
                    self._budget.count_value(command.args)
                    self._started[position] = row
                    self._commands[position] = command
                    new.append(command)
                case CancelStep(position, at_end):
                    self._withdraw(position, number, at_end)
                case Finish():
                    pass  # the engine keeps the outcome
        others = engine.pending_count - len(new)
        for ordinal, command in enumerate(new):
            row = self._started[command.position]
            if row["state"] == "pending":
                self._begin(command, others + ordinal, queue)
            elif row["state"] == "done":
                queue.append((command.position, outcome_from_fields(row["outcome"])))

    def _kept_fields(self, command: StartStep) -> dict[str, Any]:
        """Give what a restart has kept of a step: its outcome, if it is the same step. Another one runs anew."""
        kept = self._kept.pop(command.position, None)
        if kept is None or self._values is None:
            return {}
        kept = with_large_values(kept, self._values)
        fields: dict[str, Any] = {"replaces": kept["_id"]}
        if kept["state"] != "done" or not is_same_step(step_from_fields(kept), command):
            return fields
        names = ("state", "outcome", "started_ms", "completed_ms", "attempts", "event", "child", "child_handler")
        return fields | {name: kept[name] for name in names if name in kept}

    def _withdraw(self, position: int, number: int, at_end: bool) -> None:
        row = self._started.get(position)
        if row is None:
            patch = {"position": position, "withdrawn": number, "at_end": at_end}
            if position in self._arrived:
                # Its function has run, and what that has done stays: the journal says so.
                patch |= {"outcome": outcome_to_fields(self._arrived[position])} | self._log_of.pop(position, {})
                self._budget.count_value(patch["outcome"])
            self._withdrawn.append(patch)
            return
        row |= {"withdrawn": number, "at_end": at_end}
        if row["state"] != "done":  # as a restart has kept it
            row |= {"state": "canceled", "completed_ms": self._now_ms}
        if "job" in row:
            self._ctx.scheduler.cancel(row.pop("job"))

    def _begin(self, step: StartStep, pending: int, queue: Queue) -> None:
        """Put a step into the queue that may run in this transaction, or schedule it.

        It runs in its turn, not here: by then the handler may have given it up.
        """
        refusal = None if step.is_inline else self._budget.refuse_step(step, pending)
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
            self._budget.give_back(step)
        if lines:
            self._log_of[step.position] = {"attempt": 1, "lines": lines}
        return outcome

    def _schedule(self, step: StartStep) -> Outcome | None:
        """Let a step begin; what cannot even be scheduled has failed. Gives the outcome of one that has it already."""
        try:
            fields, outcome = begin_step(self._ctx, self._definition, self._run, step)
        except Exception as error:
            return bounded(describe_function_failure(error), "Step return value")
        self._started[step.position] |= fields
        return outcome

    def commit(self, engine: Engine, outcome: Outcome | None, stalled: StalledError | None) -> dict[str, Any] | None:
        """Write the wave, and call the run's `on_complete` if it ended.

        Args:
            outcome: the run's, once it has one. Steps that are pending then are withdrawn.

        Returns:
            the stamp that the run's row carries from now on; None if an inline step has ended the run meanwhile.
        """
        run = self._run
        changes = self._changes()
        if run["state"] == "stuck":
            changes |= {"state": "running", "stuck": None}
        if stalled is not None:
            changes |= {"state": "stuck", "stuck": describe_stuck(stalled) | {"since_ms": self._now_ms}}
        if outcome is not None:
            for position in engine.pending_positions:
                self._withdraw(position, self._wave - 1, at_end=True)
            changes |= self._ending(outcome)
        changes |= self._wake_changes(None if outcome is not None else engine.wake_at_ms, outcome is not None)
        if not self._write(changes):
            return None  # whoever ended it has called back too
        if outcome is not None:
            self._call_back(changes["result"])
        return {"epoch": run["epoch"], "wave": self._wave, "nonce": changes["nonce"]}

    def _changes(self) -> dict[str, Any]:
        """Give the fields of the run's row that every wave writes."""
        run = self._run
        changes: dict[str, Any] = {
            "wave": self._wave,
            "nonce": f"{self._ctx.random.getrandbits(64):016x}",
            "now_ms": self._now_ms,
        } | self._budget.journal_size()
        if self._wave and not run["wave"]:
            changes |= {"started_ms": self._now_ms, "handler_lines": self._start_lines}
        if self._patches:
            changes["patches"] = [*run.get("patches", ()), *self._patches]
        if self.source is not None:
            waves = dict(run.get("waves", {"resumed": 0, "replayed": 0}))
            waves[self.source] += 1
            changes["waves"] = waves
        return changes

    def _ending(self, outcome: Outcome) -> dict[str, Any]:
        result = outcome_to_fields(bounded(self._validated(outcome), "Workflow return value"))
        return {"state": "done", "result": result, "stuck": None, "finished_ms": self._now_ms}

    def _call_back(self, result: dict[str, Any]) -> None:
        run, component = self._run, self._definition.component
        if "on_complete" in run:
            callback = self._ctx.run_query(component.journal.load_callback, {"workflowId": run["_id"]})
            call_back(self._ctx, self._definition, run["_id"], callback, result)

    def _validated(self, outcome: Outcome) -> Outcome:
        """Check a returned value with the definition's `returns`: the platform validates arguments, so it is one."""
        if self._definition.contract.returns is None or not isinstance(outcome, Success):
            return outcome
        try:
            self._ctx.run_mutation(self._definition.mutation, {"checked": outcome.value})
        except Exception as error:
            return Failure(f"Invalid return value: {error}")
        return outcome

    def park(
        self,
        error: DeterminismError | DeadlockError,
        news: Sequence[tuple[int, Outcome | None]],
        journal: dict[str, Any] | None = None,
        values: LargeValues | None = None,
    ) -> None:
        """Keep the news and stop the run until code that fits is there, or fail it if the definition says so.

        Args:
            journal: what the run was replayed over, if that is where the error comes from, with its large values.
        """
        run = self._run
        self._keep_unfed(news)
        changes = self._changes()
        if self._definition.on_mismatch == "fail":
            changes |= self._ending(Failure(f"{type(error).__name__}: {error}"))
            self._write(changes)
            self._call_back(changes["result"])
            return
        since_ms = self._now_ms if run["state"] == "running" else int(run["stuck"]["since_ms"])
        if run["state"] == "running":
            _log.error("Workflow %s (%s) is stuck: %s", run["name"], run["_id"], error)
        reason = describe_misfit(self._definition, run, journal, values, error) | {"since_ms": since_ms}
        changes |= {"state": "stuck", "stuck": reason}
        retry_ms = min(max(self._now_ms - since_ms, STUCK_RETRY_MS_MIN), STUCK_RETRY_MS_MAX)
        self._write(changes | self._wake_changes(self._now_ms + retry_ms, is_over=False))

    def _keep_unfed(self, news: Sequence[tuple[int, Outcome | None]]) -> None:
        """Keep outcomes for later that the handler has not had; what has not run yet runs, or is scheduled."""
        given_up = {patch["position"] for patch in self._withdrawn}
        given_up |= {position for position, row in self._started.items() if row["state"] == "canceled"}
        for position, known in news:
            if position in given_up:
                continue
            outcome = self._run_or_schedule(self._commands[position]) if known is None else known
            if outcome is None:
                continue
            fields = {"outcome": outcome_to_fields(outcome), "completed_ms": self._now_ms}
            self._budget.count_value(fields["outcome"])
            fields |= self._log_of.pop(position, {})
            if position in self._started:
                self._started[position] |= fields | {"state": "done"}
            else:
                self._settled.append({"position": position} | fields)

    def _write(self, changes: dict[str, Any]) -> bool:
        """Write the wave; False if an inline step of it has ended the run, so that nothing is left to write."""
        run = self._run
        dropped = [row["_id"] for row in self._kept.values()] if changes.get("state") == "done" else []
        written = self._ctx.run_mutation(
            self._definition.component.journal.commit_wave,
            {
                "workflowId": run["_id"],
                "epoch": run["epoch"],
                "wave": run["wave"],
                "changes": changes,
                "started": list(self._started.values()),
                "settled": self._settled,
                "withdrawn": self._withdrawn,
                "timers": self._timers,
            }
            | ({"dropped": dropped} if dropped else {}),
        )
        for job in written["jobs"]:
            self._ctx.scheduler.cancel(job)
        return not written["is_ended"]

    def _wake_changes(self, wanted_ms: int | None, is_over: bool) -> dict[str, Any]:
        """Keep a wake-up scheduled that is not later than the handler's first timer.

        An earlier one is left alone: it finds nothing due and schedules the next. So a timeout around every step costs
        a row only now and then, not one a step.
        """
        run = self._run
        has_wake = "wake_at_ms" in run and not self._is_wake
        if wanted_ms is None and not is_over:
            return {"wake_at_ms": None, "wake_job": None} if self._is_wake else {}
        if wanted_ms is not None and has_wake and run["wake_at_ms"] <= wanted_ms:
            return {}
        if has_wake:
            self._ctx.scheduler.cancel(run["wake_job"])
        if wanted_ms is None:
            return {"wake_at_ms": None, "wake_job": None} if "wake_at_ms" in run else {}
        return schedule_wake(self._ctx, self._definition, run, self._now_ms, wanted_ms)
