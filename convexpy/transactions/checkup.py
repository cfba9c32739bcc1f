"""Examines a whole database: is every index what its documents say, and does everything else agree with itself?

One pass over the documents looks for each one's entries and counts them; one over the entries counts those that are
there. Where both counts agree nothing is left over; only where they differ each entry is held against its document.
Memory does not grow with the database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from convexpy.storage.keys import ID_BYTES, INDEX_BIT, decode_ts, document_key, keyspace_of
from convexpy.storage.lmdb_store import LmdbStore, Snapshot
from convexpy.transactions.backlog import UNFINISHED_INDEXES, stored_backlog
from convexpy.transactions.catalog import Catalog, load_catalog
from convexpy.transactions.catalog_entries import IndexInfo, TableInfo
from convexpy.transactions.commit_log import decode_commit
from convexpy.transactions.system_tables import SCHEDULED_FUNCTIONS
from convexpy.transactions.write_set import version_of
from convexpy.values import encode_id, unpack

_EVERY_KEY = (b"", b"\xff" * 600)
_ID_END = b"\xff" * (ID_BYTES + 1)


class Problem(NamedTuple):
    """Something that must not be: what, where, and what to do."""

    text: str


class Size(NamedTuple):
    """What one table or index takes: rows or entries, and the bytes of their keys and values."""

    name: str
    rows: int
    data_bytes: int


class Checkup:
    """The examination of one database. Ask for `problems` to the end first; `sizes` are known then."""

    def __init__(self, store: LmdbStore) -> None:
        self._store = store
        self._rows: Counter[int] = Counter()
        self._bytes: Counter[int] = Counter()
        self._expected: Counter[int] = Counter()
        self._catalog = Catalog(0, [], {})
        self.is_backlog_wrong = False

    def problems(self) -> Iterator[Problem]:
        """Everything that is wrong, one by one as it is found."""
        with self._store.snapshot() as snapshot:
            try:
                self._catalog = load_catalog(snapshot)
            except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
                yield Problem(f"The catalog of tables cannot be read ({error!r}). Restore the folder from a backup.")
                return
            yield from self._timestamps(snapshot)
            yield from self._documents(snapshot)
            yield from self._entries(snapshot)
            yield from self._backlog(snapshot)
            yield from self._log(snapshot)

    def sizes(self) -> list[Size]:
        """Tables, each followed by its indexes."""
        found = []
        for table in sorted(self._catalog.by_keyspace.values(), key=lambda table: (table.namespace, table.name)):
            found.append(self._size(self._name_of(table), table.keyspace))
            found += [
                self._size(f"{self._name_of(table)}.{index.name}", index.keyspace) for index in table.indexes.values()
            ]
        return found

    def _size(self, name: str, keyspace: int) -> Size:
        return Size(name, self._rows[keyspace], self._bytes[keyspace])

    def _name_of(self, table: TableInfo) -> str:
        path = self._catalog.component_paths.get(table.namespace, "")
        return f"{path}/{table.name}" if path else table.name

    def _timestamps(self, snapshot: Snapshot) -> Iterator[Problem]:
        if snapshot.ts == 0:
            yield Problem("The database was never initialised. Delete data.mdb, or restore the folder from a backup.")
        if snapshot.catalog_ts > snapshot.ts:
            yield Problem(f"The catalog claims to be of {snapshot.catalog_ts}, after the last commit {snapshot.ts}.")
        if snapshot.log_floor_ts() > snapshot.ts:
            yield Problem(f"The log begins after {snapshot.log_floor_ts()}, after the last commit {snapshot.ts}.")

    def _documents(self, snapshot: Snapshot) -> Iterator[Problem]:
        """Each document can be read, belongs to a table, and has its entry in each of the table's indexes."""
        for key, value in snapshot.document_entries(*_EVERY_KEY, False):
            keyspace, internal_id = keyspace_of(key), key[4:]
            self._rows[keyspace] += 1
            self._bytes[keyspace] += len(key) + len(value)
            table = self._catalog.by_keyspace.get(keyspace)
            if table is None:
                yield Problem(f"Document {key.hex()} belongs to no table (number {keyspace}).")
                continue
            name = f"Document {_id_text(table, internal_id)} of table {self._name_of(table)}"
            if decode_ts(value) > snapshot.ts:
                yield Problem(f"{name} was written at {decode_ts(value)}, after the last commit {snapshot.ts}.")
            expected = _entries_of(table, internal_id, value)
            if expected is None:
                yield Problem(f"{name} cannot be read. Restore the folder from a backup.")
                continue
            if unpack(value[8:]).get("_id") != _id_text(table, internal_id):
                yield Problem(f"{name} has another document's content. Restore the folder from a backup.")
            for index in table.indexes.values():
                entry = expected.get(index.keyspace)
                if entry is None:
                    continue
                self._expected[index.keyspace] += 1
                if not snapshot.has_entry(entry) and index.state == "ready":
                    yield Problem(f"{name} is missing in index {index.name}. Drop the index and add it again.")

    def _entries(self, snapshot: Snapshot) -> Iterator[Problem]:
        """No index has more entries than its documents call for."""
        for key in snapshot.index_keys(*_EVERY_KEY, False):
            keyspace = keyspace_of(key)
            self._rows[keyspace] += 1
            self._bytes[keyspace] += len(key)
        known = self._catalog.by_index_keyspace
        for keyspace, count in sorted(self._rows.items()):
            if not keyspace & INDEX_BIT:
                continue
            table = known.get(keyspace)
            if table is None:
                yield Problem(
                    f"{count} entries are left of an index that was dropped (number {keyspace & ~INDEX_BIT})."
                )
                continue
            index = next(index for index in table.indexes.values() if index.keyspace == keyspace)
            if count > self._expected[keyspace] or index.state != "ready":
                yield from self._left_over(snapshot, table, index)

    def _backlog(self, snapshot: Snapshot) -> Iterator[Problem]:
        """As many scheduled functions are unfinished as was counted."""
        counted = stored_backlog(snapshot.last_commit())
        indexes = SCHEDULED_FUNCTIONS.indexes
        there = sum(self._rows[indexes[name].keyspace] for name in UNFINISHED_INDEXES)
        if counted is not None and counted != there:
            self.is_backlog_wrong = True
            yield Problem(
                f"{there} scheduled functions are not finished, but {counted} were counted. The server counts anew "
                f"when it starts."
            )

    def _left_over(self, snapshot: Snapshot, table: TableInfo, index: IndexInfo) -> Iterator[Problem]:
        for key in snapshot.index_keys(index.prefix, index.prefix + b"\xff" * 600, False):
            internal_id = key[-ID_BYTES:]
            value = snapshot.document(document_key(table.keyspace, internal_id))
            where = f"Index {index.name} of table {self._name_of(table)}"
            if value is None:
                yield Problem(
                    f"{where} has an entry of document {_id_text(table, internal_id)}, which does not exist. "
                    f"Drop the index and add it again."
                )
            elif (_entries_of(table, internal_id, value) or {}).get(index.keyspace) != key:
                yield Problem(
                    f"{where} has an entry of document {_id_text(table, internal_id)} in a place where it does not "
                    f"belong. Drop the index and add it again."
                )

    def _log(self, snapshot: Snapshot) -> Iterator[Problem]:
        """Readable, in order, and about nothing that is still to come. Rows that it says are there are there."""
        last: dict[bytes, Any] = {}
        for ts, value in snapshot.log_entries(0, 2**63):
            if ts > snapshot.ts:
                yield Problem(f"The log has a commit of {ts}, after the last commit {snapshot.ts}.")
            try:
                commit = decode_commit(value)
            except (msgspec.MsgspecError, UnicodeError) as error:
                yield Problem(f"The log's commit of {ts} cannot be read ({error!r}).")
                continue
            last = {write.key: (ts, write.new) for write in commit.documents}
        for key, (ts, new) in last.items():
            stored = snapshot.document(key)
            if (None if stored is None else stored[8:]) != new:
                yield Problem(f"Document {key.hex()} is not what its last commit, of {ts}, has made it.")


def _entries_of(table: TableInfo, internal_id: bytes, value: bytes) -> dict[int, bytes] | None:
    """The entries that a stored document calls for, by index; None: it cannot be read."""
    try:
        return version_of(table, internal_id, value[8:], unpack(value[8:])).entries
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError):
        return None


def _id_text(table: TableInfo, internal_id: bytes) -> str:
    return encode_id(table.number, internal_id)
