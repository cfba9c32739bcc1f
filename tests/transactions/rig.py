"""A database in this process: a real LMDB file and a real committer, with a clock that the test moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convexpy.limits import MAP_BYTES, FunctionLimits
from convexpy.storage.lmdb_store import LmdbStore, Snapshot
from convexpy.transactions.catalog import CatalogCache
from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.commit_log import LmdbCommitLog
from convexpy.transactions.commit_messages import CommitRequest, Committed, Conflicted, Refused
from convexpy.transactions.committer import Committer
from convexpy.transactions.index_keys import ABOVE, IndexBounds
from convexpy.transactions.system_tables import TABLES
from convexpy.transactions.tables import change_indexes, ensure_table, next_index_keyspace
from convexpy.transactions.transaction import Transaction
from convexpy.values import decode_id, index_key, normalize
from tests.manual_environment import ManualEnvironment

LIMITS = FunctionLimits()


class Database:
    """Begins transactions and commits them, one at a time, in the order that the test says."""

    def __init__(
        self,
        folder: Path,
        map_bytes: int = MAP_BYTES,
        committer: type[Committer] = Committer,
        seed: int = 0,
        *,
        sync: bool = False,
        metasync: bool = True,
    ) -> None:
        self.environment = ManualEnvironment(seed=seed)
        self.store = LmdbStore(folder, readonly=False, sync=sync, metasync=metasync, map_bytes=map_bytes)
        self.committer = committer(LmdbCommitLog(self.store, self.environment), self.environment)
        self.catalogs = CatalogCache()
        self._snapshots: dict[int, Snapshot] = {}

    def begin(self, limits: FunctionLimits = LIMITS) -> Transaction:
        """A transaction on the latest snapshot, open until it is committed or the database is closed."""
        snapshot = self.store.snapshot()
        now_ms = self.environment.now_ns() // 1_000_000
        transaction = Transaction(snapshot, self.catalogs.at(snapshot), limits, self.environment.entropy(16), now_ms)
        self._snapshots[id(transaction)] = snapshot
        return transaction

    def end(self, transaction: Transaction) -> None:
        """Give the transaction's snapshot back."""
        self._snapshots.pop(id(transaction)).close()

    def request(self, transaction: Transaction, function: str = "test", generation: int = -1) -> CommitRequest:
        """What the committer gets; there must be something to commit."""
        request = transaction.commit_request(function, generation)
        assert request is not None, "nothing would change"
        return request

    def commit(self, transaction: Transaction, function: str = "test") -> Committed | Conflicted | Refused:
        """Commit in a batch of its own."""
        request = self.request(transaction, function)
        self.end(transaction)
        return self.committer.commit([(0, request)])[0]

    def committed(self, transaction: Transaction, function: str = "test") -> int:
        """Commit, which must succeed; the timestamp."""
        outcome = self.commit(transaction, function)
        assert isinstance(outcome, Committed), outcome
        return outcome.ts

    def create_table(self, name: str, **indexes: list[str]) -> TableInfo:
        """A table with indexes, committed."""
        transaction = self.begin()
        table = ensure_table(transaction, 0, name)
        entries = catalog_row(transaction, table)["indexes"]
        keyspace = next_index_keyspace(transaction)
        for number, (index, fields) in enumerate(indexes.items()):
            entries.append({"name": index, "fields": fields, "keyspace": keyspace + number, "state": "ready"})
        change_indexes(transaction, table, entries)
        self.committed(transaction)
        return self.table(name)

    def table(self, name: str) -> TableInfo:
        """The table as the latest snapshot has it."""
        with self.store.snapshot() as snapshot:
            return self.catalogs.at(snapshot).by_name[(0, name)]

    def close(self) -> None:
        for snapshot in self._snapshots.values():
            snapshot.close()
        self.store.close()


def catalog_row(transaction: Transaction, table: TableInfo) -> dict[str, Any]:
    """The row of `_tables` that describes a table."""
    row = transaction.get(TABLES, table.row_id)
    assert row is not None
    return row


def id_of(document_id: str) -> bytes:
    """The internal id of a document id."""
    return decode_id(document_id)[1]


def insert(transaction: Transaction, table: TableInfo, **fields: Any) -> bytes:
    """Insert a document without the fields that are `UNSET`; its internal id."""
    return id_of(transaction.insert(table, normalize(fields)))


def patch(transaction: Transaction, table: TableInfo, internal_id: bytes, **fields: Any) -> None:
    """Read a document and write it back with other fields."""
    document = transaction.get(table, internal_id)
    assert document is not None
    transaction.replace(table, internal_id, {**document, **fields})


def equal_to(*values: Any) -> IndexBounds:
    """All entries whose first fields have these values."""
    key = index_key(values)
    return IndexBounds(key, key + ABOVE)


def between(low: Any, high: Any) -> IndexBounds:
    """Entries with `low <= first field < high`."""
    return IndexBounds(index_key([low]), index_key([high]))
