"""Finds tables for a transaction, creates, changes and deletes them: rows of `_tables`, documents like any other.

Numbers are taken from the last row in use, which is thereby read: of two transactions that create tables at the same
time one conflicts and runs again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from convexpy.errors import LimitExceeded
from convexpy.storage.keys import ID_BYTES
from convexpy.transactions.catalog import is_deleted, table_from_row
from convexpy.transactions.catalog_entries import PendingSchema, TableInfo
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.system_tables import (
    FIRST_USER_INDEX,
    FIRST_USER_KEYSPACE,
    FIRST_USER_TABLE_NUMBER,
    TABLES,
)
from convexpy.transactions.transaction import Transaction
from convexpy.values import decode_id, index_key


def find_table(transaction: Transaction, namespace: int, name: str) -> TableInfo | None:
    """The table of that name; its absence is recorded as read, so that its creation is noticed."""
    # Its own tables first: one whose indexes it has changed is in the catalog as it was before.
    found = transaction.new_tables.get((namespace, name)) or transaction.catalog.by_name.get((namespace, name))
    if found is None:
        for _ in transaction.scan(TABLES, TABLES.indexes["by_name"], _exactly(namespace, name)):
            raise AssertionError("the catalog lacks a table that the snapshot has")
    return found


def table_of_number(transaction: Transaction, namespace: int, number: int) -> TableInfo | None:
    """The table whose number document ids of this namespace carry; its absence is recorded as read."""
    for table in transaction.new_tables.values():
        if table.namespace == namespace and table.number == number:
            return table
    found = transaction.catalog.by_number.get((namespace, number))
    if found is None:
        for row in transaction.scan(TABLES, TABLES.indexes["by_number"], _exactly(namespace, number)):
            assert is_deleted(row), "the catalog lacks a table that the snapshot has"
    return found


def ensure_table(transaction: Transaction, namespace: int, name: str) -> TableInfo:
    """The table of that name, created with its creation time index if there is none."""
    found = find_table(transaction, namespace, name)
    if found is not None:
        return found
    most = transaction.limits.tables
    known = transaction.catalog.by_name
    if len(known) + sum(key not in known for key in transaction.new_tables) >= most:
        raise LimitExceeded(
            f"Too many tables in this deployment (limit: {most}), so {name!r} was not created. Delete one that no "
            f"schema needs: POST /api/delete_tables."
        )
    keyspace = _next(transaction, "by_keyspace", "keyspace", FIRST_USER_KEYSPACE)
    index_keyspace = next_index_keyspace(transaction)
    number = FIRST_USER_TABLE_NUMBER
    last = transaction.scan(TABLES, TABLES.indexes["by_number"], _namespace_only(namespace), descending=True)
    for row in last:
        number = max(number, row["number"] + 1)
        break
    last.close()  # type: ignore[attr-defined]
    row = {
        "namespace": namespace,
        "name": name,
        "number": number,
        "keyspace": keyspace,
        "last_index": index_keyspace,
        "indexes": [{"name": "by_creation_time", "fields": [], "keyspace": index_keyspace, "state": "ready"}],
    }
    internal_id = transaction.new_id(TABLES)
    transaction.insert(TABLES, row, internal_id)
    table = table_from_row(row, internal_id)
    transaction.new_tables[(namespace, name)] = table
    return table


def next_index_keyspace(transaction: Transaction) -> int:
    """The lowest index number that was never given out."""
    return _next(transaction, "by_last_index", "last_index", FIRST_USER_INDEX)


def change_indexes(transaction: Transaction, table: TableInfo, indexes: list[dict[str, Any]]) -> TableInfo:
    """Give a table another list of indexes; whoever writes to the table meanwhile conflicts with this.

    Args:
        indexes: `{"name", "fields", "keyspace", "state"}` each; new ones have numbers of `next_index_keyspace`.
    """
    row = _row_of(transaction, table)
    row["indexes"] = indexes
    row["last_index"] = max(row["last_index"], *(entry["keyspace"] for entry in indexes))
    return _store(transaction, table, row)


def set_pending_schema(transaction: Transaction, table: TableInfo, pending: PendingSchema | None) -> TableInfo:
    """Have documents of a table checked against a further validator from now on, or no more.

    Whoever writes to the table meanwhile conflicts with this, so every write that commits later has seen it.
    """
    row = _row_of(transaction, table)
    if pending is None:
        row.pop("pending_schema", None)
    else:
        validator = msgspec.json.encode(pending.validator.to_json()).decode()
        row["pending_schema"] = {"push": pending.push, "validator": validator}
    return _store(transaction, table, row)


def delete_table(transaction: Transaction, table: TableInfo) -> None:
    """Make a table, its documents and its indexes invisible; what is stored of them is left over (`leftovers`).

    Whoever reads or writes the table meanwhile conflicts with this. Its row goes on without a name, for the sake of
    the numbers in it: no id of this table ever becomes one of another.
    """
    row = _row_of(transaction, table)
    kept = {name: value for name, value in row.items() if name not in ("name", "pending_schema")}
    transaction.replace(TABLES, table.row_id, {**kept, "indexes": []})


def index_entries_of(table: TableInfo) -> list[dict[str, Any]]:
    """A table's indexes as `change_indexes` takes them."""
    return [
        {"name": index.name, "fields": list(index.fields), "keyspace": index.keyspace, "state": index.state}
        for index in table.indexes.values()
    ]


def _row_of(transaction: Transaction, table: TableInfo) -> dict[str, Any]:
    row = transaction.get(TABLES, table.row_id)
    assert row is not None, f"table {table.name} has no row"
    return row


def _store(transaction: Transaction, table: TableInfo, row: dict[str, Any]) -> TableInfo:
    transaction.replace(TABLES, table.row_id, row)
    changed = table_from_row(row, table.row_id)
    transaction.new_tables[(table.namespace, table.name)] = changed
    return changed


def decode_own_id(transaction: Transaction, namespace: int, document_id: str) -> tuple[TableInfo | None, bytes]:
    """The table (None: unknown in this namespace) and internal id that a document id names.

    Raises:
        InvalidId: the string is no id at all.
    """
    number, internal_id = decode_id(document_id)
    assert len(internal_id) == ID_BYTES
    return table_of_number(transaction, namespace, number), internal_id


def _next(transaction: Transaction, index: str, field: str, first: int) -> int:
    rows = transaction.scan(TABLES, TABLES.indexes[index], IndexBounds(), descending=True)
    for row in rows:
        return max(first, int(row[field]) + 1)
    return first


def _exactly(namespace: int, name_or_number: str | int) -> IndexBounds:
    key = index_key([namespace, name_or_number])
    return IndexBounds(key, key + b"\xff")


def _namespace_only(namespace: int) -> IndexBounds:
    key = index_key([namespace])
    return IndexBounds(key, key + b"\xff")
