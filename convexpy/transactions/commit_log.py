"""The commit log: what the committer appends to, and what a copy of the database is made from.

`append` is the one way by which anything is written, and the log alone says what happened: whoever applies its commits
in order has the same documents, index entries and catalog, byte for byte. Here both are one LMDB database, so that
appending and applying are one transaction and one sync. A log elsewhere (a PostgreSQL that several machines share)
needs the same two methods, and its machines apply what `tail` gives them by `LmdbCommitLog.append` of their own.

Source: DESIGN 5; reliability page D4, D5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from convexpy.environment import Environment
from convexpy.errors import ConvexpyError, OutOfRetention
from convexpy.limits import LOG_MAP_SHARE_MAX, LOG_TRIM_ROWS_PER_COMMIT, LogLimits
from convexpy.storage.keys import decode_ts, encode_ts
from convexpy.storage.lmdb_store import (
    CATALOG_TS,
    INSTANCE_SECRET,
    LAST_COMMIT_TS,
    LOG_FLOOR_TS,
    LmdbStore,
    StoreError,
    page_bytes,
)
from convexpy.storage.reserve import SpaceReserve
from convexpy.transactions.backlog import backlog_change, count_backlog, encode_last_commit, stored_backlog
from convexpy.transactions.commit_messages import DocumentWrite


class LoggedCommit(Struct, array_like=True):
    """Everything that one commit wrote. Entries that stay where they are while their document changes are not in it."""

    function: str
    documents: list[DocumentWrite]
    index_puts: list[bytes]
    index_deletes: list[bytes]
    is_catalog_change: bool


_OUT_OF_SPACE = {"map": "The database file has reached its maximum size", "disk": "The disk is full"}

Batch = list[tuple[int, LoggedCommit]]

_encode = msgspec.msgpack.Encoder().encode
decode_commit = msgspec.msgpack.Decoder(LoggedCommit).decode


class LogMoved(ConvexpyError):
    """Somebody else has appended: what was validated against `expected_ts` may not be true any more."""

    def __init__(self, expected_ts: int, last_ts: int) -> None:
        super().__init__(f"The commit log ends at {last_ts}, not at {expected_ts}: another server writes to it.")


class OutOfSpace(ConvexpyError):
    """There is no room for a batch; there may be for a smaller one."""


class CommitLog(Protocol):
    """A log that only grows at its end and is cut at its beginning."""

    @property
    def last_ts(self) -> int:
        """Timestamp of the last commit, or of the log's creation."""

    @property
    def backlog(self) -> int:
        """Scheduled functions that are not finished after the last commit; see transactions/backlog.py."""

    def append(self, expected_ts: int, batch: Batch, *, frees_space: bool = False) -> None:
        """Add commits with rising timestamps: all or none, and durable when this returns.

        Args:
            frees_space: they make the database smaller, so they may use space that is kept for that.

        Raises:
            LogMoved: the last commit is not that of `expected_ts`.
            OutOfSpace: there is no room for them.
        """

    def tail(self, after_ts: int) -> Iterator[tuple[int, LoggedCommit]]:
        """The commits after `after_ts`, in order.

        Raises:
            OutOfRetention: some of them are not kept any more.
        """


class LmdbCommitLog:
    """Implements `CommitLog` in the database that it describes.

    Args:
        store: writable. An empty one is initialised, which counts as a commit: a snapshot is never at ts 0.
        reserve: space for what frees space; None: there is none.
        origin: timestamp and instance secret that an empty one begins with, where it is to be the copy of another;
            None: new ones.
        limits: of what is kept.
    """

    def __init__(
        self,
        store: LmdbStore,
        environment: Environment,
        *,
        reserve: SpaceReserve | None = None,
        origin: tuple[int, bytes] | None = None,
        limits: LogLimits | None = None,
    ) -> None:
        self._store = store
        self._limits = limits or LogLimits()
        self._reserve = reserve
        self._environment = environment
        self._last_ts, self._backlog = self._initialise(origin)

    def _initialise(self, origin: tuple[int, bytes] | None) -> tuple[int, int]:
        store = self._store
        with store.environment.begin(write=True) as transaction:
            stored = transaction.get(LAST_COMMIT_TS, db=store.meta)
            if stored is not None:
                backlog = stored_backlog(stored)
                return decode_ts(stored), count_backlog(store, transaction) if backlog is None else backlog
            ts, secret = origin or (self._environment.now_ns(), self._environment.entropy(32))
            for name in (LAST_COMMIT_TS, CATALOG_TS, LOG_FLOOR_TS):
                transaction.put(name, encode_ts(ts), db=store.meta)
            transaction.put(INSTANCE_SECRET, secret, db=store.meta)
            return ts, 0

    @property
    def last_ts(self) -> int:
        """See `CommitLog`."""
        return self._last_ts

    @property
    def backlog(self) -> int:
        """See `CommitLog`."""
        return self._backlog

    def append(self, expected_ts: int, batch: Batch, *, frees_space: bool = False) -> None:
        """See `CommitLog`. Old commits beyond what is retained go, some with each batch.

        Raises:
            StoreError: the disk fails. What it holds now is unknown; opening the database again tells.
        """
        if expected_ts != self._last_ts:
            raise LogMoved(expected_ts, self._last_ts)
        if not batch:
            return
        backlog = self._backlog + sum(backlog_change(commit) for _, commit in batch)
        try:
            self._write(batch, backlog)
        except StoreError as error:
            full = self._store.missing_space(error)
            if not full:
                raise
            if not frees_space or self._reserve is None or not self._write_into(self._reserve, batch, backlog):
                raise OutOfSpace(_OUT_OF_SPACE[full]) from error
        self._last_ts, self._backlog = batch[-1][0], backlog

    def _write_into(self, reserve: SpaceReserve, batch: Batch, backlog: int) -> bool:
        with reserve.opened():
            try:
                # The log holds what is deleted, for reads in the past. Where space is short, that is what goes first.
                self._forget_oldest()
                self._write(batch, backlog)
            except StoreError as error:
                if not self._store.missing_space(error):
                    raise
                return False
        return True

    def _write(self, batch: Batch, backlog: int) -> None:
        last_ts = batch[-1][0]
        with self._store.environment.begin(write=True) as transaction:
            for ts, commit in batch:
                self._apply(transaction, encode_ts(ts), commit)
            transaction.put(LAST_COMMIT_TS, encode_last_commit(last_ts, backlog), db=self._store.meta)
            self._trim(transaction, encode_ts(last_ts))

    def tail(self, after_ts: int) -> Iterator[tuple[int, LoggedCommit]]:
        """See `CommitLog`. It is one read transaction; take what it gives soon."""
        with self._store.snapshot() as snapshot:
            if after_ts < snapshot.log_floor_ts():
                raise OutOfRetention(f"The commits after {after_ts} are not all kept any more.")
            for ts, value in snapshot.log_entries(after_ts + 1, snapshot.ts + 1):
                yield ts, decode_commit(value)

    def _apply(self, transaction: Any, stamp: bytes, commit: LoggedCommit) -> None:
        store = self._store
        put, delete = transaction.put, transaction.delete
        for write in commit.documents:
            if write.new is None:
                delete(write.key, db=store.documents)
            else:
                put(write.key, stamp + write.new, db=store.documents)
        for key in commit.index_deletes:
            delete(key, db=store.indexes)
        for key in commit.index_puts:
            put(key, b"", db=store.indexes)
        put(stamp, _encode(commit), db=store.log, append=True)
        if commit.is_catalog_change:
            put(CATALOG_TS, stamp, db=store.meta)

    def _trim(self, transaction: Any, latest: bytes) -> None:
        """Bounded work a batch; the newest commit always stays."""
        log = self._store.log
        oldest_kept = encode_ts(max(0, self._environment.now_ns() - self._limits.log_retention_seconds * 10**9))
        bytes_max = min(self._limits.log_retention_bytes, int(self._store.map_bytes * LOG_MAP_SHARE_MAX))

        def is_kept(key: bytes) -> bool:
            return key == latest or (key >= oldest_kept and page_bytes(transaction.stat(log)) <= bytes_max)

        self._forget(transaction, is_kept)

    def _forget_oldest(self) -> None:
        latest = encode_ts(self._last_ts)
        with self._store.environment.begin(write=True) as transaction:
            self._forget(transaction, lambda key: key == latest)

    def _forget(self, transaction: Any, is_kept: Callable[[bytes], bool]) -> None:
        """Take the oldest commits out of the log, up to the first that is kept."""
        floor = None
        with transaction.cursor(db=self._store.log) as cursor:
            for _ in range(LOG_TRIM_ROWS_PER_COMMIT):
                if not cursor.first() or is_kept(cursor.key()):
                    break
                floor = cursor.key()
                cursor.delete()
        if floor is not None:
            transaction.put(LOG_FLOOR_TS, floor, db=self._store.meta)
