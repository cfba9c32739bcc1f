"""One transaction: reads at a snapshot, pending writes on top, and the request that would commit it.

Everything it looks at goes into its read set, exactly as far as it was consumed; everything it writes is visible to
its later reads and to nobody else. Schemas, components' names and function semantics are above this room: a namespace
is an opaque number here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from convexpy.errors import LimitExceeded
from convexpy.limits import SMALL_TRANSACTION_SHARE, FunctionLimits
from convexpy.storage.keys import (
    ID_BYTES,
    decode_ts,
    document_key,
    is_cut,
    keyspace_prefix,
    prefix_end,
    successor,
)
from convexpy.transactions.catalog import Catalog
from convexpy.transactions.catalog_entries import IndexInfo, PendingSchema, TableInfo
from convexpy.transactions.commit_messages import CommitRequest, DocumentWrite, Reads
from convexpy.transactions.index_keys import IndexBounds, cut_group_range, sort_key_of, stored_range
from convexpy.transactions.past_snapshot import AnySnapshot
from convexpy.transactions.read_set import ReadRange, ReadSet
from convexpy.transactions.system_tables import CATALOG_KEYSPACES, TABLES
from convexpy.transactions.write_set import ABSENT, Version, WriteSet, version_of
from convexpy.values import encode_id, new_internal_id, pack, unpack

Document = dict[str, Any]


class Usage(Struct):
    """What a transaction has used of its limits."""

    documents_read: int = 0
    bytes_read: int = 0


class Transaction:
    """Reads and writes of one function run, nested calls included.

    Args:
        snapshot: stays open for the transaction's life; `begin_ts` is its timestamp.
        seed: 16 bytes; ids of inserted documents come from it.
        now_ms: the run's instant; creation times begin at it or at the snapshot, whichever is later.
    """

    def __init__(
        self, snapshot: AnySnapshot, catalog: Catalog, limits: FunctionLimits, seed: bytes, now_ms: int
    ) -> None:
        self.begin_ts = snapshot.ts
        self.catalog = catalog
        self.usage = Usage()
        self.is_unlimited = False
        self._snapshot = snapshot
        self.limits = limits
        self._seed = seed
        self._ids_made = 0
        self._now_ms = now_ms
        self._next_creation_time = float(max(now_ms, snapshot.ts // 1_000_000 + 1))
        self._reads = ReadSet()
        self._writes = WriteSet()
        self._extra_puts: list[bytes] = []
        self._extra_deletes: list[bytes] = []
        self._extra_documents: list[DocumentWrite] = []
        self.new_tables: dict[tuple[int, str], TableInfo] = {}
        self._ranges_before = self._bytes_before = 0  # of functions that had bounds of their own

    # --- reads

    def get(self, table: TableInfo, internal_id: bytes) -> Document | None:
        """Read one document; an absent one is recorded as read too."""
        self._record_catalog_read(table)
        key = document_key(table.keyspace, internal_id)
        if table.is_system:
            self._reads.add_uncounted(key)
        else:
            self._reads.add_point(key)
            self._check_range_count()
        pending = self._writes.pending(key)
        if pending is not None:
            return self._read_packed(table, pending.current.packed)
        raw = self._snapshot.document(key)
        return None if raw is None else self._read_packed(table, raw[8:])

    def commit_ts_of(self, table: TableInfo, internal_id: bytes) -> int | None:
        """Timestamp of the commit that last wrote a stored document."""
        raw = self._snapshot.document(document_key(table.keyspace, internal_id))
        return None if raw is None else decode_ts(raw)

    def _read_packed(self, table: TableInfo, packed: bytes | None) -> Document | None:
        if packed is None:
            return None
        if not table.is_system:
            if not self.is_unlimited:
                self._check_read_limits(len(packed))
            usage = self.usage
            usage.documents_read += 1
            usage.bytes_read += len(packed)
        document: Document = unpack(packed)
        return document

    def _check_read_limits(self, size: int) -> None:
        """Refuse to read one document more."""
        limits, usage = self.limits, self.usage
        if usage.documents_read >= limits.documents_read:
            raise LimitExceeded(
                f"Too many documents read in a single function execution (limit: {limits.documents_read}). "
                f"Consider using smaller limits in your queries, paginating your queries, or using indexed queries "
                f"with a selective index range expression."
            )
        if usage.bytes_read + size > limits.bytes_read:
            raise LimitExceeded(
                f"Too many bytes read in a single function execution (limit: {limits.bytes_read} bytes). "
                f"Consider using smaller limits in your queries, paginating your queries, or using indexed queries "
                f"with a selective index range expression."
            )

    def _check_range_count(self) -> None:
        most = self.limits.ranges_read + self._ranges_before
        # Counted roughly first: to merge what was read costs more than to read.
        if self._reads.range_count > most and not self.is_unlimited and self._reads.merged_count > most:
            raise LimitExceeded(
                f"Too many reads in a single function execution (limit: {self.limits.ranges_read}). "
                f"Read neighbouring documents with one index range instead of one by one."
            )

    def scan(
        self, table: TableInfo, index: IndexInfo, bounds: IndexBounds, descending: bool = False
    ) -> Iterator[Document]:
        """Documents of one index range, in index order or its reverse.

        Nothing is read before the first row is asked for, and the read set covers just what was consumed. A caller may
        write while it iterates: what it changes in place comes with its new fields, what it moves, deletes or adds
        does not come any more, so no row comes twice.
        """
        self._record_catalog_read(table)
        start, end = stored_range(index.prefix, bounds)
        begun = self._writes.writes_so_far
        own = self._writes.entries_between(index.keyspace, start, end)
        stored = self._snapshot.index_keys(start, end, descending)
        read = self._open_read(table, start, end, descending)
        group: list[bytes] = []
        for key in _merge(self._without_pending(stored, table, begun), own, descending):
            if group and key[:-ID_BYTES] != group[0][:-ID_BYTES]:
                yield from self._cut_group(table, index, group, bounds, descending)
                group = []
            if is_cut(key):
                # The whole group: a row that is not there yet may come before this one, whatever its id.
                first, after = cut_group_range(key)
                read.start, read.end = (max(start, first), end) if descending else (start, min(end, after))
                group.append(key)
                continue
            _consume(read, key, descending)
            document = self._document_of_entry(table, index, key)
            if document is not None:
                yield document
        if group:
            yield from self._cut_group(table, index, group, bounds, descending)
        read.start, read.end = start, end

    def scan_by_id(self, table: TableInfo, start: bytes, end: bytes, descending: bool = False) -> Iterator[Document]:
        """Documents with `start <= id < end`, in id order or its reverse."""
        self._record_catalog_read(table)
        first, last = table.prefix + start, table.prefix + end
        begun = self._writes.writes_so_far
        own = self._writes.documents_between(first, last)
        stored = (key for key, _ in self._snapshot.document_entries(first, last, descending))
        read = self._open_read(table, first, last, descending)
        for key in _merge(self._without_pending(stored, table, begun), own, descending):
            _consume(read, key, descending)
            document = self._document_of_entry(table, None, key)
            if document is not None:
                yield document
        read.start, read.end = first, last

    def _open_read(self, table: TableInfo, start: bytes, end: bytes, descending: bool) -> ReadRange:
        begin = end if descending else start
        read = self._reads.open_range(begin, begin, is_counted=not table.is_system)
        if not table.is_system:
            self._check_range_count()
        return read

    def _without_pending(self, keys: Iterator[bytes], table: TableInfo, begun: int) -> Iterator[bytes]:
        for key in keys:
            pending = self._writes.pending(table.prefix + key[-ID_BYTES:])
            if pending is None or pending.since >= begun:
                yield key

    def _document_of_entry(self, table: TableInfo, index: IndexInfo | None, entry: bytes) -> Document | None:
        """The row of an entry of `index`, or of a document key; None where this transaction has taken it away."""
        key = table.prefix + entry[-ID_BYTES:]
        pending = self._writes.pending(key)
        if pending is not None:
            current = pending.current
            is_moved = index is not None and current.entries.get(index.keyspace) != entry
            return None if is_moved else self._read_packed(table, current.packed)
        raw = self._snapshot.document(key)
        return None if raw is None else self._read_packed(table, raw[8:])  # None: its insert was rolled back

    def _cut_group(
        self, table: TableInfo, index: IndexInfo, entries: list[bytes], bounds: IndexBounds, descending: bool
    ) -> Iterator[Document]:
        """Entries whose stored keys are equal where they were cut: ordered and filtered by their rows' full keys."""
        rows = []
        for entry in entries:
            document = self._document_of_entry(table, index, entry)
            if document is not None:
                full_key = sort_key_of(index, document)
                if bounds.start <= full_key < bounds.end:
                    rows.append((full_key, entry, document))
        rows.sort(key=lambda row: row[:2], reverse=descending)
        begun = self._writes.writes_so_far
        for full_key, entry, document in rows:
            if self._writes.writes_so_far == begun:
                yield document
            elif (current := self._current_document(table, entry)) and sort_key_of(index, current) == full_key:
                yield current

    def _current_document(self, table: TableInfo, entry: bytes) -> Document | None:
        """A row that was read already, as the writes of whoever iterates have left it."""
        key = table.prefix + entry[-ID_BYTES:]
        pending = self._writes.pending(key)
        packed = (self._snapshot.document(key) or b"")[8:] if pending is None else pending.current.packed
        return unpack(packed) if packed else None

    # --- writes

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

    def _record_catalog_read(self, table: TableInfo) -> None:
        # A change of its schema or indexes, and its deletion, touch this row, so they conflict with whoever uses it.
        if not table.is_system and (table.namespace, table.name) not in self.new_tables:
            self._reads.add_uncounted(TABLES.prefix + table.row_id)

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

    def _check_write_limits(self, table: TableInfo, size: int) -> None:
        """Refuse one write more, before it is made: a function that catches the error has not got round the bound."""
        if self.is_unlimited or table.is_system:
            return
        limits, writes = self.limits, self._writes
        if writes.documents_written >= limits.documents_written:
            raise LimitExceeded(
                f"Too many writes in a single function execution (limit: {limits.documents_written}). "
                f"Split the work over several mutations, for example with ctx.scheduler.run_after(0, …)."
            )
        if writes.bytes_written + size > limits.bytes_written:
            raise LimitExceeded(
                f"Too many bytes written in a single function execution (limit: {limits.bytes_written} bytes). "
                f"Split the work over several mutations, for example with ctx.scheduler.run_after(0, …)."
            )

    # --- upkeep of tables and indexes, by the platform only

    @property
    def snapshot(self) -> AnySnapshot:
        """What is stored, without this transaction's writes; what is read there is in no read set."""
        return self._snapshot

    def stored_chunk(
        self, table: TableInfo, after: bytes, rows_max: int, bytes_max: int
    ) -> tuple[list[Document], bytes | None]:
        """Stored documents of a table after an id, in id order, and the last one's id where there are more.

        Each is recorded as read, the gaps between them are not: a document that somebody adds there meanwhile is no
        conflict, for its writer has seen what this chunk is read for in the table's catalog row.
        """
        self._record_catalog_read(table)
        found: list[Document] = []
        read_bytes = 0
        last = b""
        start = table.prefix + (successor(after) if after else b"")
        for key, raw in self._snapshot.document_entries(start, prefix_end(table.prefix), False):
            if len(found) == rows_max or (found and read_bytes + len(raw) > bytes_max):
                return found, last
            self._reads.add_point(key)
            read_bytes += len(raw)
            last = key[-ID_BYTES:]
            found.append(unpack(raw[8:]))
        return found, None

    def documents_under_pending_schemas(self) -> Iterator[tuple[TableInfo, PendingSchema, Document]]:
        """What this transaction would leave in tables for which a push under way has another schema."""
        return self._writes.under_pending_schemas()

    def add_index_entries(self, entries: list[bytes]) -> None:
        """Put entries of an index that is being built, whose documents stay as they are."""
        self._extra_puts.extend(entries)

    def drop_index_entries(self, keyspace: int, limit: int) -> bool:
        """Delete at most `limit` entries of an index that no table has any more; whether there are more."""
        prefix = keyspace_prefix(keyspace)
        for entry in self._snapshot.index_keys(prefix, prefix_end(prefix), False):
            if len(self._extra_deletes) == limit:
                return True
            self._extra_deletes.append(entry)
        return False

    def drop_documents(self, keyspace: int, limit: int, bytes_max: int) -> bool:
        """Delete at most `limit` documents of a table that was deleted; whether there are more."""
        prefix = keyspace_prefix(keyspace)
        dropped_bytes = 0
        for key, raw in self._snapshot.document_entries(prefix, prefix_end(prefix), False):
            if len(self._extra_documents) == limit or dropped_bytes > bytes_max:
                return True
            dropped_bytes += len(raw)
            self._extra_documents.append(DocumentWrite(key, None, raw[8:]))
        return False

    # --- parts and whole

    def savepoint(self) -> tuple[int, dict[tuple[int, str], TableInfo]]:
        """A mark for `rollback`: the begin of a nested call."""
        return self._writes.savepoint(), dict(self.new_tables)

    def rollback(self, savepoint: tuple[int, dict[tuple[int, str], TableInfo]]) -> None:
        """Take back the writes after a savepoint; what was read stays read."""
        self._writes.rollback(savepoint[0])
        self.new_tables = savepoint[1]

    @property
    def is_small(self) -> bool:
        """Whether all of its functions together are far from the bounds of one."""
        limits, writes = self.limits, self._writes
        return (
            self._reads.range_count < limits.ranges_read * SMALL_TRANSACTION_SHARE
            and writes.writes_so_far < limits.documents_written * SMALL_TRANSACTION_SHARE
            and self._bytes_before + writes.bytes_written < limits.bytes_written * SMALL_TRANSACTION_SHARE
        )

    @property
    def has_written(self) -> bool:
        """Whether anything is written and not taken back, be it a row of the platform."""
        return len(self._writes) > 0

    def restart_usage(self) -> None:
        """Begin with nothing used, for another function of the same transaction."""
        self.usage = Usage()
        self._ranges_before = self._reads.range_count
        self._bytes_before += self._writes.bytes_written
        self._writes.restart_count()

    @property
    def documents_written(self) -> int:
        return self._writes.documents_written

    @property
    def bytes_written(self) -> int:
        return self._writes.bytes_written

    @property
    def ranges_opened(self) -> int:
        """Ranges and single documents looked at so far, each time counted: never below `ranges_read`."""
        return self._reads.range_count - self._ranges_before

    @property
    def ranges_read(self) -> int:
        """Disjoint ranges and single documents looked at so far."""
        return max(0, self._reads.merged_count - self._ranges_before)

    def without_writes(self) -> Transaction:
        """The same snapshot as it was before this transaction wrote.

        What is read there is in nobody's read set, so it has bounds of its own, as a query's run has.
        """
        stale = Transaction(self._snapshot, self.catalog, self.limits, self._seed, self._now_ms)
        stale.is_unlimited = self.is_unlimited
        return stale

    def reads(self) -> Reads:
        """Everything looked at so far."""
        return self._reads.merged()

    def commit_request(self, function: str, generation: int) -> CommitRequest | None:
        """What the committer needs; None where nothing would change."""
        documents, puts, deletes, touches = self._writes.changes()
        documents += self._extra_documents
        puts += self._extra_puts
        deletes += self._extra_deletes
        if not documents and not puts and not deletes:
            return None
        is_catalog_change = any(int.from_bytes(write.key[:4], "big") in CATALOG_KEYSPACES for write in documents)
        return CommitRequest(
            self.begin_ts, generation, function, self.reads(), documents, puts, deletes, touches, is_catalog_change
        )


def _consume(read: Any, key: bytes, descending: bool) -> None:
    if descending:
        read.start = key
    else:
        read.end = successor(key)


def _merge(stored: Iterator[bytes], own: list[bytes], descending: bool) -> Iterator[bytes]:
    """Two ordered key streams as one, without reading ahead in `stored` more than one key."""
    if not own:
        yield from stored
        return
    position = len(own) - 1 if descending else 0
    step = -1 if descending else 1
    for key in stored:
        while 0 <= position < len(own) and (own[position] > key if descending else own[position] < key):
            yield own[position]
            position += step
        yield key
    while 0 <= position < len(own):
        yield own[position]
        position += step
