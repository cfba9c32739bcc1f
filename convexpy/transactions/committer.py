"""The one place where transactions become durable: conflict check, commit timestamp, one LMDB transaction a batch.

For each request in order: does a commit after its `begin_ts`, earlier ones of the same batch included, touch what it
read? Then it is a conflict; else it gets the next timestamp and is applied. The batch is one LMDB transaction and one
sync, so the outcomes may be told only after `commit` has returned.

Invariants:
  1. timestamps only rise, across restarts too: the last one is stored by the LMDB transaction that used it;
  2. an outcome `Committed` is durable, and every earlier commit with it;
  3. a failed LMDB transaction leaves nothing of its batch behind, in the file or in the write log.
"""

from __future__ import annotations

from typing import Any

import msgspec

from convexpy.environment import Environment
from convexpy.limits import (
    LOG_RETENTION_BYTES,
    LOG_RETENTION_SECONDS,
    LOG_TRIM_ROWS_PER_COMMIT,
    WRITE_LOG_KEYS_MAX,
    WRITE_LOG_SECONDS_MAX,
)
from convexpy.storage.keys import decode_ts, encode_ts
from convexpy.storage.lmdb_store import CATALOG_TS, INSTANCE_SECRET, LAST_COMMIT_TS, LmdbStore, StoreError
from convexpy.transactions.commit_messages import CommitRequest, Committed, Conflicted, Refused
from convexpy.transactions.write_log import WriteLog

Outcome = Committed | Conflicted | Refused

_encoder = msgspec.msgpack.Encoder()


class Committer:
    """Validates and applies commit requests. One exists a data folder.

    Args:
        store: writable. An empty one is initialised, which is a commit of its own: a snapshot is never at ts 0.
    """

    def __init__(self, store: LmdbStore, environment: Environment) -> None:
        self._store = store
        self._environment = environment
        self._generation: int | None = None
        self.last_ts = self._initialise()
        self._write_log = WriteLog(self.last_ts, WRITE_LOG_KEYS_MAX)

    def _initialise(self) -> int:
        store = self._store
        with store.environment.begin(write=True) as transaction:
            stored = transaction.get(LAST_COMMIT_TS, db=store.meta)
            if stored is not None:
                return decode_ts(stored)
            ts = self._environment.now_ns()
            transaction.put(LAST_COMMIT_TS, encode_ts(ts), db=store.meta)
            transaction.put(CATALOG_TS, encode_ts(ts), db=store.meta)
            transaction.put(INSTANCE_SECRET, self._environment.entropy(32), db=store.meta)
            return ts

    def commit(self, requests: list[tuple[int, CommitRequest]]) -> list[Outcome]:
        """Commit one batch; durable when this returns.

        Returns:
            One outcome a request, in order; those of commits have rising timestamps.
        """
        outcomes: list[Outcome] = []
        before = self.last_ts
        generation = self._generation
        try:
            with self._store.environment.begin(write=True) as transaction:
                for request_id, request in requests:
                    lost = self._validate(request_id, request)
                    if lost is not None:
                        outcomes.append(lost)
                        continue
                    outcomes.append(Committed(request_id, *self._apply(transaction, request)))
                if self.last_ts != before:
                    transaction.put(LAST_COMMIT_TS, encode_ts(self.last_ts), db=self._store.meta)
                    self._trim_log(transaction)
        except Exception as error:
            self._generation = generation
            self.last_ts = before
            # The log holds keys of commits that never were; forgetting all of it is safe, it only costs retries.
            self._write_log = WriteLog(before, WRITE_LOG_KEYS_MAX)
            if not isinstance(error, StoreError):
                raise
            return [_refused(request_id, error) for request_id, _ in requests]
        self._write_log.forget_before(self._environment.now_ns() - WRITE_LOG_SECONDS_MAX * 10**9)
        return outcomes

    def _validate(self, request_id: int, request: CommitRequest) -> Conflicted | None:
        if request.new_generation is not None:
            # A push may follow only the generation it was computed on; see `generation` of its call.
            if self._generation is not None and request.new_generation <= self._generation:
                return Conflicted(request_id, 0, b"", "a newer push")
        elif request.generation >= 0 and request.generation != self._generation and self._generation is not None:
            return Conflicted(request_id, 0, b"", "a push of new code")
        if request.begin_ts < self._write_log.floor_ts:
            return Conflicted(request_id, 0, b"", "commits older than the write log keeps")
        overlap = self._write_log.first_overlap(request.reads, request.begin_ts)
        if overlap is not None:
            return Conflicted(request_id, overlap.ts, overlap.key, overlap.written_by)
        return None

    def _apply(self, transaction: Any, request: CommitRequest) -> tuple[int, list[bytes]]:
        store = self._store
        ts = max(self.last_ts + 1, self._environment.now_ns())
        stamp = encode_ts(ts)
        put, delete = transaction.put, transaction.delete
        for write in request.documents:
            if write.new is None:
                delete(write.key, db=store.documents)
            else:
                put(write.key, stamp + write.new, db=store.documents)
        for key in request.index_deletes:
            delete(key, db=store.indexes)
        for key in request.index_puts:
            put(key, b"", db=store.indexes)
        put(stamp, _encoder.encode((request.function, request.documents)), db=store.log, append=True)
        if request.is_catalog_change:
            put(CATALOG_TS, stamp, db=store.meta)
        if request.new_generation is not None:
            self._generation = request.new_generation
        keys = [write.key for write in request.documents]
        keys += request.index_puts
        keys += request.index_deletes
        keys += request.index_touches
        self._write_log.append(ts, keys, request.function)
        self.last_ts = ts
        return ts, keys

    def _trim_log(self, transaction: Any) -> None:
        log = self._store.log
        oldest_kept = encode_ts(max(0, self._environment.now_ns() - LOG_RETENTION_SECONDS * 10**9))
        latest = encode_ts(self.last_ts)
        with transaction.cursor(db=log) as cursor:
            for _ in range(LOG_TRIM_ROWS_PER_COMMIT):
                if not cursor.first() or cursor.key() == latest:
                    return
                if cursor.key() >= oldest_kept and _bytes_of(transaction.stat(log)) <= LOG_RETENTION_BYTES:
                    return
                cursor.delete()


def _bytes_of(facts: dict[str, int]) -> int:
    return (facts["branch_pages"] + facts["leaf_pages"] + facts["overflow_pages"]) * facts["psize"]


def _refused(request_id: int, error: Exception) -> Refused:
    text = str(error)
    if "MDB_MAP_FULL" in text:
        reason = "The database file has reached its maximum size."
    elif "No space left" in text or "Input/output error" in text:
        reason = "The disk is full or failing."
    else:
        reason = f"The database refused to write: {text}."
    return Refused(request_id, f"{reason} Nothing of this mutation was stored. Free space, then try again.")
