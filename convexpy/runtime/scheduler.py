"""Runs scheduled functions when they are due: from committed rows, each through `job_batches.run_job`.

New rows come as hints with the commit that wrote them; the rest is found through the due index. Of each queue only the
earliest `SCHEDULER_ROWS_IN_MEMORY_MAX` rows are held; a million pending rows cost nothing at rest.

What runs when is only a matter of speed and fairness here. That a function runs once is settled by its row, in the
transaction that runs it; so a hint may come twice, late, or not at all, and a crash loses nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import zlib
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol

from sortedcontainers import SortedList

from convexpy.environment import Environment
from convexpy.errors import ConvexpyError
from convexpy.limits import (
    JOBS_TOGETHER_MAX,
    SCHEDULED_ACTIONS_IN_FLIGHT_MAX,
    SCHEDULED_RUNS_IN_FLIGHT_MAX,
    SCHEDULER_ROWS_IN_MEMORY_MAX,
)
from convexpy.runtime.interface import FunctionRequest, Outcome
from convexpy.runtime.log_capture import lines_for_outcome
from convexpy.runtime.messages import JobHint
from convexpy.transactions.commit_messages import Committed
from convexpy.transactions.system_tables import QUEUES

TIMER_SECONDS_MAX = 60.0  # the wall clock may step; it is asked again after so long
RETRY_SECONDS = 1.0  # after a run that failed for the server's own reasons; doubled each time
RETRY_SECONDS_MAX = 60.0
FORGET_SECONDS = 3600.0
QUEUES_MAX = 10_000
LOST_ACTION = {"kind": "failed", "error": "Transient error while executing action"}


class JobRunner(Protocol):
    """The backend, as the scheduler needs it."""

    async def run_job(self, job_id: str, prefer: int | None, more_jobs: Sequence[str] = ()) -> dict[str, Any]: ...

    async def run_system(
        self, name: str, payload: dict[str, Any], *, prefer: int | None = None, job_id: str | None = None
    ) -> Any: ...

    async def action(self, request: FunctionRequest, job_id: str | None = None) -> Outcome: ...


class _Queue:
    """The earliest pending rows of one queue, and how many of its functions run."""

    __slots__ = ("again", "horizon_ns", "is_loading", "known", "limit", "name", "rows", "running")

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: SortedList[tuple[int, int, JobHint]] = SortedList()  # by due time, then in order of arrival
        self.known: set[str] = set()  # in `rows`, waiting for a lane, or running
        self.again: dict[str, JobHint] = {}  # rows that their own run has made pending once more
        self.running = 0
        self.limit: int | None = None
        self.horizon_ns: int | None = None  # rows due then or later may be in the index only; None: all are in memory
        self.is_loading = False

    @property
    def is_short(self) -> bool:
        """Whether to load more rows. Not while many wait for a lane: they would only be found again."""
        is_partial = self.horizon_ns is not None and not self.is_loading
        return is_partial and len(self.known) <= SCHEDULER_ROWS_IN_MEMORY_MAX // 2

    @property
    def has_room(self) -> bool:
        return self.limit is None or self.running < self.limit


class _Job(NamedTuple):
    """A row that waits in its lane."""

    queue: _Queue
    hint: JobHint


class JobScheduler:
    """The one scheduler of a deployment. Implements `backend.JobSink`.

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
        self._arrivals = itertools.count()
        self._queues: dict[str, _Queue] = {}
        # Who waits, present while one of the lane runs: jobs that may run together, all else as what begins it.
        self._lanes: dict[str, deque[Callable[[], None] | _Job]] = {}
        self._lanes_to_begin: list[str] = []
        self._limit_changes = self._limit_changes_seen = 0
        self._running = 0  # transactions, not actions
        self._running_actions = 0
        self._waiting_actions: deque[tuple[_Queue, JobHint]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_wake_due = False
        self._is_stopped = False
        self._is_started = False

    async def start(self) -> None:
        """Settle what the last server left behind, and load what is due next."""
        while lost := await self._runner.run_system("running_actions", {"limit": 100}):
            for job_id in lost:
                await self._runner.run_system("finish_action", {"job_id": job_id, "outcome": LOST_ACTION})
        await self._load_limits()
        for name in await self._runner.run_system("pending_queues", {"limit": QUEUES_MAX}):
            await self._load(self._queue(name), None)
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
        """See `backend.JobSink`. A canceled row is found to be so when it is due."""
        for hint in jobs:
            queue = self._queue(hint.queue)
            if hint.id in queue.known:
                queue.again[hint.id] = hint
            else:
                self._add(queue, hint)
        if jobs:
            self.wake_soon()

    def take_commits(self, commits: list[Committed]) -> None:
        """Notice changes of queue limits."""
        if any(key.startswith(QUEUES.prefix) for commit in commits for key in commit.keys):
            is_idle = not self._are_limits_stale
            self._limit_changes += 1
            if is_idle:
                self._spawn(self._follow_limits())

    # --- rows in memory

    def _queue(self, name: str) -> _Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue(name)
        return queue

    def _add(self, queue: _Queue, hint: JobHint) -> None:
        if hint.id in queue.known or (queue.horizon_ns is not None and hint.due_ns >= queue.horizon_ns):
            return
        queue.known.add(hint.id)
        queue.rows.add((hint.due_ns, next(self._arrivals), hint))
        if len(queue.known) > SCHEDULER_ROWS_IN_MEMORY_MAX:
            queue.horizon_ns, _, latest = queue.rows.pop(-1)
            queue.known.discard(latest.id)

    async def _load(self, queue: _Queue, after_ms: float | None) -> None:
        """Read the next rows of a queue from the index."""
        queue.is_loading = True
        try:
            payload = {"queue": queue.name, "after_ms": after_ms, "limit": SCHEDULER_ROWS_IN_MEMORY_MAX}
            rows = await self._runner.run_system("due_rows", payload)
        finally:
            queue.is_loading = False
        queue.horizon_ns = None
        for row in rows:
            self._add(queue, JobHint(*row))
        if len(rows) == SCHEDULER_ROWS_IN_MEMORY_MAX:
            queue.horizon_ns = rows[-1][1]

    @property
    def _are_limits_stale(self) -> bool:
        """Whether nothing of a named queue may begin: its limit may be another one than is known."""
        return self._limit_changes != self._limit_changes_seen

    async def _follow_limits(self) -> None:
        """Load the limits until nobody has changed one meanwhile."""
        while self._are_limits_stale:
            changes = self._limit_changes
            try:
                await self._load_limits()
            except ConvexpyError as error:
                self._report(f"Limits of queues could not be read and are tried again: {error}")
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._limit_changes_seen = changes
        self.wake_soon()

    async def _load_limits(self) -> None:
        limits = await self._runner.run_system("queue_limits", {})
        for name in limits:
            self._queue(name)
        for name, queue in self._queues.items():
            queue.limit = limits.get(name)
        self.wake_soon()

    async def _load_more(self, queue: _Queue) -> None:
        # From the start of the index: rows that are held already are known, and are passed over.
        await self._load(queue, None)
        self.wake_soon()

    # --- starting

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
        for queue in self._queues.values():
            if queue.name and self._are_limits_stale:
                continue  # they are awaited, and then it looks again
            while queue.rows and queue.has_room and self._running < SCHEDULED_RUNS_IN_FLIGHT_MAX:
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
                self._spawn(self._load_more(queue))
        # Only now: whoever became due together with the first one of a lane runs together with it.
        lanes, self._lanes_to_begin = self._lanes_to_begin, []
        for lane in lanes:
            self._leave_lane(lane)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if next_due_ns is not None and self._running < SCHEDULED_RUNS_IN_FLIGHT_MAX:
            delay = min(max(0.0, (next_due_ns - now_ns) / 1e9), self._timer_seconds_max)
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake)

    def _start(self, queue: _Queue, hint: JobHint) -> None:
        if hint.is_action and self._running_actions >= SCHEDULED_ACTIONS_IN_FLIGHT_MAX:
            self._waiting_actions.append((queue, hint))
        elif hint.is_action or hint.lane is None:
            self._begin(queue, hint)
        elif not hint.completes_together or queue.limit is not None:  # a limit counts those that have begun
            self._enter_lane(hint.lane, lambda: self._begin(queue, hint))
        elif (waiting := self._lanes.get(hint.lane)) is not None:
            waiting.append(_Job(queue, hint))
        else:
            self._lanes[hint.lane] = deque([_Job(queue, hint)])
            self._lanes_to_begin.append(hint.lane)

    def _begin(self, queue: _Queue, hint: JobHint) -> None:
        if self._is_stopped:
            return  # whoever had the lane before was stopped, and leaves it
        queue.running += 1
        self._running_actions += hint.is_action
        self._spawn(self._run(queue, hint))

    def _enter_lane(self, lane: str, begin: Callable[[], None]) -> None:
        """Call `begin` when nobody else is in the lane; `_leave_lane` is due afterwards."""
        waiting = self._lanes.get(lane)
        if waiting is not None:
            waiting.append(begin)
        else:
            self._lanes[lane] = deque()
            begin()

    def _leave_lane(self, lane: str) -> None:
        """Let the next one of a lane begin; jobs that wait one behind the other and may run together, together."""
        waiting = self._lanes[lane]
        if not waiting:
            del self._lanes[lane]
            return
        first = waiting.popleft()
        if not isinstance(first, _Job):
            first()
            return
        together = [first]
        while waiting and isinstance(waiting[0], _Job) and len(together) < JOBS_TOGETHER_MAX:
            together.append(waiting.popleft())  # type: ignore[arg-type]
        if len(together) == 1:
            self._begin(*first)
        else:
            self._spawn(self._run_together(lane, together))

    async def _run_together(self, lane: str, together: list[_Job]) -> None:
        """Run jobs of a lane in one transaction; those that it does not take are the next ones of the lane."""
        for queue, _ in together:
            queue.running += 1
        taken = 0
        try:
            more = [hint.id for _, hint in together[1:]]
            done = await self._run_row(together[0].hint, zlib.crc32(lane.encode()), more)
            taken = done.get("taken", 1)
            self._lanes[lane].extendleft(reversed(together[taken:]))
        finally:
            for number, (queue, hint) in enumerate(together):
                queue.running -= 1
                if number < taken:
                    self._forget(queue, hint)
            self.wake_soon()
        self._leave_lane(lane)

    async def _run(self, queue: _Queue, hint: JobHint) -> None:
        prefer = None if hint.lane is None else zlib.crc32(hint.lane.encode())
        try:
            done = await self._run_row(hint, prefer)
            if not hint.is_action and hint.lane is not None:
                self._leave_lane(hint.lane)
            if done["kind"] == "action":
                await self._run_action(hint, done, prefer)
        finally:
            queue.running -= 1
            self._forget(queue, hint)
            if hint.is_action:
                self._running_actions -= 1
                if self._waiting_actions and not self._is_stopped:
                    self._begin(*self._waiting_actions.popleft())
            self.wake_soon()

    def _forget(self, queue: _Queue, hint: JobHint) -> None:
        """A row has been run; it may be pending once more."""
        queue.known.discard(hint.id)
        if (again := queue.again.pop(hint.id, None)) is not None:
            self._add(queue, again)

    async def _run_row(self, hint: JobHint, prefer: int | None, more_jobs: Sequence[str] = ()) -> dict[str, Any]:
        """The row's transaction; repeated while the server itself cannot run it."""
        self._running += 1
        delay_seconds = RETRY_SECONDS
        try:
            while True:
                try:
                    return await self._runner.run_job(hint.id, prefer, more_jobs)
                except ConvexpyError as error:
                    self._report(f"A scheduled function could not be run and is tried again: {error}")
                    await asyncio.sleep(delay_seconds)
                    # An `on_complete` that ends its process costs workers each time.
                    delay_seconds = min(2 * delay_seconds, RETRY_SECONDS_MAX)
        finally:
            self._running -= 1

    async def _run_action(self, hint: JobHint, start: dict[str, Any], prefer: int | None) -> None:
        """Run an action whose row says that it has begun, then record its outcome in the lane's turn."""
        request = FunctionRequest(
            component=start["component"],
            path=start["path"],
            args=start["args"],
            is_admin=True,
            is_nested=True,
            caller="Scheduler",
        )
        outcome: dict[str, Any]
        try:
            result = await self._runner.action(request, hint.id)
        except ConvexpyError as error:
            outcome = {"kind": "failed", "error": str(error)}
        else:
            outcome = _action_outcome(result)
        if hint.lane is None:
            await self._finish_action(hint.id, outcome, prefer)
            return
        turn = asyncio.get_running_loop().create_future()
        self._enter_lane(hint.lane, lambda: None if turn.done() else turn.set_result(None))
        try:
            await turn
            await self._finish_action(hint.id, outcome, prefer)
        finally:
            self._leave_lane(hint.lane)

    async def _finish_action(self, job_id: str, outcome: dict[str, Any], prefer: int | None) -> None:
        while True:
            try:
                await self._runner.run_system("finish_action", {"job_id": job_id, "outcome": outcome}, prefer=prefer)
                return
            except ConvexpyError as error:
                self._report(f"The outcome of a scheduled action could not be stored and is tried again: {error}")
                await asyncio.sleep(RETRY_SECONDS)

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


def _action_outcome(result: Outcome) -> dict[str, Any]:
    """An action's outcome as `finish_action` takes it; the text without the frame for clients."""
    outcome: dict[str, Any]
    if result.ok:
        outcome = {"kind": "success", "value": result.value}
    else:
        text = result.error.partition("\n")[2].rstrip("\n") or result.error
        outcome = {"kind": "failed", "error": text}
        if result.error_data is not None:
            outcome["data"] = result.error_data
    if result.log_lines:
        outcome["log_lines"] = lines_for_outcome(result.log_lines)
    return outcome
