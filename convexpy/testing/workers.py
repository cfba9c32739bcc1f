"""Function workers and the committer without processes: the same `execute` and `commit`, called in steps of the loop.

Calls that are submitted in one step run on one state of the database, and what they commit is one batch: transactions
race here as they do on several cores, in an order that the same test always repeats.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from msgspec import Raw

from convexpy.functions import guard
from convexpy.runtime.execute import execute
from convexpy.runtime.generation import Generation
from convexpy.runtime.messages import Call, Reply
from convexpy.storage.lmdb_store import LmdbStore
from convexpy.transactions.commit_messages import CommitRequest, Committed, Conflicted, Refused
from convexpy.transactions.committer import Committer

CommitOutcome = Committed | Conflicted | Refused

_decode_request = msgspec.msgpack.Decoder(CommitRequest).decode


class InProcessFunctions:
    """Implements `parts.Functions`. There is no limit of CPU time or memory: those belong to processes."""

    def __init__(self, store: LmdbStore) -> None:
        self._store = store
        self.current: Generation | None = None
        self.staged: Generation | None = None
        self._is_stopped = False

    def submit(
        self,
        call: Call,
        *,
        prefer: int | None = None,
        is_urgent: bool = False,
        is_staged: bool = False,
        limit_seconds: float | None = None,
    ) -> asyncio.Future[Reply]:
        """See `parts.Functions`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        loop.call_soon(self._run, [call], is_staged, lambda replies: future.set_result(replies[0]), future)
        return future

    def submit_together(self, calls: list[Call]) -> asyncio.Future[list[Reply]]:
        """See `parts.Functions`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Reply]] = loop.create_future()
        loop.call_soon(self._run, calls, False, future.set_result, future)
        return future

    def switch(self) -> None:
        """Run new calls on the staged generation."""
        self.current, self.staged = self.staged, None

    def stop(self) -> None:
        """Run nothing more; who waits for a call, or makes one yet, is cancelled."""
        self._is_stopped = True

    def _run(
        self,
        calls: list[Call],
        is_staged: bool,
        answer: Callable[[list[Reply]], None],
        future: asyncio.Future[Reply] | asyncio.Future[list[Reply]],
    ) -> None:
        if self._is_stopped:
            future.cancel()
        if future.cancelled():
            return
        generation = self.staged if is_staged else self.current
        assert generation is not None, "calls come after the first push"
        try:
            with self._store.snapshot() as snapshot:
                replies = [execute(call, snapshot, generation) for call in calls]
        except BaseException as error:
            future.set_exception(error)
        else:
            answer(replies)
        finally:
            guard.reset()


class InProcessCommits:
    """Implements `parts.Commits`.

    Args:
        on_batch: gets the outcomes of a batch before who submitted hears of them.
    """

    def __init__(self, committer: Committer, on_batch: Callable[[list[CommitOutcome]], None]) -> None:
        self._committer = committer
        self._on_batch = on_batch
        self._ids = itertools.count(1)
        self._waiting: list[tuple[Raw, asyncio.Future[CommitOutcome]]] = []
        self._turn = asyncio.Lock()
        self._is_due = False
        self._is_stopped = False

    def submit(self, commit: Raw) -> asyncio.Future[CommitOutcome]:
        """See `parts.Commits`."""
        future: asyncio.Future[CommitOutcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((commit, future))
        self._commit_soon()
        return future

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[InProcessTurn]:
        """See `parts.Commits`."""
        try:
            async with self._turn:
                yield InProcessTurn(self)
        finally:
            self._commit_soon()

    def stop(self) -> None:
        """Commit nothing more; who waits for a commit is cancelled.

        The next server would never hear of a commit that came after its start, and whoever read it there would wait
        for ever until it is published.
        """
        self._is_stopped = True

    def commit_now(self, commits: list[tuple[Raw, asyncio.Future[CommitOutcome]]]) -> None:
        """Commit one batch, publish it, answer."""
        if self._is_stopped:
            for _, future in commits:
                future.cancel()
            return
        requests = [(next(self._ids), _decode_request(commit)) for commit, _ in commits]
        outcomes = self._committer.commit(requests)
        self._on_batch(outcomes)
        for (_, future), outcome in zip(commits, outcomes, strict=True):
            if not future.cancelled():
                future.set_result(outcome)

    def _commit_soon(self) -> None:
        if not self._is_due and self._waiting:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._commit_waiting)

    def _commit_waiting(self) -> None:
        self._is_due = False
        if not self._turn.locked():
            batch, self._waiting = self._waiting, []
            self.commit_now(batch)


class InProcessTurn:
    """Implements `parts.Turn`."""

    def __init__(self, commits: InProcessCommits) -> None:
        self._commits = commits

    def submit(self, commit: Raw) -> asyncio.Future[CommitOutcome]:
        """See `parts.Turn`."""
        future: asyncio.Future[CommitOutcome] = asyncio.get_running_loop().create_future()
        self._commits.commit_now([(commit, future)])
        return future
