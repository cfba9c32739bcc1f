"""Reads of a transaction: its snapshot with its own pending writes on top.

Everything that is looked at goes into the read set, exactly as far as it was consumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convexpy.errors import CallEnded
from convexpy.limits import FunctionLimits
from convexpy.storage.keys import ID_BYTES, decode_ts, document_key, is_cut, successor
from convexpy.storage.lmdb_store import StoreError
from convexpy.transactions.catalog import Catalog
from convexpy.transactions.catalog_entries import IndexInfo, TableInfo
from convexpy.transactions.commit_messages import Reads
from convexpy.transactions.index_keys import IndexBounds, cut_group_range, sort_key_of, stored_range
from convexpy.transactions.metering import MeteredTransaction
from convexpy.transactions.past_snapshot import AnySnapshot
from convexpy.transactions.read_set import ReadRange
from convexpy.transactions.system_tables import TABLES
from convexpy.values import unpack

Document = dict[str, Any]


class _Ended:
    """Stands where the parts of a transaction were whose call has ended."""

    def __getattr__(self, name: str) -> Any:
        raise CallEnded


_ENDED: Any = _Ended()


class ReadingTransaction(MeteredTransaction):
    """Documents by id and by range.

    Args:
        snapshot: stays open for the transaction's life; `begin_ts` is its timestamp.
    """

    def __init__(self, snapshot: AnySnapshot, catalog: Catalog, limits: FunctionLimits) -> None:
        super().__init__(limits)
        self.begin_ts = snapshot.ts
        self.catalog = catalog
        self.new_tables: dict[tuple[int, str], TableInfo] = {}
        self._snapshot = snapshot

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
        begun, savepoint = self._writes.writes_so_far, self._writes.savepoint()
        own = self._writes.entries_between(index.keyspace, start, end)
        stored = self._snapshot.index_keys(start, end, descending)
        read = self._open_read(table, start, end, descending)
        group: list[bytes] = []
        for key in _merge(self._without_pending(stored, table, begun), own, descending):
            if group and key[:-ID_BYTES] != group[0][:-ID_BYTES]:
                yield from self._cut_group(table, index, group, bounds, descending, savepoint)
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
            yield from self._cut_group(table, index, group, bounds, descending, savepoint)
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

    def reads(self) -> Reads:
        """Everything looked at so far."""
        return self._reads.merged()

    def end(self) -> None:
        """Close it to whoever keeps it, a query or an iterator of it: each use raises `CallEnded` from now on.

        The snapshot may stay open for others. Without this, its reads would be in nobody's read set, and its writes
        would be lost without a word.
        """
        self._snapshot = self._reads = self._writes = _ENDED

    # --- parts of a read

    def _record_catalog_read(self, table: TableInfo) -> None:
        # A change of its schema or indexes, and its deletion, touch this row, so they conflict with whoever uses it.
        if not table.is_system and (table.namespace, table.name) not in self.new_tables:
            self._reads.add_uncounted(TABLES.prefix + table.row_id)

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

    def _open_read(self, table: TableInfo, start: bytes, end: bytes, descending: bool) -> ReadRange:
        begin = end if descending else start
        read = self._reads.open_range(begin, begin, is_counted=not table.is_system)
        if not table.is_system:
            self._check_range_count()
        return read

    def _without_pending(self, keys: Iterator[bytes], table: TableInfo, begun: int) -> Iterator[bytes]:
        try:
            for key in keys:
                pending = self._writes.pending(table.prefix + key[-ID_BYTES:])
                if pending is None or pending.since >= begun:
                    yield key
        except StoreError:  # the snapshot is closed, with its cursors
            if self._snapshot is _ENDED:
                raise CallEnded from None
            raise

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
        self,
        table: TableInfo,
        index: IndexInfo,
        entries: list[bytes],
        bounds: IndexBounds,
        descending: bool,
        savepoint: int,
    ) -> Iterator[Document]:
        """Entries whose stored keys are equal where they were cut: ordered and filtered by their rows' full keys.

        Args:
            savepoint: as the scan began. A row that has moved since then may have the same entry.
        """
        rows = []
        for entry in entries:
            document = self._document_of_entry(table, index, entry)
            if document is not None:
                full_key = sort_key_of(index, document)
                before = self._writes.replaced_since(savepoint, table.prefix + entry[-ID_BYTES:])
                has_moved = before is not None and (
                    before.packed is None or sort_key_of(index, unpack(before.packed)) != full_key
                )
                if not has_moved and bounds.start <= full_key < bounds.end:
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
