"""What a transaction would write, visible to its own reads, with savepoints to take part of it back."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, NamedTuple

from convexpy.limits import SORT_KEY_BYTES_MAX
from convexpy.storage.keys import document_key
from convexpy.transactions.catalog_entries import PendingSchema, TableInfo
from convexpy.transactions.commit_messages import DocumentWrite
from convexpy.transactions.index_keys import key_of_fields
from convexpy.values import UNSET, equal, sort_key, unpack


class Version(NamedTuple):
    """One state of a document: its packed bytes (None: absent) and its entries, by index keyspace."""

    packed: bytes | None
    entries: dict[int, bytes]


ABSENT = Version(None, {})


class PendingDocument:
    """A document that this transaction has written: as the snapshot has it, and as it is now.

    `since` counts writes: those before the first one to this document. A scan that was already under way then has not
    seen the document among the transaction's own.
    """

    __slots__ = ("current", "is_rewritten", "since", "stored", "table")

    def __init__(self, table: TableInfo, stored: Version, since: int) -> None:
        self.table, self.stored, self.current, self.since = table, stored, stored, since
        self.is_rewritten = False


def _are_equal(one: Version, other: Version) -> bool:
    """Whether two versions hold the same value, be it with fields in another order, or with 3.0 for 3."""
    return one.packed is not None and other.packed is not None and equal(unpack(one.packed), unpack(other.packed))


def version_of(
    table: TableInfo,
    internal_id: bytes,
    packed: bytes,
    fields: dict[str, Any],
    like: tuple[Version, dict[str, Any]] | None = None,
) -> Version:
    """A present document with its entry in each index of its table.

    Args:
        like: another version of it, with its fields: entries over fields that are the same objects are the same.
    """
    entries: dict[int, bytes] = {}
    if like is not None and like[1]["_creationTime"] is not fields["_creationTime"]:
        like = None
    created = sort_key(fields["_creationTime"])  # the same part of each key
    for index in table.indexes.values():
        if like is not None and _has_same(index.top_fields, fields, like[1]):
            entry = like[0].entries.get(index.keyspace)
            if entry is not None:
                entries[index.keyspace] = entry
        elif not (index.is_sparse and index.fields[0] not in fields):
            key = key_of_fields(index, fields) + created
            entries[index.keyspace] = index.prefix + key[:SORT_KEY_BYTES_MAX] + internal_id
    return Version(packed, entries)


def _has_same(names: tuple[str, ...], fields: dict[str, Any], others: dict[str, Any]) -> bool:
    for name in names:  # noqa: SIM110  (a generator costs more than the question)
        if fields.get(name, UNSET) is not others.get(name, UNSET):
            return False
    return True


class WriteSet:
    """Pending documents by key, and their index entries in key order."""

    def __init__(self) -> None:
        self._pending: dict[bytes, PendingDocument] = {}
        self._entries: dict[int, list[bytes]] = {}
        self._undo: list[tuple[bytes, Version | None]] = []
        self.writes_so_far = 0  # never falls, unlike `documents_written`, which a rollback takes back
        self.bytes_written = 0
        self.documents_written = 0

    def __len__(self) -> int:
        """Documents that are written, those of the platform too."""
        return len(self._pending)

    def pending(self, key: bytes) -> PendingDocument | None:
        """The pending state of one document, if this transaction has written it."""
        return self._pending.get(key)

    def put(self, table: TableInfo, internal_id: bytes, stored: Version, new: Version) -> None:
        """Write one document version; `stored` is what the snapshot has (used at the first write of a document)."""
        key = document_key(table.keyspace, internal_id)
        document = self._pending.get(key)
        if document is None:
            document = self._pending[key] = PendingDocument(table, stored, self.writes_so_far)
            self._undo.append((key, None))
        else:
            self._undo.append((key, document.current))
            document.is_rewritten = True
        self._replace_entries(document, new, was_pending=self._undo[-1][1] is not None)
        self.writes_so_far += 1
        self._count(document, 1)

    def _count(self, document: PendingDocument, times: int) -> None:
        """Rows of the platform's tables are bounded by what they stand for; functions are not charged for them."""
        if not document.table.is_system:
            self.documents_written += times
            self.bytes_written += times * len(document.current.packed or b"")

    def restart_count(self) -> None:
        """Count anew: another function of the same transaction has bounds of its own."""
        self.documents_written = self.bytes_written = 0

    def _replace_entries(self, document: PendingDocument, new: Version, was_pending: bool) -> None:
        if was_pending:
            for keyspace, entry in document.current.entries.items():
                ordered = self._entries[keyspace]
                del ordered[bisect_left(ordered, entry)]
        for keyspace, entry in new.entries.items():
            insort(self._entries.setdefault(keyspace, []), entry)
        document.current = new

    def entries_between(self, keyspace: int, start: bytes, end: bytes) -> list[bytes]:
        """This transaction's own entries of one index within a stored key range, ascending."""
        ordered = self._entries.get(keyspace)
        if not ordered:
            return []
        return ordered[bisect_left(ordered, start) : bisect_left(ordered, end)]

    def documents_between(self, start: bytes, end: bytes) -> list[bytes]:
        """Keys of pending documents that are present, within a document key range, ascending."""
        if not self._pending:
            return []
        return sorted(
            key for key, document in self._pending.items() if start <= key < end and document.current.packed is not None
        )

    def under_pending_schemas(self) -> Iterator[tuple[TableInfo, PendingSchema, dict[str, Any]]]:
        """Documents that are there and not as they are stored, in tables for which a push has another schema."""
        for document in self._pending.values():
            pending, packed = document.table.pending_schema, document.current.packed
            if pending is not None and packed is not None and packed != document.stored.packed:
                yield document.table, pending, unpack(packed)

    def savepoint(self) -> int:
        """A mark that `rollback` can return to."""
        return len(self._undo)

    def replaced_since(self, savepoint: int, key: bytes) -> Version | None:
        """A document as it was at a savepoint, or None where nothing has written it since. Visits each write."""
        for written, previous in self._undo[savepoint:]:
            if written == key:
                return self._pending[key].stored if previous is None else previous
        return None

    def rollback(self, savepoint: int) -> None:
        """Take back every write after the savepoint."""
        while len(self._undo) > savepoint:
            key, previous = self._undo.pop()
            document = self._pending[key]
            self._count(document, -1)
            if previous is None:
                for keyspace, entry in document.current.entries.items():
                    ordered = self._entries[keyspace]
                    del ordered[bisect_left(ordered, entry)]
                del self._pending[key]
            else:
                self._replace_entries(document, previous, was_pending=True)

    def changes(self) -> tuple[list[DocumentWrite], list[bytes], list[bytes], list[bytes]]:
        """Net effect against the snapshot: documents, index puts, deletes, and entries that stay where they are."""
        documents: list[DocumentWrite] = []
        puts: list[bytes] = []
        deletes: list[bytes] = []
        touches: list[bytes] = []
        for key, document in self._pending.items():
            stored, current = document.stored, document.current
            if stored.packed == current.packed or (document.is_rewritten and _are_equal(stored, current)):
                continue
            documents.append(DocumentWrite(key, current.packed, stored.packed))
            for keyspace, entry in current.entries.items():
                if stored.entries.get(keyspace) == entry:
                    touches.append(entry)
                else:
                    puts.append(entry)
            deletes.extend(
                entry for keyspace, entry in stored.entries.items() if current.entries.get(keyspace) != entry
            )
        return documents, puts, deletes, touches
