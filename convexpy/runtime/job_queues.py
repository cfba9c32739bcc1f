"""The scheduler's rows in memory: the earliest pending ones of each queue, and how many of a queue may run.

Of each queue only the earliest `SCHEDULER_ROWS_IN_MEMORY_MAX` rows are held; the rest is found through the due index.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sortedcontainers import SortedList

from convexpy.errors import ConvexpyError
from convexpy.limits import SCHEDULER_ROWS_IN_MEMORY_MAX
from convexpy.runtime.job_runs import RETRY_SECONDS, JobRunner
from convexpy.runtime.messages import JobHint

QUEUES_MAX = 10_000


class JobQueue:
    """The earliest pending rows of one queue, and how many of its functions run."""

    __slots__ = ("_again", "_arrivals", "_horizon_ns", "_known", "is_loading", "limit", "name", "rows", "running")

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: SortedList[tuple[int, int, JobHint]] = SortedList()  # by due time, then in order of arrival
        self.running = 0
        self.limit: int | None = None
        self.is_loading = False
        self._arrivals = itertools.count()
        self._known: set[str] = set()  # in `rows`, waiting for a lane, or running
        self._again: dict[str, JobHint] = {}  # rows that their own run has made pending once more
        self._horizon_ns: int | None = None  # rows due then or later may be in the index only; None: all are in memory

    @property
    def is_short(self) -> bool:
        """Whether to load more rows. Not while many wait for a lane: they would only be found again."""
        is_partial = self._horizon_ns is not None and not self.is_loading
        return is_partial and len(self._known) <= SCHEDULER_ROWS_IN_MEMORY_MAX // 2

    @property
    def has_room(self) -> bool:
        """Whether one more of its functions may run."""
        return self.limit is None or self.running < self.limit

    def take(self, hint: JobHint) -> None:
        """Hold a row that a commit has made pending; one that runs just now, once it has run."""
        if hint.id in self._known:
            self._again[hint.id] = hint
        else:
            self._add(hint)

    def take_loaded(self, rows: Sequence[Sequence[Any]]) -> None:
        """Hold the earliest rows of the index, as fields of `JobHint`; those that are held already are passed over."""
        self._horizon_ns = None
        for row in rows:
            self._add(JobHint(*row))
        if len(rows) == SCHEDULER_ROWS_IN_MEMORY_MAX:
            self._horizon_ns = rows[-1][1]

    def forget(self, hint: JobHint) -> None:
        """Let go of a row that has run; it may be pending once more."""
        self._known.discard(hint.id)
        if (again := self._again.pop(hint.id, None)) is not None:
            self._add(again)

    def _add(self, hint: JobHint) -> None:
        if hint.id in self._known or (self._horizon_ns is not None and hint.due_ns >= self._horizon_ns):
            return
        self._known.add(hint.id)
        self.rows.add((hint.due_ns, next(self._arrivals), hint))
        if len(self._known) > SCHEDULER_ROWS_IN_MEMORY_MAX:
            self._horizon_ns, _, latest = self.rows.pop(-1)
            self._known.discard(latest.id)


class Job(NamedTuple):
    """A row that is due, and the queue that counts it."""

    queue: JobQueue
    hint: JobHint


class JobQueues:
    """All queues by name, "" for the rows of none; read through system functions.

    Args:
        notify: called after rows or limits were read: something may be free to begin.
    """

    def __init__(self, runner: JobRunner, report: Callable[[str], None], notify: Callable[[], None]) -> None:
        self._runner = runner
        self._report = report
        self._notify = notify
        self._by_name: dict[str, JobQueue] = {}
        self._limit_changes = self._limit_changes_seen = 0
        self.all = self._by_name.values()

    def named(self, name: str) -> JobQueue:
        """Find a queue, or make it."""
        queue = self._by_name.get(name)
        if queue is None:
            queue = self._by_name[name] = JobQueue(name)
        return queue

    async def load_all(self) -> None:
        """Read the limits, and the earliest rows of every queue that has pending ones."""
        await self._load_limits()
        for name in await self._runner.run_system("pending_queues", {"limit": QUEUES_MAX}):
            await self._load(self.named(name))

    async def load_more(self, queue: JobQueue) -> None:
        """Read a queue that is short, from the start of the index."""
        await self._load(queue)
        self._notify()

    @property
    def are_limits_stale(self) -> bool:
        """Whether nothing of a named queue may begin: its limit may be another one than is known."""
        return self._limit_changes != self._limit_changes_seen

    def note_limit_change(self) -> bool:
        """Hold the limits for stale; True if `follow_limits` is due, False if it is under way."""
        is_first = not self.are_limits_stale
        self._limit_changes += 1
        return is_first

    async def follow_limits(self) -> None:
        """Read the limits until nobody has changed one meanwhile."""
        while self.are_limits_stale:
            changes = self._limit_changes
            try:
                await self._load_limits()
            except ConvexpyError as error:
                self._report(f"Limits of queues could not be read and are tried again: {error}")
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._limit_changes_seen = changes
        self._notify()

    async def _load_limits(self) -> None:
        limits = await self._runner.run_system("queue_limits", {})
        for name in limits:
            self.named(name)
        for name, queue in self._by_name.items():
            queue.limit = limits.get(name)
        self._notify()

    async def _load(self, queue: JobQueue) -> None:
        queue.is_loading = True
        try:
            payload = {"queue": queue.name, "limit": SCHEDULER_ROWS_IN_MEMORY_MAX}
            rows = await self._runner.run_system("due_rows", payload)
        finally:
            queue.is_loading = False
        queue.take_loaded(rows)
