"""Runs scheduled functions when they are due: from committed rows, each through `job_batches.run_job`.

New rows come as hints with the commit that wrote them; the rest is found through the due index (`job_queues`). A
million pending rows cost nothing at rest. `lanes` says what waits for what, `job_runs` runs one row until it is done.

What runs when is only a matter of speed and fairness here. That a function runs once is settled by its row, in the
transaction that runs it; so a hint may come twice, late, or not at all, and a crash loses nothing.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from convexpy.environment import Environment
from convexpy.errors import ConvexpyError
from convexpy.limits import SCHEDULED_ACTIONS_IN_FLIGHT_MAX, SCHEDULED_RUNS_IN_FLIGHT_MAX
from convexpy.runtime.job_queues import Job, JobQueue, JobQueues
from convexpy.runtime.job_runs import JobRunner, JobRuns
from convexpy.runtime.lanes import Lanes
from convexpy.runtime.messages import JobHint
from convexpy.transactions.commit_messages import Committed
from convexpy.transactions.system_tables import QUEUES

TIMER_SECONDS_MAX = 60.0  # the wall clock may step; it is asked again after so long
FORGET_SECONDS = 3600.0


class JobScheduler:
    """The one scheduler of a deployment. Implements `parts.JobSink`.

    Args:
        timer_seconds_max: how long to trust the wall clock; a clock that never steps may be trusted for ever.
    """

    def __init__(
        self,
        runner: JobRunner,
        environment: Environment,
        report: Callable[[str], None],
        timer_seconds_max: float = TIMER_SECONDS_MAX,
    ) -> None:
        self._runner = runner
        self._environment = environment
        self._report = report
        self._timer_seconds_max = timer_seconds_max
        self._runs = JobRuns(runner, report)
        self._queues = JobQueues(runner, report, self.wake_soon)
        self._lanes = Lanes(self._begin_together)
        self._running_actions = 0
        self._waiting_actions: deque[Job] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_wake_due = False
        self._is_stopped = False
        self._is_started = False

    async def start(self) -> None:
        """Settle what the last server left behind, and load what is due next."""
        await self._runs.finish_lost_actions()
        await self._queues.load_all()
        self._is_started = True
        self._spawn(self._forget_old_rows())
        self._wake()

    async def stop(self) -> None:
        """Start nothing more. What runs is left to its row."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take_jobs(self, jobs: list[JobHint], canceled: list[str]) -> None:
        """See `parts.JobSink`. A canceled row is found to be so when it is due."""
        for hint in jobs:
            self._queues.named(hint.queue).take(hint)
        if jobs:
            self.wake_soon()

    def take_commits(self, commits: list[Committed]) -> None:
        """Notice changes of queue limits."""
        is_changed = any(key.startswith(QUEUES.prefix) for commit in commits for key in commit.keys)
        if is_changed and self._queues.note_limit_change():
            self._spawn(self._queues.follow_limits())

    # --- what is due

    def wake_soon(self) -> None:
        """Look in the next step of the loop what is due."""
        if not self._is_wake_due:
            self._is_wake_due = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        """Start all that is due and may run; set the timer for the next."""
        self._is_wake_due = False
        if self._is_stopped or not self._is_started:
            return
        now_ns = self._environment.now_ns()
        next_due_ns: int | None = None
        runs = self._runs
        for queue in self._queues.all:
            if queue.name and self._queues.are_limits_stale:
                continue  # they are awaited, and then it looks again
            while queue.rows and queue.has_room and runs.transactions_in_flight < SCHEDULED_RUNS_IN_FLIGHT_MAX:
                due_ns, _, hint = queue.rows[0]
                if due_ns > now_ns:
                    break
                del queue.rows[0]
                self._start(queue, hint)
            if queue.rows and queue.has_room:
                due_ns = queue.rows[0][0]
                next_due_ns = due_ns if next_due_ns is None else min(next_due_ns, due_ns)
            elif not queue.rows and queue.is_short:
                queue.is_loading = True
                self._spawn(self._queues.load_more(queue))
        # Only now: whoever became due together with the first one of a lane runs together with it.
        self._lanes.begin_joined()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if next_due_ns is not None and runs.transactions_in_flight < SCHEDULED_RUNS_IN_FLIGHT_MAX:
            delay = min(max(0.0, (next_due_ns - now_ns) / 1e9), self._timer_seconds_max)
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake)

    # --- what begins

    def _start(self, queue: JobQueue, hint: JobHint) -> None:
        if hint.is_action and self._running_actions >= SCHEDULED_ACTIONS_IN_FLIGHT_MAX:
            self._waiting_actions.append(Job(queue, hint))
        elif hint.is_action or hint.lane is None:
            self._begin(queue, hint)
        elif not hint.completes_together or queue.limit is not None:  # a limit counts those that have begun
            self._lanes.enter(hint.lane, lambda: self._begin(queue, hint))
        else:
            self._lanes.join(hint.lane, Job(queue, hint))

    def _begin(self, queue: JobQueue, hint: JobHint) -> None:
        if self._is_stopped:
            return  # whoever had the lane before was stopped, and leaves it
        queue.running += 1
        self._running_actions += hint.is_action
        self._spawn(self._run(queue, hint))

    def _begin_together(self, lane: str, together: list[Job]) -> None:
        if len(together) == 1:
            self._begin(*together[0])
        else:
            self._spawn(self._run_together(lane, together))

    async def _run(self, queue: JobQueue, hint: JobHint) -> None:
        prefer = None if hint.lane is None else _place_of(hint.lane)
        try:
            done = await self._runs.run_row(hint.id, prefer)
            if not hint.is_action and hint.lane is not None:
                self._lanes.leave(hint.lane)
            if done["kind"] == "action":
                outcome = await self._runs.run_action(hint.id, done)
                await self._finish_action(hint, outcome, prefer)
        finally:
            queue.running -= 1
            queue.forget(hint)
            if hint.is_action:
                self._running_actions -= 1
                if self._waiting_actions and not self._is_stopped:
                    self._begin(*self._waiting_actions.popleft())
            self.wake_soon()

    async def _run_together(self, lane: str, together: list[Job]) -> None:
        """Run jobs of a lane in one transaction; those that it does not take are the next ones of the lane."""
        for queue, _ in together:
            queue.running += 1
        taken = 0
        try:
            more = [hint.id for _, hint in together[1:]]
            done = await self._runs.run_row(together[0].hint.id, _place_of(lane), more)
            taken = done.get("taken", 1)
            self._lanes.put_back(lane, together[taken:])
        finally:
            for number, (queue, hint) in enumerate(together):
                queue.running -= 1
                if number < taken:
                    queue.forget(hint)
            self.wake_soon()
        self._lanes.leave(lane)

    async def _finish_action(self, hint: JobHint, outcome: dict[str, Any], prefer: int | None) -> None:
        """Record an action's outcome in the lane's turn; the action itself takes none."""
        if hint.lane is None:
            await self._runs.finish_action(hint.id, outcome, prefer)
            return
        turn = asyncio.get_running_loop().create_future()
        self._lanes.enter(hint.lane, lambda: None if turn.done() else turn.set_result(None))
        try:
            await turn
            await self._runs.finish_action(hint.id, outcome, prefer)
        finally:
            self._lanes.leave(hint.lane)

    # --- upkeep

    async def _forget_old_rows(self) -> None:
        while True:
            try:
                while await self._runner.run_system("forget", {}):
                    await asyncio.sleep(0)
            except ConvexpyError as error:
                self._report(f"Old scheduled functions could not be deleted now: {error}")
            await asyncio.sleep(FORGET_SECONDS)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _place_of(lane: str) -> int:
    """The number by which the pool picks the worker of a lane."""
    return zlib.crc32(lane.encode())
