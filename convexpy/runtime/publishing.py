"""The order in which the outside learns of commits: mark stale, move `published_ts`, only then answer.

All three happen in one step of the server's loop, in commit order. `published_ts` is the only "now" that cache, sync
and HTTP know: another process may see an LMDB commit before its writer's call has returned, so a worker's result can be
newer and then waits.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from convexpy.environment import Environment
from convexpy.limits import WRITE_LOG_KEYS_MAX, WRITE_LOG_SECONDS_MAX
from convexpy.transactions.commit_messages import Committed, Reads
from convexpy.transactions.write_log import WriteLog


class Publisher:
    """`published_ts`, the recent commits, and who waits for a timestamp.

    Args:
        published_ts: the last commit that was durable when the server started.
    """

    def __init__(self, published_ts: int, environment: Environment) -> None:
        self.published_ts = published_ts
        self._environment = environment
        self._write_log = WriteLog(published_ts, WRITE_LOG_KEYS_MAX)
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._subscribers: list[Callable[[list[Committed]], None]] = []

    def add_subscriber(self, take_commits: Callable[[list[Committed]], None]) -> None:
        """Call `take_commits` with every batch, before `published_ts` moves."""
        self._subscribers.append(take_commits)

    def publish(self, commits: list[Committed]) -> None:
        """Make a batch known. The caller answers the writers after this returns, in the same step."""
        if not commits:
            return
        for commit in commits:
            self._write_log.append(commit.ts, commit.keys, "")
        for take_commits in self._subscribers:
            take_commits(commits)
        assert commits[-1].ts > self.published_ts, "commits are published in order"
        self.published_ts = commits[-1].ts
        self._write_log.forget_before(self._environment.now_ns() - WRITE_LOG_SECONDS_MAX * 10**9)
        while self._waiting and self._waiting[0][0] <= self.published_ts:
            heapq.heappop(self._waiting)[2]()

    def when_published(self, ts: int, then: Callable[[], None]) -> None:
        """Call `then` once `ts` is published; at once if it is."""
        if ts <= self.published_ts:
            then()
        else:
            heapq.heappush(self._waiting, (ts, next(self._order), then))

    async def wait_for(self, ts: int) -> None:
        """Return once `ts` is published."""
        if ts > self.published_ts:
            future = asyncio.get_running_loop().create_future()
            self.when_published(ts, lambda: None if future.done() else future.set_result(None))
            await future

    def first_change_after(self, ts: int, reads: Reads) -> int | None:
        """The first published commit after `ts` that touches `reads`; None where they still hold."""
        if ts < self._write_log.floor_ts:
            return ts + 1  # the log is too short to tell, so it counts as changed
        return self._write_log.earliest_overlap_ts(reads, ts)
