"""Lanes: of all that names one, one at a time begins, in order; jobs that may share a transaction begin together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from convexpy.limits import JOBS_TOGETHER_MAX
from convexpy.runtime.job_queues import Job


class Lanes:
    """Who waits for which lane.

    Args:
        begin_together: begins jobs of a lane in one transaction. Whoever begins leaves the lane when it is done.
    """

    def __init__(self, begin_together: Callable[[str, list[Job]], None]) -> None:
        self._begin_together = begin_together
        # Who waits, present while one of the lane runs: jobs that may run together, all else as what begins it.
        self._waiting: dict[str, deque[Callable[[], None] | Job]] = {}
        self._to_begin: list[str] = []

    def enter(self, lane: str, begin: Callable[[], None]) -> None:
        """Call `begin` when nobody else is in the lane; `leave` is due afterwards."""
        waiting = self._waiting.get(lane)
        if waiting is not None:
            waiting.append(begin)
        else:
            self._waiting[lane] = deque()
            begin()

    def join(self, lane: str, job: Job) -> None:
        """Put in a job that may run together with others; in a free lane it begins with `begin_joined`."""
        waiting = self._waiting.get(lane)
        if waiting is not None:
            waiting.append(job)
        else:
            self._waiting[lane] = deque([job])
            self._to_begin.append(lane)

    def begin_joined(self) -> None:
        """Begin the lanes that were free: whoever was put in since the last call runs together with the first one."""
        lanes, self._to_begin = self._to_begin, []
        for lane in lanes:
            self.leave(lane)

    def put_back(self, lane: str, jobs: list[Job]) -> None:
        """Make jobs that have begun, but were not taken, the next ones of the lane."""
        self._waiting[lane].extendleft(reversed(jobs))

    def leave(self, lane: str) -> None:
        """Let the next one of a lane begin; jobs that wait one behind the other and may run together, together."""
        waiting = self._waiting[lane]
        if not waiting:
            del self._waiting[lane]
            return
        first = waiting.popleft()
        if not isinstance(first, Job):
            first()
            return
        together = [first]
        while waiting and isinstance(waiting[0], Job) and len(together) < JOBS_TOGETHER_MAX:
            together.append(waiting.popleft())  # type: ignore[arg-type]
        self._begin_together(lane, together)
