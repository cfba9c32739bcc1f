"""The jobs that no function worker has yet, and which of them a worker gets next.

A job may prefer a worker, which has what it needs at hand; another one takes it only when it has waited long enough.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable

from convexpy.limits import FRAME_SECONDS_TARGET, PREFERRED_WORKER_PATIENCE_SECONDS, WORKER_FRAME_CALLS_MAX
from convexpy.processes.jobs import Job


class WaitingJobs:
    """Jobs for any worker, and for each worker those that prefer it; every job is in one place."""

    def __init__(self, workers: int) -> None:
        self._for_any: deque[Job] = deque()
        self._preferred: list[deque[Job]] = [deque() for _ in range(workers)]

    def __len__(self) -> int:
        return len(self._for_any) + sum(map(len, self._preferred))

    @property
    def has_preferring(self) -> bool:
        """Whether a job waits for the worker that it prefers."""
        return any(self._preferred)

    def put(self, job: Job, is_urgent: bool) -> None:
        """Add a job for any worker; `is_urgent`: before all others."""
        if is_urgent:
            self._for_any.appendleft(job)
        else:
            self._for_any.append(job)

    def put_preferring(self, job: Job, worker: int) -> None:
        """Add a job that prefers a worker."""
        self._preferred[worker].append(job)

    def put_back(self, jobs: Iterable[Job]) -> None:
        """Add jobs that a worker had, before all others, in their order."""
        self._for_any.extendleft(reversed(list(jobs)))

    def share(self, worker: int) -> None:
        """Let any worker have what prefers this one, which is gone."""
        self._for_any.extend(self._preferred[worker])
        self._preferred[worker].clear()

    def take_all(self) -> list[Job]:
        """Take everything out."""
        jobs = [*self._for_any, *(job for queue in self._preferred for job in queue)]
        self._for_any.clear()
        for queue in self._preferred:
            queue.clear()
        return jobs

    def take_frame(self, worker: int, call_seconds: float) -> list[Job]:
        """Take out what an idle worker gets at once: single calls, or one job of several that go together.

        Args:
            call_seconds: what a call takes on average.
        """
        own = self._preferred[worker]
        source = own if own else self._for_any
        jobs: list[Job] = []
        calls_max = self._frame_calls_max(len(own) + len(self._for_any), call_seconds)
        while len(jobs) < calls_max:
            if not source:
                if source is self._for_any:
                    break
                source = self._for_any
            elif source[0].is_canceled:
                source.popleft()
            elif not source[0].is_together:
                jobs.append(source.popleft())
            else:
                if not jobs:
                    jobs.append(source.popleft())
                break
        if not jobs and (job := self._take_impatient()) is not None:
            jobs.append(job)
        return jobs

    def _frame_calls_max(self, waiting: int, call_seconds: float) -> int:
        """Few enough that every worker gets its share and no call waits long for those before it in its frame."""
        share = -(-waiting // len(self._preferred))
        return max(1, min(WORKER_FRAME_CALLS_MAX, share, int(FRAME_SECONDS_TARGET / call_seconds)))

    def _take_impatient(self) -> Job | None:
        """A job that has waited long enough for the worker it prefers."""
        long_ago = time.monotonic() - PREFERRED_WORKER_PATIENCE_SECONDS
        for queue in self._preferred:
            while queue and queue[0].is_canceled:
                queue.popleft()
            if queue and queue[0].waiting_since <= long_ago:
                return queue.popleft()
        return None
