"""Engines with one thing broken each, by patches of the real parts; a judge that passes one of them is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from convexpy.runtime import execute as executing
from convexpy.runtime.live_queries import LiveQueryCache
from convexpy.runtime.publishing import Publisher
from convexpy.storage.keys import ID_BYTES
from convexpy.storage.lmdb_store import Snapshot
from convexpy.transactions import committer as committing
from convexpy.transactions import transaction_reads
from convexpy.transactions.commit_log import Batch
from convexpy.transactions.commit_messages import CommitRequest, Committed, Conflicted, Reads
from convexpy.transactions.committer import Committer, Outcome
from convexpy.transactions.read_set import ReadSet
from convexpy.transactions.transaction import Transaction
from convexpy.transactions.write_log import Overlap, WriteLog
from convexpy.transactions.write_set import WriteSet
from tests.histories.engine import CommitPath, Workers

Patch = tuple[Any, str, Any]
Requests = list[tuple[int, CommitRequest]]

_commit, _validate, _take = Committer.commit, Committer._validate, Committer._take
_scan, _savepoint, _rollback = Transaction.scan, Transaction.savepoint, Transaction.rollback
_commit_request, _changes, _first_overlap = Transaction.commit_request, WriteSet.changes, WriteLog.first_overlap
_first_range_overlap = WriteLog._first_range_overlap
_NEVER_TOO_OLD = 2**62


@contextmanager
def patched(patches: list[Patch]) -> Iterator[None]:
    """The engine as a mutant has it, for the length of a block."""
    with ExitStack() as stack:
        for owner, name, replacement in patches:
            stack.enter_context(patch.object(owner, name, replacement))
        yield


# --- the committer


def _no_validation(self: Committer, request_id: int, request: CommitRequest) -> None:
    return None


def _ignoring(field: str) -> list[Patch]:
    """Neither the committer nor the query cache hears of one kind of keys that a commit touches."""

    def take(self: Committer, request_id: int, request: CommitRequest, batch: Batch) -> Committed:
        ignored = set(getattr(request, field))
        log = self._write_log
        append = log.append

        def append_the_rest(ts: int, keys: list[bytes], written_by: str) -> None:
            append(ts, [key for key in keys if key not in ignored], written_by)

        with patch.object(log, "append", append_the_rest):
            taken = _take(self, request_id, request, batch)
        return Committed(request_id, taken.ts, [key for key in taken.keys if key not in ignored])

    return [(Committer, "_take", take)]


def _points_ignored(self: WriteLog, reads: Reads, after_ts: int) -> Overlap | None:
    return _first_overlap(self, Reads([], reads.ranges), after_ts)


def _start_of_range_left_out(self: WriteLog, ranges: list[tuple[bytes, bytes]], after_ts: int) -> Overlap | None:
    return _first_range_overlap(self, [(start + b"\0", end) for start, end in ranges], after_ts)


def _commits_at_begin_left_out(self: WriteLog, reads: Reads, after_ts: int) -> Overlap | None:
    """Timestamps of a test are neighbours, so this is the first commit after the snapshot."""
    return _first_overlap(self, reads, after_ts + 1)


def _batch_unseen(self: Committer, requests: Requests) -> list[Outcome]:
    """Every request is validated against earlier batches alone."""
    lost: dict[int, Conflicted | None] = {}
    for request_id, request in requests:
        lost[request_id] = self._validate(request_id, request)
    with patch.object(self, "_validate", lambda request_id, request: lost[request_id]):
        return _commit(self, requests)


def _commits_swapped(self: Committer, requests: Requests) -> list[Outcome]:
    """The first and the last of a batch are told each other's timestamps."""
    outcomes = _commit(self, requests)
    committed = [outcome for outcome in outcomes if isinstance(outcome, Committed)]
    if len(committed) >= 2:
        first, last = committed[0], committed[-1]
        first.id, last.id = last.id, first.id
    return outcomes


def _timestamps_reused() -> list[Patch]:
    """The second commit of a batch gets the timestamp of the first."""

    def commit(self: Any, requests: Requests) -> list[Outcome]:
        self.reuse_above = self.last_ts
        return _commit(self, requests)

    def take(self: Any, request_id: int, request: CommitRequest, batch: Batch) -> Committed:
        if self.last_ts > self.reuse_above:
            self.last_ts -= 1
        return _take(self, request_id, request, batch)

    return [(Committer, "commit", commit), (Committer, "_take", take)]


def _short_memory_forgotten(self: Committer, request_id: int, request: CommitRequest) -> Conflicted | None:
    """Commits that the write log has dropped count as if they had never been."""
    self._write_log.floor_ts = 0
    return _validate(self, request_id, request)


def _commits_torn() -> list[Patch]:
    """The second half of a commit's documents comes with the next batch."""

    def commit(self: Any, requests: Requests) -> list[Outcome]:
        owed: Requests = getattr(self, "owed", [])
        halves = [(request_id, *_halves(request)) for request_id, request in requests]
        outcomes = _commit(self, [*((-1, half) for _, half in owed), *((number, first) for number, first, _ in halves)])
        committed = {outcome.id for outcome in outcomes if isinstance(outcome, Committed)}
        self.owed = [(number, second) for number, _, second in halves if number in committed and second.documents]
        return outcomes

    return [(Committer, "commit", commit)]


def _halves(request: CommitRequest) -> tuple[CommitRequest, CommitRequest]:
    middle = (len(request.documents) + 1) // 2
    late = {write.key[-ID_BYTES:] for write in request.documents[middle:]}

    def part(is_late: bool) -> CommitRequest:
        def of_part(keys: list[bytes]) -> list[bytes]:
            return [key for key in keys if (key[-ID_BYTES:] in late) == is_late]

        return CommitRequest(
            begin_ts=_NEVER_TOO_OLD if is_late else request.begin_ts,
            generation=request.generation,
            function=request.function,
            reads=Reads([], []) if is_late else request.reads,
            documents=request.documents[middle:] if is_late else request.documents[:middle],
            index_puts=of_part(request.index_puts),
            index_deletes=of_part(request.index_deletes),
            index_touches=of_part(request.index_touches),
        )

    return part(False), part(True)


# --- transactions


def _last_row_unread(read: Any, key: bytes, descending: bool) -> None:
    """The end of what a range read has consumed is off by one row."""
    if descending:
        read.start = key + b"\x00"
    else:
        read.end = key


def _ends_unread(self: Transaction, *arguments: Any, **options: Any) -> Iterator[Any]:
    """A range that was read to its end counts up to the last row that was there."""
    ranges = self._reads._ranges
    place = len(ranges)
    seen: tuple[bytes, bytes] | None = None
    for row in _scan(self, *arguments, **options):
        seen = ranges[place].start, ranges[place].end
        yield row
    read = ranges[place]
    read.start, read.end = seen or (b"", b"")


def _rollback_with_reads() -> list[Patch]:
    """What a part has read is forgotten with what it wrote."""

    def savepoint(self: Any) -> Any:
        mark = _savepoint(self)
        self.read_marks = {
            **getattr(self, "read_marks", {}),
            id(mark): (mark, set(self._reads._points), len(self._reads._ranges)),
        }
        return mark

    def rollback(self: Any, mark: Any) -> None:
        _, points, ranges = self.read_marks[id(mark)]
        self._reads._points = points
        del self._reads._ranges[ranges:]
        _rollback(self, mark)

    return [(Transaction, "savepoint", savepoint), (Transaction, "rollback", rollback)]


def _begin_too_late(self: Transaction, function: str, generation: int) -> CommitRequest | None:
    """The transaction has read an older snapshot than it says."""
    request = _commit_request(self, function, generation)
    if request is not None:
        request.begin_ts += 2
    return request


def _point_reads_lost(self: ReadSet, key: bytes) -> None:
    return None


def _own_touches_lost(self: WriteSet) -> Any:
    """Documents that change in place leave their index entries out of the commit."""
    documents, puts, deletes, _ = _changes(self)
    return documents, puts, deletes, []


def _writes_kept(self: WriteSet, savepoint: int) -> None:
    return None


# --- snapshots and publishing


def _any_snapshot() -> list[Patch]:
    """A worker keeps the snapshot that it has, whatever a call asks for."""

    def snapshot_for(self: Workers, min_ts: int) -> Snapshot:
        fresh = self._store.snapshot()
        self._kept.append(fresh)
        if len(self._kept) > 8:
            self._kept.pop(0).close()
        return self._chance.choice(self._kept)

    def execute(call: Any, snapshot: Snapshot, generation: Any) -> Any:
        call.min_ts = 0
        return executing.execute(call, snapshot, generation)

    from tests.histories import engine

    return [(Workers, "snapshot_for", snapshot_for), (engine, "execute", execute)]


def _answered_before_published(self: CommitPath, outcomes: list[Outcome]) -> None:
    self.answer(outcomes)
    self._unpublished.append(outcomes)


def _shown_at_once(self: Publisher, ts: int, then: Callable[[], None]) -> None:
    then()


async def _never_waiting(self: Publisher, ts: int) -> None:
    return None


def _cache_deaf(self: LiveQueryCache, commits: list[Committed]) -> None:
    return None


MUTANTS: dict[str, list[Patch]] = {
    "validation is off": [(Committer, "_validate", _no_validation)],
    "old index keys are ignored": _ignoring("index_deletes"),
    "new index keys are ignored": _ignoring("index_puts"),
    "touched entries are ignored": _ignoring("index_touches"),
    "touched entries are not sent": [(WriteSet, "changes", _own_touches_lost)],
    "points are not checked": [(WriteLog, "first_overlap", _points_ignored)],
    "the start of a range is not checked": [(WriteLog, "_first_range_overlap", _start_of_range_left_out)],
    "the first commit after the snapshot is not checked": [(WriteLog, "first_overlap", _commits_at_begin_left_out)],
    "a batch does not see itself": [(Committer, "commit", _batch_unseen)],
    "commits are answered in the wrong order": [(Committer, "commit", _commits_swapped)],
    "a timestamp is used twice": _timestamps_reused(),
    "what the write log forgot never was": [
        (committing, "WRITE_LOG_KEYS_MAX", 8),
        (Committer, "_validate", _short_memory_forgotten),
    ],
    "commits are torn": _commits_torn(),
    "the last row of a range is not recorded": [(transaction_reads, "_consume", _last_row_unread)],
    "the end of a range is not recorded": [(Transaction, "scan", _ends_unread)],
    "point reads are not recorded": [(ReadSet, "add_point", _point_reads_lost)],
    "rollback forgets reads": _rollback_with_reads(),
    "rollback keeps writes": [(WriteSet, "rollback", _writes_kept)],
    "the snapshot is older than it says": [(Transaction, "commit_request", _begin_too_late)],
    "workers take any snapshot": _any_snapshot(),
    "answers come before publishing": [(CommitPath, "take", _answered_before_published)],
    "results are shown before publishing": [
        (Publisher, "when_published", _shown_at_once),
        (Publisher, "wait_for", _never_waiting),
    ],
    "cached results outlive commits": [(LiveQueryCache, "take_commits", _cache_deaf)],
}
