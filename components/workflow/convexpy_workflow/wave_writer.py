"""Writes a wave: its journal, the fields of the run's row, the run's wake-up, and the callback if it ended."""

from __future__ import annotations

import logging
from typing import Any, Literal, TypeAlias

from convexpy import MutationCtx
from convexpy_workflow.app_values import bounded
from convexpy_workflow.commands import Failure, Outcome, Success
from convexpy_workflow.definition import Definition
from convexpy_workflow.dry_run import describe_misfit
from convexpy_workflow.engine import Engine
from convexpy_workflow.errors import DeadlockError, DeterminismError, StalledError
from convexpy_workflow.jobs import call_back, schedule_wake
from convexpy_workflow.large_replay import LargeValues
from convexpy_workflow.records import Fields, describe_stuck, outcome_to_fields
from convexpy_workflow.wave_journal import News, WaveJournal

# A stuck run is tried again after as long as it has been stuck, so that a push of code that fits is noticed.
STUCK_RETRY_MS_MIN = 1_000
STUCK_RETRY_MS_MAX = 300_000

HandlerSource: TypeAlias = Literal["resumed", "replayed"]

_log = logging.getLogger("convexpy_workflow")


class WaveWriter:
    """Ends one wave: `commit` if its handler has taken what there was, `park` if it could not.

    Args:
        run: the run's row, as it was before the wave.
        is_wake: the wave is the wake-up that the row names.
    """

    def __init__(
        self, ctx: MutationCtx, definition: Definition, run: Fields, journal: WaveJournal, is_wake: bool
    ) -> None:
        self._ctx = ctx
        self._definition = definition
        self._run = run
        self._journal = journal
        self._is_wake = is_wake
        self.source: HandlerSource | None = None  # where the handler came from; None for the first wave

    def note_late(self, news: News) -> None:
        """Let the journal say what came of steps that the handler gave up before their outcomes came."""
        for position, outcome in news:
            fields = self._journal.late_fields(position, outcome)
            late = {"workflowId": self._run["_id"], "position": position, "fields": fields}
            self._ctx.run_mutation(self._definition.component.journal.note_late, late)

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
            changes |= {"state": "stuck", "stuck": describe_stuck(stalled) | {"since_ms": self._journal.now_ms}}
        if outcome is not None:
            for position in engine.pending_positions:
                job = self._journal.withdraw_step(position, at_end=True)
                if job is not None:
                    self._ctx.scheduler.cancel(job)
            changes |= self._ending(outcome)
        changes |= self._wake_changes(None if outcome is not None else engine.wake_at_ms, outcome is not None)
        if not self._write(changes):
            return None  # whoever ended it has called back too
        if outcome is not None:
            self._call_back(changes["result"])
        return {"epoch": run["epoch"], "wave": self._journal.resolution_count, "nonce": changes["nonce"]}

    def park(
        self,
        error: DeterminismError | DeadlockError,
        replayed: dict[str, Any] | None = None,
        values: LargeValues | None = None,
    ) -> None:
        """Write what is gathered, and stop the run until code that fits is there, or fail it if the definition says so.

        Args:
            replayed: the journal that the run was replayed over, if that is where the error comes from, with its large
                values.
        """
        run = self._run
        changes = self._changes()
        if self._definition.on_mismatch == "fail":
            changes |= self._ending(Failure(f"{type(error).__name__}: {error}"))
            self._write(changes)
            self._call_back(changes["result"])
            return
        since_ms = self._journal.now_ms if run["state"] == "running" else int(run["stuck"]["since_ms"])
        if run["state"] == "running":
            _log.error("Workflow %s (%s) is stuck: %s", run["name"], run["_id"], error)
        reason = describe_misfit(self._definition, run, replayed, values, error) | {"since_ms": since_ms}
        changes |= {"state": "stuck", "stuck": reason}
        retry_ms = min(max(self._journal.now_ms - since_ms, STUCK_RETRY_MS_MIN), STUCK_RETRY_MS_MAX)
        self._write(changes | self._wake_changes(self._journal.now_ms + retry_ms, is_over=False))

    def _changes(self) -> dict[str, Any]:
        """Give the fields of the run's row that every wave writes."""
        run, journal = self._run, self._journal
        changes: dict[str, Any] = {
            "wave": journal.resolution_count,
            "nonce": f"{self._ctx.random.getrandbits(64):016x}",
            "now_ms": journal.now_ms,
        } | journal.budget.journal_size()
        if journal.resolution_count and not run["wave"]:
            changes |= {"started_ms": journal.now_ms, "handler_lines": journal.start_lines}
        if journal.patches:
            changes["patches"] = [*run.get("patches", ()), *journal.patches]
        if self.source is not None:
            waves = dict(run.get("waves", {"resumed": 0, "replayed": 0}))
            waves[self.source] += 1
            changes["waves"] = waves
        return changes

    def _ending(self, outcome: Outcome) -> dict[str, Any]:
        result = outcome_to_fields(bounded(self._validated(outcome), "Workflow return value"))
        return {"state": "done", "result": result, "stuck": None, "finished_ms": self._journal.now_ms}

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

    def _write(self, changes: dict[str, Any]) -> bool:
        """Write the wave; False if an inline step of it has ended the run, so that nothing is left to write."""
        run, journal = self._run, self._journal
        dropped = journal.kept_ids if changes.get("state") == "done" else []
        written = self._ctx.run_mutation(
            self._definition.component.journal.commit_wave,
            {
                "workflowId": run["_id"],
                "epoch": run["epoch"],
                "wave": run["wave"],
                "changes": changes,
                "started": list(journal.started.values()),
                "settled": journal.settled,
                "withdrawn": journal.withdrawn,
                "timers": journal.timers,
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
        return schedule_wake(self._ctx, self._definition, run, self._journal.now_ms, wanted_ms)
