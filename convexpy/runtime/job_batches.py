"""Several functions that the scheduler runs, in one transaction, as far as those who scheduled them allow it.

Rows of one lane that complete together run one after the other, each function by itself and with bounds of its own;
then all their outcomes are delivered in one call. A completion may go on with what it would schedule next for right now
(`scheduler.run_here`): so a chain of short functions costs one commit, and not one each.

All of it commits or none. `JOBS_TOGETHER_SECONDS` ends it, and so does a transaction that is no longer small. After a
conflict, a hard kill or a failed completion the first row runs again alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from convexpy.functions.scheduled_rows import Row
from convexpy.limits import JOBS_TOGETHER_SECONDS
from convexpy.runtime.execution import Run
from convexpy.runtime.job_hints import completes_together
from convexpy.runtime.jobs import Outcome, attempt_function, begin_part, complete, pending_row, run_alone, run_function
from convexpy.runtime.resolution import Located
from convexpy.transactions.system_tables import SCHEDULED_FUNCTIONS


def run_job(run: Run) -> dict[str, Any]:
    """Run the row that the call names, if it is still pending, and with it what may share its transaction.

    Returns:
        `{"kind": "done"}`, `{"kind": "gone"}` for a row that is not pending any more, or for an action what to start,
        see `jobs.run_alone`; with `taken`: how many of the rows that the call names, from the first, are settled.
    """
    call = run.call
    if call.is_alone:
        found = pending_row(run, call.path)
        return {"taken": 1, **({"kind": "gone"} if found is None else run_alone(run, *found))}
    room = Room(run)
    finished: list[_Finished] = []
    taken = 0
    for job_id in (call.path, *call.more_jobs):
        if finished and not room.is_open:
            break
        found = pending_row(run, job_id)
        if found is not None:
            row = found[1]
            if not completes_together(row) or (finished and not _have_same_completion(row, finished[0].row)):
                if finished:
                    break
                run.room = None if "retry" in row else room
                return {"taken": taken + 1, **run_alone(run, *found)}
            room.functions_left -= bool(finished)
            begin_part(run, job_id)
            finished.append(_Finished(*found, run_function(run, row)))
            run.finished_jobs.add(job_id)
        taken += 1
    run.room = room
    _complete(run, finished)
    return {"kind": "done" if finished else "gone", "taken": taken}


class Room:
    """What a transaction that runs a scheduled function, or completes an action, has room for besides that."""

    def __init__(self, run: Run) -> None:
        self.functions_left = run.generation.limits.functions_together - 1
        self._run = run
        self._clock = run.generation.cpu_seconds
        self._began_seconds = self._clock()

    @property
    def is_open(self) -> bool:
        """Whether one more function may run in this transaction."""
        is_late = self._clock() - self._began_seconds > JOBS_TOGETHER_SECONDS
        return self.functions_left > 0 and not is_late and self._run.transaction.is_small

    def run_here(self, located: Located, args: dict[str, Any], apart_from: str | None) -> Outcome | None:
        """See `scheduler.run_here`.

        Args:
            apart_from: path of the component instance that the function must not use.
        """
        run, users = self._run, self._run.generation.users_of_components
        function = (located.instance.path, located.function.path, apart_from)
        if not self.is_open or function in users:
            return None
        self.functions_left -= 1
        transaction = run.transaction
        savepoint, marks = transaction.savepoint(), (len(run.jobs), len(run.canceled_jobs))
        job_id, usage = run.job_id, run.scheduled
        is_new = job_id is not None and job_id not in run.finished_jobs
        if job_id is not None:
            run.finished_jobs.add(job_id)  # what runs here cannot cancel what it runs in
        entered, run.entered = run.entered, set()
        try:
            begin_part(run, None)
            attempt = attempt_function(run, lambda: run.invoke(located, args, is_top=False))
            if apart_from in run.entered:
                transaction.rollback(savepoint)
                del run.jobs[marks[0] :]
                del run.canceled_jobs[marks[1] :]
                users.add(function)
                return None
        finally:
            run.entered |= entered
            if is_new and job_id is not None:
                run.finished_jobs.discard(job_id)
            begin_part(run, job_id)  # whoever asked goes on
            run.scheduled = usage
        attempt.log(run)
        return attempt.outcome


class _Finished(NamedTuple):
    """A row whose function has run."""

    internal_id: bytes
    row: Row
    outcome: Outcome


def _complete(run: Run, finished: list[_Finished]) -> None:
    """Deliver several outcomes in one call; if it raises, each in a call of its own."""
    if len(finished) > 1 and _deliver_together(run, finished):
        for internal_id, row, _ in finished:
            run.transaction.delete(SCHEDULED_FUNCTIONS, internal_id, row)
        return
    if len(finished) > 1:
        run.room = None  # whatever it was that has failed
    for internal_id, row, outcome in finished:
        run.job_id = row["_id"]
        complete(run, internal_id, row, outcome, row)


def _deliver_together(run: Run, finished: list[_Finished]) -> bool:
    transaction = run.transaction
    savepoint = transaction.savepoint()
    marks = len(run.jobs), len(run.canceled_jobs)
    first = finished[0].row
    begin_part(run, first["_id"])
    completions = [
        {"context": row["on_complete"]["context"], "outcome": outcome, "job_id": row["_id"]}
        for _, row, outcome in finished
    ]
    try:
        callback = first["on_complete"]
        located = run.resolver.in_namespace(callback["namespace"], callback["path"])
        run.invoke(located, {"completions": completions}, is_top=False)
    except BaseException:
        transaction.rollback(savepoint)
        del run.jobs[marks[0] :]
        del run.canceled_jobs[marks[1] :]
        return False
    return True


def _have_same_completion(row: Row, other: Row) -> bool:
    one, two = row["on_complete"], other["on_complete"]
    return bool(one["namespace"] == two["namespace"] and one["path"] == two["path"])
