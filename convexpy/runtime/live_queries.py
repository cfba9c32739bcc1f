"""The query cache and who waits on its entries: one run serves everybody who asks the same, whoever he is if
the function does not look.

An entry's outcome holds in [its snapshot, first later commit that touches what it read). Invariants:
  1. an outcome is shown only once its snapshot is published;
  2. a stale entry with listeners is running or about to, and its listeners hear of the new outcome;
  3. entries that become stale in one step of the loop run as one frame, so they share one snapshot.
Errors are not cached, but what they read is subscribed to.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol

from msgspec import structs

from convexpy.environment import Environment
from convexpy.errors import Overloaded, WorkerLost
from convexpy.limits import CACHE_BYTES_MAX, CLOCK_RESULT_SECONDS_MAX
from convexpy.runtime.interface import Entry, FunctionRequest, Listener, Outcome
from convexpy.runtime.invalidation import InvalidationIndex
from convexpy.runtime.live_entry import Key, LiveEntry, key_of
from convexpy.runtime.messages import Reply
from convexpy.runtime.publishing import Publisher
from convexpy.runtime.run_sharing import RunSharing
from convexpy.transactions.commit_messages import Committed, Reads

RUN_FRAME_ENTRIES_MAX = 64  # entries that one worker runs on one snapshot
RETRY_SECONDS = 1.0  # after a run that failed for want of a worker
_ENTRY_OVERHEAD_BYTES = 600


class QueryRunner(Protocol):
    """Runs queries; the backend implements it."""

    def run_queries(self, requests: list[FunctionRequest]) -> asyncio.Future[list[Reply]]:
        """All at one snapshot, at or after `published_ts` of this moment."""

    def outcome_of(self, request: FunctionRequest, reply: Reply) -> Outcome: ...


class _OneShot:
    """A listener that waits for one change."""

    __slots__ = ("changed",)

    def __init__(self) -> None:
        self.changed = asyncio.get_running_loop().create_future()

    def entry_changed(self) -> None:
        if not self.changed.done():
            self.changed.set_result(None)


class LiveQueryCache:
    """Implements `interface.LiveQueries`; `take_commits` is its feed."""

    def __init__(
        self, runner: QueryRunner, publisher: Publisher, environment: Environment, cache_bytes: int = CACHE_BYTES_MAX
    ) -> None:
        self._runner = runner
        self._publisher = publisher
        self._environment = environment
        self._cache_bytes_max = cache_bytes
        self._entries: dict[Key, LiveEntry] = {}
        self._idle: OrderedDict[LiveEntry, None] = OrderedDict()  # no listeners; least recently used first
        self._idle_bytes = 0
        self._index: InvalidationIndex[LiveEntry] = InvalidationIndex()
        self._sharing = RunSharing()
        self._to_run: dict[LiveEntry, None] = {}
        self._is_start_due = False
        self._code_epoch = 0  # counts pushes; a run that began before one is run again
        self.runs = 0
        self.hits = 0

    # --- what others ask

    def subscribe(self, request: FunctionRequest, listener: Listener) -> LiveEntry:
        """See `interface.LiveQueries`."""
        entry = self._entry(request)
        if not entry.listeners and entry in self._idle:
            del self._idle[entry]
            self._idle_bytes -= entry.size
        entry.listeners[listener] += 1
        if self._holds_now(entry) or self._takes_over(entry):
            self.hits += 1
        else:
            self._run_soon(entry)
        return entry

    def unsubscribe(self, entry: Entry, listener: Listener) -> None:
        """See `interface.LiveQueries`."""
        assert isinstance(entry, LiveEntry), "an entry of another cache"
        entry.listeners[listener] -= 1
        if entry.listeners[listener] <= 0:
            del entry.listeners[listener]
        if not entry.listeners:
            self._retire(entry)

    async def run_together(self, requests: list[FunctionRequest]) -> tuple[int, list[Outcome]]:
        """See `interface.LiveQueries`."""
        replies = await self._runner.run_queries(requests)
        for reply in replies:
            if reply.loss == "overloaded":
                raise Overloaded("Too many calls are waiting for a worker. Try again later.")
            if reply.loss == "died" or reply.is_system_error:
                raise WorkerLost(reply.error)
        # One for all, but for runs that were cut off: they have none.
        snapshot_ts = max((reply.snapshot_ts for reply in replies), default=0) or self._publisher.published_ts
        await self._publisher.wait_for(snapshot_ts)
        outcomes = [self._runner.outcome_of(request, reply) for request, reply in zip(requests, replies, strict=True)]
        return snapshot_ts, outcomes

    async def query_once(self, request: FunctionRequest) -> Outcome:
        """An outcome that holds at the `published_ts` of this moment or later."""
        needed_ts = self._publisher.published_ts
        while True:
            waiter = _OneShot()
            entry = self.subscribe(request, waiter)
            try:
                while not entry.covers(needed_ts) or self._is_expired(entry):
                    await waiter.changed
                    waiter.changed = asyncio.get_running_loop().create_future()
                outcome = entry.outcome
                assert outcome is not None
                return outcome
            finally:
                self.unsubscribe(entry, waiter)

    # --- what happens to entries

    def take_commits(self, commits: list[Committed]) -> None:
        """Mark what the commits touch as stale. Called before `published_ts` moves."""
        for commit in commits:
            for entry in self._index.touched(commit.keys):
                self._make_stale(entry, commit.ts)

    def make_all_stale(self, ts: int) -> None:
        """New code is in force from `ts` on: every outcome is to be computed again."""
        self._code_epoch += 1
        self._sharing.forget_functions()
        for entry in list(self._entries.values()):
            self._make_stale(entry, ts)

    def _make_stale(self, entry: LiveEntry, ts: int) -> None:
        if entry.valid_until_ts is None and entry.outcome is not None:
            entry.valid_until_ts = ts
            self._index.remove(entry)
            self._sharing.forget(entry)
        if entry.listeners:
            self._pin_page(entry)
            self._run_soon(entry)  # and when it has run its listeners hear of it
        elif not entry.is_running:
            self._forget(entry)

    def _pin_page(self, entry: LiveEntry) -> None:
        """The next run covers the same page; who asks without its journal from now on is to get a page of his own."""
        if entry.journal == entry.key[-1]:
            return
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
        entry.key = (*entry.key[:-1], entry.journal)
        self._entries.setdefault(entry.key, entry)

    def _entry(self, request: FunctionRequest) -> LiveEntry:
        key = key_of(request)
        entry = self._entries.get(key)
        if entry is None:
            # What one client calls its request is nothing for the errors of others.
            entry = self._entries[key] = LiveEntry(key, structs.replace(request, request_id=""))
        return entry

    def _holds_now(self, entry: LiveEntry) -> bool:
        return entry.outcome is not None and entry.valid_until_ts is None and not self._is_expired(entry)

    def _takes_over(self, entry: LiveEntry) -> bool:
        """Whether somebody else's outcome could be made this entry's."""
        if entry.is_running:
            return False
        other = self._sharing.answer_to(entry)
        if other is None or not self._holds_now(other):
            return False
        reads = self._index.reads_of(other)
        entry.outcome, entry.journal = other.outcome, other.journal
        entry.snapshot_ts, entry.valid_until_ts = other.snapshot_ts, None
        entry.expires_at, entry.size = other.expires_at, other.size
        self._index.put(entry, reads)
        return True

    def _is_expired(self, entry: LiveEntry) -> bool:
        return entry.expires_at is not None and self._environment.monotonic() >= entry.expires_at

    def _run_soon(self, entry: LiveEntry) -> None:
        if entry.is_running:
            return  # when it comes back stale it is run again
        entry.is_running = True
        if self._sharing.has_leader(entry):
            return
        self._to_run[entry] = None
        if not self._is_start_due:
            self._is_start_due = True
            asyncio.get_running_loop().call_soon(self._start_runs)

    def _start_runs(self) -> None:
        self._is_start_due = False
        entries = list(self._to_run)
        self._to_run.clear()
        for first in range(0, len(entries), RUN_FRAME_ENTRIES_MAX):
            self._start_frame(entries[first : first + RUN_FRAME_ENTRIES_MAX])

    def _start_frame(self, entries: list[LiveEntry]) -> None:
        self.runs += len(entries)
        requests = [entry.next_request() for entry in entries]
        epoch = self._code_epoch
        future = self._runner.run_queries(requests)
        future.add_done_callback(lambda done: self._take_replies(entries, done, epoch))

    def _take_replies(self, entries: list[LiveEntry], done: asyncio.Future[list[Reply]], epoch: int) -> None:
        if done.cancelled() or done.exception() is not None:
            self._run_later([each for entry in entries for each in (entry, *self._sharing.end_run(entry))])
            return
        replies = done.result()
        snapshot_ts = max(reply.snapshot_ts for reply in replies)
        self._publisher.when_published(snapshot_ts, lambda: self._settle(entries, replies, epoch))

    def _settle(self, entries: list[LiveEntry], replies: list[Reply], epoch: int) -> None:
        changed: list[LiveEntry] = []
        failed: list[LiveEntry] = []
        unanswered: list[LiveEntry] = []
        for entry, reply in zip(entries, replies, strict=True):
            followers = self._sharing.end_run(entry)
            if epoch != self._code_epoch:
                unanswered += (entry, *followers)
                continue
            if reply.loss in ("overloaded", "died"):
                failed += (entry, *followers)
                continue
            question = entry.question
            outcome = self._runner.outcome_of(entry.request, reply)
            is_personal = reply.used_identity or reply.reads is None  # of a run that was cut off nothing is known
            self._sharing.note_outcome(entry, question, is_personal=is_personal)
            answered = [entry] if is_personal else [entry, *followers]
            unanswered += followers if is_personal else []
            for each in answered:
                self._set_outcome(each, outcome, reply)
            changed += answered
        for entry in unanswered:
            entry.is_running = False
        self._run_again(unanswered)
        if failed:
            self._run_later(failed)
        for entry in changed:
            for listener in list(entry.listeners):
                listener.entry_changed()

    def _set_outcome(self, entry: LiveEntry, outcome: Outcome, reply: Reply) -> None:
        reads = reply.reads or Reads([], [])
        entry.is_running = False
        entry.outcome = outcome
        entry.journal = reply.journal or entry.request.journal
        # Only a run that was cut off, or took its worker along, has no snapshot: it says how things are now.
        entry.snapshot_ts = reply.snapshot_ts or self._publisher.published_ts
        entry.valid_until_ts = self._publisher.first_change_after(entry.snapshot_ts, reads)
        # Nor is it known what it read; who asks later has it tried again.
        is_for_now = reply.used_time or reply.reads is None
        entry.expires_at = self._environment.monotonic() + CLOCK_RESULT_SECONDS_MAX if is_for_now else None
        entry.size = _ENTRY_OVERHEAD_BYTES + len(outcome.value) + len(entry.request.args) + 100 * len(reads.ranges)
        if entry.valid_until_ts is None:
            self._index.put(entry, reads)
        else:
            self._sharing.forget(entry)
            if entry.listeners:
                self._run_soon(entry)
        if not entry.listeners:
            self._retire(entry)

    def _run_later(self, entries: Iterable[LiveEntry]) -> None:
        for entry in entries:
            entry.is_running = False
        waiting = [entry for entry in entries if entry.listeners]
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self._run_again, waiting)

    def _run_again(self, entries: list[LiveEntry]) -> None:
        for entry in entries:
            if not entry.listeners:
                self._retire(entry)
            elif not self._holds_now(entry):
                self._run_soon(entry)

    # --- the cache of entries that nobody waits on

    def _retire(self, entry: LiveEntry) -> None:
        if entry.is_running:
            return
        if not self._holds_now(entry) or entry.outcome is None or not entry.outcome.ok:
            self._forget(entry)
            return
        if entry in self._idle:
            return
        self._idle[entry] = None
        self._idle_bytes += entry.size
        while self._idle_bytes > self._cache_bytes_max:
            self._forget(next(iter(self._idle)))

    def _forget(self, entry: LiveEntry) -> None:
        if entry in self._idle:
            del self._idle[entry]
            self._idle_bytes -= entry.size
        self._index.remove(entry)
        self._sharing.forget(entry)
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
