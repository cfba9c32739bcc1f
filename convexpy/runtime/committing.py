"""Runs a call and commits what it wrote, again and again until it is through.

No user sees a conflict because of load: attempts 1 and 2 run beside others, attempt 3 has an exclusive turn with the
committer, in which nobody else commits.

Nearly every call gets through at its first attempt, and a task that waits for its worker and then for the committer
would cost more than all else that the server does for it. So those two call back, and only an exclusive turn is a task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from convexpy.limits import MUTATION_ATTEMPTS_MAX
from convexpy.runtime.messages import Call, Reply
from convexpy.runtime.parts import CommitOutcome, Commits, Functions
from convexpy.runtime.publishing import Publisher
from convexpy.transactions.commit_messages import Committed, Conflicted

GENERATION_RETRIES_MAX = 20  # attempts that a push made void do not count as lost races
T = TypeVar("T")


class CommitPath(Protocol):
    """What a run needs of the backend."""

    @property
    def functions(self) -> Functions: ...

    @property
    def commits(self) -> Commits: ...

    @property
    def publisher(self) -> Publisher: ...

    def committed(self, reply: Reply) -> None:
        """What a call wrote is there: whoever is to act on it is to be told."""

    def lost_race(self) -> None:
        """An attempt was in vain."""

    def conflict(self, call: Call, lost: Conflicted, snapshot_ts: int) -> Coroutine[Any, Any, Exception]:
        """The error of a call that has lost its last attempt."""


class CommittingRun(asyncio.Future[T]):
    """One call on its way: a future of what `finish` makes of the reply and of the timestamp at which its effect is
    there.

    Cancelling it takes the call out where it waits for a worker. What a worker has goes on and may be committed.

    Args:
        make_call: gives the call of an attempt; another attempt is another call.
    """

    def __init__(
        self,
        path: CommitPath,
        make_call: Callable[[], Call],
        finish: Callable[[Reply, int], T],
        *,
        prefer: int | None = None,
        is_staged: bool = False,
    ) -> None:
        super().__init__()
        self._path = path
        self._make_call = make_call
        self._finish = finish
        self._prefer = prefer
        self._is_staged = is_staged
        self._attempt = 1
        self._void_attempts = 0
        self._call: Call
        self._reply: Reply
        self._waits_for: asyncio.Future[Any] | None = None
        self._begin()

    def cancel(self, msg: Any = None) -> bool:
        """See `asyncio.Future`."""
        if self._waits_for is not None:
            self._waits_for.cancel()
        return super().cancel(msg)

    def _begin(self) -> None:
        """The next attempt."""
        if self.done():
            return
        if self._attempt == MUTATION_ATTEMPTS_MAX:
            self._wait_for(self._take_turn())
            return
        try:
            self._call = self._make_call()
            running = self._path.functions.submit(self._call, prefer=self._prefer, is_staged=self._is_staged)
        except Exception as error:
            self.set_exception(error)
        else:
            self._waits_for = running
            running.add_done_callback(self._take_reply)

    def _take_reply(self, running: asyncio.Future[Reply]) -> None:
        self._waits_for = None
        try:
            reply = self._reply = running.result()
            if reply.is_ok and reply.has_commit:
                self._path.commits.submit(reply.commit).add_done_callback(self._take_outcome)
            else:
                self._end_without_commit()
        except asyncio.CancelledError:
            super().cancel()
        except Exception as error:
            self._fail(error)

    def _take_outcome(self, committing: asyncio.Future[CommitOutcome]) -> None:
        try:
            self._settle(committing.result())
        except asyncio.CancelledError:
            super().cancel()
        except Exception as error:
            self._fail(error)

    async def _take_turn(self) -> None:
        outcome: CommitOutcome | None = None
        async with self._path.commits.exclusive() as turn:
            self._call = self._make_call()
            self._reply = reply = await self._path.functions.submit(
                self._call, prefer=self._prefer, is_urgent=True, is_staged=self._is_staged
            )
            if reply.is_ok and reply.has_commit:
                outcome = await turn.submit(reply.commit)
        if outcome is None:
            self._end_without_commit()
        else:
            self._settle(outcome)

    def _end_without_commit(self) -> None:
        """There is nothing to commit: it has failed, or has only read, and what it has read is to be published."""
        publisher, reply = self._path.publisher, self._reply
        if reply.is_ok:
            publisher.when_published(reply.snapshot_ts, lambda: self._end(reply.recorded_ts or reply.snapshot_ts))
        else:
            self._end(publisher.published_ts)

    def _settle(self, outcome: CommitOutcome) -> None:
        reply = self._reply
        if isinstance(outcome, Committed):
            self._path.committed(reply)  # even if nobody waits any more
            self._end(outcome.ts)
        elif isinstance(outcome, Conflicted):
            self._go_on_after(outcome)
        else:
            reply.is_ok, reply.error, reply.error_data, reply.jobs = False, outcome.text, None, []
            reply.is_system_error = not outcome.is_beyond_bound
            reply.loss = "beyond bound" if outcome.is_beyond_bound else ""
            self._end(self._path.publisher.published_ts)

    def _go_on_after(self, lost: Conflicted) -> None:
        self._path.lost_race()
        if lost.ts == 0 and self._void_attempts < GENERATION_RETRIES_MAX:
            self._void_attempts += 1
        elif self._attempt == MUTATION_ATTEMPTS_MAX:
            self._wait_for(self._raise_conflict(lost))
            return
        else:
            self._attempt += 1
        self._path.publisher.when_published(lost.ts, self._begin)

    async def _raise_conflict(self, lost: Conflicted) -> None:
        raise await self._path.conflict(self._call, lost, self._reply.snapshot_ts)

    def _end(self, ts: int) -> None:
        if self.done():
            return
        try:
            result = self._finish(self._reply, ts)
        except Exception as error:
            self.set_exception(error)
        else:
            self.set_result(result)

    def _wait_for(self, rest: Coroutine[Any, Any, None]) -> None:
        """Have a task do the rest."""
        task = self.get_loop().create_task(rest)
        self._waits_for = task
        task.add_done_callback(self._take_end)

    def _take_end(self, task: asyncio.Future[None]) -> None:
        if self._waits_for is task:
            self._waits_for = None
        if task.cancelled():
            super().cancel()
        elif (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self.done():
            self.set_exception(error)
