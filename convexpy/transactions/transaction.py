"""One transaction: reads at a snapshot, pending writes on top, and the request that would commit it.

It is built in layers, each of which knows those before it only: what is counted (metering.py), reads
(transaction_reads.py), writes (transaction_writes.py), the platform's work on whole tables (table_upkeep.py). Here is
what concerns it as a whole. Schemas, components' names and function semantics are above this room: a namespace is an
opaque number here.
"""

from __future__ import annotations

from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.commit_messages import CommitRequest
from convexpy.transactions.system_tables import CATALOG_KEYSPACES
from convexpy.transactions.table_upkeep import UpkeepTransaction
from convexpy.transactions.transaction_reads import Document as Document

Savepoint = tuple[int, dict[tuple[int, str], TableInfo]]


class Transaction(UpkeepTransaction):
    """Reads and writes of one function run, nested calls included."""

    def savepoint(self) -> Savepoint:
        """A mark for `rollback`: the begin of a nested call."""
        return self._writes.savepoint(), dict(self.new_tables)

    def rollback(self, savepoint: Savepoint) -> None:
        """Take back the writes after a savepoint; what was read stays read."""
        self._writes.rollback(savepoint[0])
        self.new_tables = savepoint[1]

    def without_writes(self) -> Transaction:
        """The same snapshot as it was before this transaction wrote.

        What is read there is in nobody's read set, so it has bounds of its own, as a query's run has.
        """
        stale = Transaction(self._snapshot, self.catalog, self.limits, self._seed, self._now_ms)
        stale.is_unlimited = self.is_unlimited
        return stale

    def commit_request(self, function: str, generation: int) -> CommitRequest | None:
        """What the committer needs; None where nothing would change."""
        documents, puts, deletes, touches = self._writes.changes()
        documents += self._extra_documents
        deletes += self._extra_deletes
        if not (documents or puts or deletes or self._unread_puts):
            return None
        is_catalog_change = any(int.from_bytes(write.key[:4], "big") in CATALOG_KEYSPACES for write in documents)
        return CommitRequest(
            self.begin_ts,
            generation,
            function,
            self.reads(),
            documents,
            puts,
            deletes,
            touches,
            is_catalog_change,
            unread_puts=self._unread_puts,
        )
