"""What a function pool hands to a worker as a whole: one call, or several that share a snapshot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import cast

from convexpy.runtime.messages import Call, Loss, Reply


class Job:
    """Calls that travel together, and the future of who waits for them; it always gets replies, never an exception.

    Attributes:
        calls: not yet answered, in order, by id.
        is_together: they must be answered from one snapshot, so after a worker's death all of them run again.
        deaths: workers that died inside one of its calls.
        runs: workers that got it and did not finish it.
    """

    __slots__ = (
        "_all",
        "_failed",
        "_future",
        "_replies",
        "calls",
        "deaths",
        "is_staged",
        "is_together",
        "limit_seconds",
        "prefer",
        "runs",
        "waiting_since",
    )

    def __init__(
        self,
        calls: Sequence[Call],
        future: asyncio.Future[Reply] | asyncio.Future[list[Reply]],
        *,
        is_together: bool,
        limit_seconds: float,
        prefer: int | None = None,
        is_staged: bool = False,
    ) -> None:
        self.calls = {call.id: call for call in calls}
        self.is_together = is_together
        self.limit_seconds = limit_seconds
        self.prefer = prefer
        self.is_staged = is_staged
        self.deaths = 0
        self.runs = 0
        self.waiting_since = time.monotonic()
        self._all = list(calls)
        self._replies: dict[int, Reply] = {}
        self._failed: dict[int, Reply] = {}
        self._future = future

    @property
    def is_canceled(self) -> bool:
        """Nobody waits for it any more."""
        return self._future.cancelled()

    def answer(self, reply: Reply) -> None:
        """A worker's reply."""
        del self.calls[reply.id]
        self._replies[reply.id] = reply
        self._finish_if_whole()

    def fail(self, call_id: int, error: str, loss: Loss) -> None:
        """The pool's own reply to one call, for good."""
        del self.calls[call_id]
        is_system_error = loss != "killed"
        self._failed[call_id] = Reply(id=call_id, is_ok=False, error=error, is_system_error=is_system_error, loss=loss)
        self._finish_if_whole()

    def fail_all(self, error: str, loss: Loss) -> None:
        """The pool's own reply to all that is not answered."""
        for call_id in list(self.calls):
            self.fail(call_id, error, loss)

    def restart(self) -> None:
        """Forget what was answered from a snapshot that is gone, before it is given to another worker."""
        if self.is_together:
            self.calls = {call.id: call for call in self._all if call.id not in self._failed}
            self._replies.clear()
        self.waiting_since = time.monotonic()

    def _finish_if_whole(self) -> None:
        if self.calls or self._future.done():
            return
        replies = self._replies | self._failed
        if self.is_together:
            cast("asyncio.Future[list[Reply]]", self._future).set_result([replies[call.id] for call in self._all])
        else:
            cast("asyncio.Future[Reply]", self._future).set_result(replies[self._all[0].id])
