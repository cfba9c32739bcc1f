"""A wave: one transaction in which a run's handler takes news and what follows from it is written.

    load ─▶ warm handler, or replay ─▶ feed the news ─▶ schedule new steps ─▶ commit_wave ─▶ callback, if it ended
                     └─ journal and code disagree ─▶ park as stuck, news kept

It runs inside the app's own mutation (see `workflow_mutation`), after the step's function in the same transaction. If
the transaction conflicts, all of it runs again, by replay. The handler is fed in `wave_feeder`, what that gives is
gathered in `wave_journal` and written by `wave_writer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import MappingProxyType

from convexpy import MutationCtx
from convexpy_workflow.commands import Outcome
from convexpy_workflow.definition import Definition
from convexpy_workflow.engine import Engine
from convexpy_workflow.errors import DeadlockError, DeterminismError
from convexpy_workflow.large_replay import LargeValues, large_values_of
from convexpy_workflow.output import HandlerOutput
from convexpy_workflow.records import Fields, journal_from_rows, unconsumed_steps
from convexpy_workflow.replay import replay
from convexpy_workflow.warm import WarmRun, warm_runs
from convexpy_workflow.wave_feeder import WaveFeeder
from convexpy_workflow.wave_journal import News, Printed, WaveJournal
from convexpy_workflow.wave_writer import WaveWriter


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
    journal = WaveJournal(run, max(int(run["now_ms"]), ctx.now_ms()), printed)
    feeder = WaveFeeder(ctx, definition, run, journal)
    writer = WaveWriter(ctx, definition, run, journal, is_wake)
    pending: list[tuple[int, Outcome]] = []
    values: LargeValues | None = None
    try:
        if held is not None and loaded["journal"] is None:
            engine, output = held.engine, held.output
            writer.source = "resumed"
        else:
            if held is not None:
                held.engine.close()
            values = large_values_of(loaded["journal"]["steps"], partial(_load_packed, ctx, definition))
            pending = unconsumed_steps(loaded["journal"]["steps"], values)
            journal.keep(loaded["journal"]["steps"], values)
            engine, output = _replayed(definition, run, loaded["journal"], values)
            writer.source = "replayed" if run["wave"] else None
    except (DeterminismError, DeadlockError) as error:
        feeder.settle_unfed(news)
        writer.park(error, loaded["journal"], values)
        return
    if news:
        if not pending and run["state"] == "running" and not journal.has_kept:
            waiting = set(engine.pending_positions)
            writer.note_late([one for one in news if one[0] not in waiting])
            news = [one for one in news if one[0] in waiting]
            if not news:
                # All of it is of steps that the handler gave up. The suspended handler still fits.
                stamp = {"epoch": run["epoch"], "wave": run["wave"], "nonce": run["nonce"]}
                warm_runs.put(key, WarmRun(engine, output, stamp))
                return
        pending += news
    try:
        feeder.advance(engine, output, pending, takes_timers=not news)
    except (DeterminismError, DeadlockError) as error:
        engine.close()
        if is_start:
            raise  # the whole transaction goes, and with it what this wave did
        feeder.settle_unfed(feeder.unfed)
        writer.park(error)
        return
    except BaseException:
        engine.close()
        raise
    output.write()
    stalled = engine.stalled()
    outcome = engine.outcome or journal.budget.overflow()
    written = writer.commit(engine, outcome, stalled)
    if written is not None and outcome is None and stalled is None and not journal.has_kept:
        warm_runs.put(key, WarmRun(engine, output, written))
    else:
        engine.close()


def _load_packed(ctx: MutationCtx, definition: Definition, ids: list[str]) -> list[bytes]:
    load = definition.component.large_values.load_packed
    packed: list[bytes] = ctx.run_query(load, {"ids": ids}, stale_snapshot=True)
    # What this very transaction has written is only seen by an ordinary query.
    return packed or list(ctx.run_query(load, {"ids": ids}))


def _replayed(
    definition: Definition, run: Fields, journal: Fields, values: LargeValues
) -> tuple[Engine, HandlerOutput]:
    engine, output = definition.new_engine(run["_id"], journal["args"], run)
    if run["wave"]:
        replay(engine, journal_from_rows(int(run["started_ms"]), journal["steps"], journal["timers"], values))
        output.drop()
        engine.warnings.clear()
    return engine, output
