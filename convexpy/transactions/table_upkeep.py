"""What the platform alone does with whole tables and indexes: fill, sweep, check against another schema.

Other than functions' reads and writes it passes by the documents' versions: index entries whose documents stay as they
are, documents whose table is gone.
"""

from __future__ import annotations

from collections.abc import Iterator

from convexpy.limits import FunctionLimits
from convexpy.storage.keys import ID_BYTES, keyspace_prefix, prefix_end, successor
from convexpy.transactions.catalog import Catalog
from convexpy.transactions.catalog_entries import PendingSchema, TableInfo
from convexpy.transactions.commit_messages import DocumentWrite
from convexpy.transactions.past_snapshot import AnySnapshot
from convexpy.transactions.transaction_reads import Document
from convexpy.transactions.transaction_writes import WritingTransaction
from convexpy.values import unpack


class UpkeepTransaction(WritingTransaction):
    """Chunks of stored documents, and writes of single keys."""

    def __init__(
        self, snapshot: AnySnapshot, catalog: Catalog, limits: FunctionLimits, seed: bytes, now_ms: int
    ) -> None:
        super().__init__(snapshot, catalog, limits, seed, now_ms)
        self._unread_puts: list[bytes] = []
        self._extra_deletes: list[bytes] = []
        self._extra_documents: list[DocumentWrite] = []

    @property
    def snapshot(self) -> AnySnapshot:
        """What is stored, without this transaction's writes; what is read there is in no read set."""
        return self._snapshot

    def stored_chunk(
        self, table: TableInfo, after: bytes, rows_max: int, bytes_max: int
    ) -> tuple[list[tuple[bytes, Document]], bytes | None]:
        """Stored documents of a table with their ids, after an id, in id order; the last id where there are more.

        Each is recorded as read, the gaps between them are not: a document that somebody adds there meanwhile is no
        conflict, for its writer has seen what this chunk is read for in the table's catalog row.
        """
        self._record_catalog_read(table)
        found: list[tuple[bytes, Document]] = []
        read_bytes = 0
        last = b""
        start = table.prefix + (successor(after) if after else b"")
        for key, raw in self._snapshot.document_entries(start, prefix_end(table.prefix), False):
            if len(found) == rows_max or (found and read_bytes + len(raw) > bytes_max):
                return found, last
            self._reads.add_point(key)
            read_bytes += len(raw)
            last = key[-ID_BYTES:]
            found.append((last, unpack(raw[8:])))
        return found, None

    def documents_under_pending_schemas(self) -> Iterator[tuple[TableInfo, PendingSchema, Document]]:
        """What this transaction would leave in tables for which a push under way has another schema."""
        return self._writes.under_pending_schemas()

    def add_index_entries(self, entries: list[bytes]) -> None:
        """Put entries of an index that is being built and that nobody can read yet; their documents stay as they are.

        So no transaction and no query can depend on them, and neither the committer nor the server remembers them.
        """
        self._unread_puts.extend(entries)

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
