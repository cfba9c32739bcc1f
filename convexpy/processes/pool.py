"""The function pool: calls in, futures of replies out; what generation and which worker runs them is settled here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from convexpy.limits import (
    SOFT_TO_HARD_SECONDS,
    SYSTEM_CALL_SECONDS_MAX,
    WORKER_QUEUE_CALLS_MAX,
    FunctionLimits,
)
from convexpy.processes.function_group import FunctionGroup
from convexpy.processes.jobs import Job
from convexpy.processes.template_process import TemplateProcess
from convexpy.processes.worker_pool import WorkerPool
from convexpy.runtime.messages import Call, Reply


def default_worker_count() -> int:
    """As many as this machine has processors for us, at least 2 (one long call must not stop all others), at most 4."""
    return max(2, min(4, len(os.sched_getaffinity(0))))


class FunctionPool(WorkerPool[FunctionGroup]):
    """Workers for queries, mutations, jobs and system calls.

    Every future gets a Reply: what goes wrong with a worker is a reply whose `loss` says how. Ids of calls must be
    unique while they wait. Cancelling a future takes a waiting call out; one that runs is not stopped.

    Args:
        limits: the deployment's; `timeout_seconds` and `hard_after_seconds` (wall clock) make the hard limit.
        workers: processes a generation.
        report: takes a sentence for the server's log.
    """

    def __init__(
        self,
        limits: FunctionLimits,
        report: Callable[[str], None],
        *,
        workers: int | None = None,
        hard_after_seconds: float = SOFT_TO_HARD_SECONDS,
    ) -> None:
        super().__init__(report)
        self.worker_count = workers or default_worker_count()
        self._limits = limits
        self._hard_after_seconds = hard_after_seconds

    # -- calls

    def submit(
        self,
        call: Call,
        *,
        prefer: int | None = None,
        is_urgent: bool = False,
        is_staged: bool = False,
        limit_seconds: float | None = None,
    ) -> asyncio.Future[Reply]:
        """Run one call.

        Args:
            prefer: a number that stands for a worker slot; another takes the call when that one stays busy.
            is_urgent: before all that waits (a mutation's exclusive attempt).
            is_staged: on the generation that `stage` prepared, before the switch.
            limit_seconds: wall clock instead of the function's limit plus `hard_after_seconds`.
        """
        future: asyncio.Future[Reply] = self._loop.create_future()
        job = Job(
            [call],
            future,
            is_together=False,
            limit_seconds=self._hard_seconds(call) if limit_seconds is None else limit_seconds,
            prefer=prefer,
            is_staged=is_staged,
        )
        self._put(job, is_urgent)
        return future

    def submit_together(
        self, calls: Sequence[Call], *, prefer: int | None = None, is_staged: bool = False
    ) -> asyncio.Future[list[Reply]]:
        """Run queries from one snapshot on one worker; replies in the order of the calls."""
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        if not calls:
            future.set_result([])
            return future
        limit_seconds = max(map(self._hard_seconds, calls))
        job = Job(calls, future, is_together=True, limit_seconds=limit_seconds, prefer=prefer, is_staged=is_staged)
        self._put(job, False)
        return future

    def _hard_seconds(self, call: Call) -> float:
        own = SYSTEM_CALL_SECONDS_MAX if call.kind == "system" else self._limits.timeout_seconds
        return own + self._hard_after_seconds

    def _put(self, job: Job, is_urgent: bool) -> None:
        group = self._generations.staged if job.is_staged else self._generations.current
        if group is None:
            job.fail_all("No code is deployed." if not self._is_closed else "The server is stopping.", "died")
        elif group.waiting_count >= WORKER_QUEUE_CALLS_MAX:
            text = f"Too many concurrent requests: {WORKER_QUEUE_CALLS_MAX} calls are waiting. Try again later."
            job.fail_all(text, "overloaded")
        else:
            group.put(job, is_urgent)

    def _new_group(self, template: TemplateProcess) -> FunctionGroup:
        return FunctionGroup(template, self.worker_count, self._limits.timeout_seconds, self)

    # -- what groups say

    def requeue(self, jobs: list[Job]) -> None:
        """Called by groups: run these on the current generation."""
        group = self._generations.current
        mine = [job for job in jobs if group is not None and not job.is_staged]
        for job in jobs:
            if group is None or job.is_staged:
                job.fail_all("The server is stopping." if self._is_closed else "The push was dropped.", "died")
        if group is not None and mine:
            group.put_back(mine)

    # -- for the health page and tests

    @property
    def waiting_count(self) -> int:
        """Calls of the current generation that no worker has yet."""
        return self._generations.current.waiting_count if self._generations.current is not None else 0

    @property
    def fork_seconds(self) -> list[float]:
        """What starting each of them took in the template."""
        return self._generations.current.fork_seconds if self._generations.current is not None else []
