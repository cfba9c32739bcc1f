"""The server's side of the committer: commits in, futures of outcomes out, and whose turn it is.

Order of every batch's answer: `on_batch` first, for the whole batch and in commit order, then the futures. So nobody
hears of a commit before it is published (DESIGN 6).

An exclusive turn is a time in which the holder's commits are the only ones: it is granted when nothing is with the
committer, and until it ends everybody else's commits wait here. The committer knows nothing of it. Turns alternate with
one ordinary batch, so neither can starve the other.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec import Raw

from convexpy.errors import WorkerLost
from convexpy.limits import BATCH_REQUESTS_MAX, FRAME_BYTES_MAX
from convexpy.processes.frames import FrameConnection
from convexpy.processes.messages import Ready, StartFailed
from convexpy.transactions.commit_messages import BatchOutcome, Committed, Conflicted, Refused

_BATCH_BYTES_MAX = FRAME_BYTES_MAX // 2
Outcome = Committed | Conflicted | Refused
_outcomes = msgspec.msgpack.Decoder(BatchOutcome)
_first_frame = msgspec.msgpack.Decoder(Ready | StartFailed)


class ExclusiveTurn:
    """Held by one caller of `CommitQueue.exclusive` at a time."""

    def __init__(self, queue: CommitQueue) -> None:
        self._queue = queue

    def submit(self, commit: Raw) -> asyncio.Future[Outcome]:
        """Commit; nothing can have been committed since the turn began, except by this turn."""
        return self._queue.submit_in_turn(commit)


class CommitQueue:
    """One a server.

    Args:
        on_batch: gets a batch's outcomes in commit order, before any of their futures. If it raises, the connection is
            closed and `on_lost` follows: a batch that is half published cannot be mended.
        on_lost: called once when the committer is gone without `close()`; the server has to exit. Waiting futures get
            WorkerLost: whether those commits happened is unknown here.
    """

    def __init__(self, on_batch: Callable[[list[Outcome]], None], on_lost: Callable[[], None]) -> None:
        self._on_batch = on_batch
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)
        self._waiting: deque[tuple[int, Raw]] = deque()
        self._futures: dict[int, asyncio.Future[Outcome]] = {}
        self._in_flight = 0
        self._turn_waiters: deque[asyncio.Future[None]] = deque()
        self._is_turn_held = False
        self._is_batch_owed = False  # a turn has just ended and ordinary commits waited meanwhile
        self._is_pump_due = False
        self._is_closing = False
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._connection: FrameConnection

    async def start(self, sock: socket.socket) -> None:
        """Take over the server's end of the committer's socket; returns when the committer has opened the database.

        Raises:
            WorkerLost: it could not; the text says why.
        """
        self._connection = await FrameConnection.open(sock, self._take, self._closed, self._pump)
        await asyncio.shield(self._started)

    def submit(self, commit: Raw) -> asyncio.Future[Outcome]:
        """Commit when nobody holds an exclusive turn. All that is submitted in one loop step goes out together."""
        request_id, future = self._register()
        if memoryview(commit).nbytes > _BATCH_BYTES_MAX:
            if self._futures.pop(request_id, None) is None:
                return future
            text = (
                f"The transaction has more than {_BATCH_BYTES_MAX} bytes, document versions and index entries together."
            )
            future.set_result(Refused(request_id, text))
            return future
        self._waiting.append((request_id, commit))
        if not self._is_pump_due:
            self._is_pump_due = True
            self._loop.call_soon(self._pump)
        return future

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[ExclusiveTurn]:
        """Wait for a turn and hold it inside `async with`: read, run and commit in it, and nothing comes between.

        Raises:
            WorkerLost: the committer is gone.
        """
        if not self._connection.is_open:
            raise WorkerLost("The committer is gone.")
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._turn_waiters.append(waiter)
        self._pump()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._end_turn()  # granted in the same step
            raise
        try:
            yield ExclusiveTurn(self)
        finally:
            self._end_turn()

    def submit_in_turn(self, commit: Raw) -> asyncio.Future[Outcome]:
        """For ExclusiveTurn."""
        assert self._is_turn_held, "the exclusive turn has ended"
        request_id, future = self._register()
        self._send([(request_id, commit)])
        return future

    @property
    def waiting_count(self) -> int:
        """Commits that have not been sent yet."""
        return len(self._waiting)

    async def drain(self) -> None:
        """Wait until everything that was submitted has been answered."""
        while self._futures and self._connection.is_open:
            await asyncio.wait(self._futures.values())

    def close(self) -> None:
        """Let the committer exit; what it has not answered yet may or may not be committed."""
        self._is_closing = True
        self._connection.close()

    def _register(self) -> tuple[int, asyncio.Future[Outcome]]:
        request_id = next(self._ids)
        future: asyncio.Future[Outcome] = self._loop.create_future()
        if self._connection.is_open:
            self._futures[request_id] = future
        else:
            future.set_exception(WorkerLost("The committer is gone."))
        return request_id, future

    def _end_turn(self) -> None:
        self._is_turn_held = False
        self._is_batch_owed = bool(self._waiting)
        self._pump()

    def _pump(self) -> None:
        """Send what may be sent now, or grant the next turn."""
        self._is_pump_due = False
        if self._is_turn_held or not self._connection.is_open:
            return
        while self._turn_waiters and self._turn_waiters[0].done():
            self._turn_waiters.popleft()
        if not self._turn_waiters:
            while self._waiting and self._connection.is_writable:
                self._send_waiting()
        elif not self._in_flight:
            if self._is_batch_owed and self._waiting:
                self._is_batch_owed = False
                self._send_waiting()
            else:
                self._is_turn_held = True
                self._turn_waiters.popleft().set_result(None)

    def _send_waiting(self) -> None:
        requests: list[tuple[int, Raw]] = []
        left_bytes = _BATCH_BYTES_MAX
        while self._waiting and len(requests) < BATCH_REQUESTS_MAX:
            left_bytes -= memoryview(self._waiting[0][1]).nbytes
            if left_bytes < 0:
                break  # never the first: `submit` has seen to it
            requests.append(self._waiting.popleft())
        self._send(requests)

    def _send(self, requests: list[tuple[int, Raw]]) -> None:
        self._in_flight += len(requests)
        self._connection.send(requests)

    def _take(self, frame: bytes) -> None:
        if not self._started.done():
            match _first_frame.decode(frame):
                case StartFailed(text):
                    self._started.set_exception(WorkerLost(f"The committer cannot start: {text}"))
                case Ready():
                    self._started.set_result(None)
            return
        outcomes = _outcomes.decode(frame).outcomes
        self._in_flight -= len(outcomes)
        self._on_batch(outcomes)
        for outcome in outcomes:
            future = self._futures.pop(outcome.id)
            if not future.done():
                future.set_result(outcome)
        self._pump()

    def _closed(self) -> None:
        lost = WorkerLost("The committer is gone; whether this commit happened is not known.")
        waiting: list[asyncio.Future[Any]] = [*self._futures.values(), *self._turn_waiters]
        for future in waiting:
            if not future.done():
                future.set_exception(lost)
        self._futures.clear()
        self._turn_waiters.clear()
        self._waiting.clear()
        if not self._started.done():
            self._started.set_exception(WorkerLost("The committer died before it had opened the database."))
        elif not self._is_closing and self._started.exception() is None:
            self._on_lost()
