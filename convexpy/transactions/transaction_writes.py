"""Writes of a transaction: visible to its later reads at once, and to nobody else before it is committed."""

from __future__ import annotations

import hashlib
import math

from convexpy.limits import FunctionLimits
from convexpy.storage.keys import document_key
from convexpy.transactions.catalog import Catalog
from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.past_snapshot import AnySnapshot
from convexpy.transactions.transaction_reads import Document, ReadingTransaction
from convexpy.transactions.write_set import ABSENT, Version, version_of
from convexpy.values import encode_id, new_internal_id, pack, unpack


class WritingTransaction(ReadingTransaction):
    """Documents inserted, replaced and deleted.

    Args:
        seed: 16 bytes; ids of inserted documents come from it.
        now_ms: the run's instant; creation times begin at it or at the snapshot, whichever is later.
    """

    def __init__(
        self, snapshot: AnySnapshot, catalog: Catalog, limits: FunctionLimits, seed: bytes, now_ms: int
    ) -> None:
        super().__init__(snapshot, catalog, limits)
        self._seed = seed
        self._ids_made = 0
        self._now_ms = now_ms
        self._next_creation_time = float(max(now_ms, snapshot.ts // 1_000_000 + 1))

    def new_id(self, table: TableInfo) -> bytes:
        """An id that no document has had, in rough order of time so that neighbours in time are neighbours on disk."""
        self._ids_made += 1
        fresh = hashlib.blake2b(self._ids_made.to_bytes(4, "big"), key=self._seed, digest_size=8).digest()
        return new_internal_id(fresh, self._now_ms)

    def insert(self, table: TableInfo, fields: Document, internal_id: bytes | None = None) -> str:
        """Add a document; returns its id. `fields` holds neither `_id` nor `_creationTime`.

        An id that a document has, or had before this transaction deleted it, must not be given again.
        """
        if internal_id is None:
            internal_id = self.new_id(table)
        key = document_key(table.keyspace, internal_id)
        assert self._writes.pending(key) is None and self._snapshot.document(key) is None, f"id {key.hex()} is taken"
        document_id = encode_id(table.number, internal_id)
        creation_time = self._next_creation_time
        self._next_creation_time = math.nextafter(creation_time, math.inf)
        self._write(table, internal_id, {**fields, "_id": document_id, "_creationTime": creation_time}, None)
        return document_id

    def replace(self, table: TableInfo, internal_id: bytes, document: Document, before: Document | None = None) -> None:
        """Store a new version of a document, `_id` and `_creationTime` included; an equal one writes nothing.

        Args:
            before: what `get` has just given, and nobody has changed: it need not be read again.
        """
        self._write(table, internal_id, document, before)

    def delete(self, table: TableInfo, internal_id: bytes, before: Document | None = None) -> None:
        """Remove a document; `before`: see `replace`."""
        self._record_catalog_read(table)
        stored = self._stored_version(table, internal_id, before)
        self._check_write_limits(table, 0)
        self._writes.put(table, internal_id, stored, ABSENT)

    def _write(self, table: TableInfo, internal_id: bytes, document: Document, before: Document | None) -> None:
        self._record_catalog_read(table)
        packed = pack(document)
        key = document_key(table.keyspace, internal_id)
        pending = self._writes.pending(key)
        stored = self._stored_version(table, internal_id, before) if pending is None else pending.stored
        current = stored if pending is None else pending.current
        if current.packed == packed:
            return
        like = None if before is None or current.packed is None else (current, before)
        self._check_write_limits(table, len(packed))
        self._writes.put(table, internal_id, stored, version_of(table, internal_id, packed, document, like))

    def _stored_version(self, table: TableInfo, internal_id: bytes, fields: Document | None = None) -> Version:
        key = document_key(table.keyspace, internal_id)
        pending = self._writes.pending(key)
        if pending is not None:
            return pending.stored
        self._reads.add_uncounted(key)  # an id taken by another commit meanwhile is a conflict
        raw = self._snapshot.document(key)
        if raw is None:
            return ABSENT
        packed = raw[8:]
        return version_of(table, internal_id, packed, unpack(packed) if fields is None else fields)
