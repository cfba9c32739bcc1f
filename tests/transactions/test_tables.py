"""Tables come into being in transactions, and races over their numbers and indexes are conflicts."""

from __future__ import annotations

import pytest

from convexpy.errors import InvalidId
from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.commit_messages import Conflicted
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.tables import (
    change_indexes,
    decode_own_id,
    ensure_table,
    find_table,
    next_index_keyspace,
    table_of_number,
)
from convexpy.values import encode_id
from tests.transactions.rig import Database, catalog_row, insert, patch


def test_a_table_comes_with_its_first_document(database: Database) -> None:
    transaction = database.begin()
    assert find_table(transaction, 0, "users") is None
    table = ensure_table(transaction, 0, "users")
    row = insert(transaction, table, name="Ada")
    assert find_table(transaction, 0, "users") == table == ensure_table(transaction, 0, "users")
    assert table_of_number(transaction, 0, table.number) == table
    database.committed(transaction)

    later = database.begin()
    found = find_table(later, 0, "users")
    assert found == table
    assert (later.get(found, row) or {})["name"] == "Ada"
    assert decode_own_id(later, 0, encode_id(table.number, row)) == (table, row)


def test_numbers_are_the_namespaces_own_and_keyspaces_are_not(database: Database) -> None:
    transaction = database.begin()
    tables = [ensure_table(transaction, namespace, name) for namespace in (0, 1) for name in ("a", "b")]
    database.committed(transaction)
    transaction = database.begin()
    tables.append(ensure_table(transaction, 0, "c"))

    assert [table.number for table in tables] == [10001, 10002, 10001, 10002, 10003]
    assert [table.keyspace for table in tables] == [1024, 1025, 1026, 1027, 1028]
    indexes = [index.keyspace for table in tables for index in table.indexes.values()]
    assert len(set(indexes)) == 5
    assert table_of_number(transaction, 1, 10003) is None


@pytest.mark.parametrize("names", [("a", "a"), ("a", "b")])
def test_of_two_that_create_tables_one_conflicts(database: Database, names: tuple[str, str]) -> None:
    """Of different names too: both would take the same number."""
    transactions = [database.begin() for _ in names]
    for transaction, name in zip(transactions, names, strict=True):
        insert(transaction, ensure_table(transaction, 0, name), n=1)

    database.committed(transactions[0])
    assert isinstance(database.commit(transactions[1]), Conflicted)


def test_who_found_no_table_conflicts_with_its_creation(database: Database, messages: TableInfo) -> None:
    reader, creator, unrelated = database.begin(), database.begin(), database.begin()
    find_table(reader, 0, "users")
    find_table(unrelated, 0, "posts")
    ensure_table(creator, 0, "users")
    database.committed(creator)

    insert(reader, messages, n=1)
    insert(unrelated, messages, n=1)
    assert isinstance(database.commit(reader), Conflicted)
    database.committed(unrelated)


def add_index(database: Database, table: TableInfo) -> TableInfo:
    transaction = database.begin()
    entries = catalog_row(transaction, table)["indexes"]
    keyspace = next_index_keyspace(transaction)
    entries.append({"name": "by_text", "fields": ["text"], "keyspace": keyspace, "state": "backfilling"})
    changed = change_indexes(transaction, table, entries)
    assert find_table(transaction, 0, table.name) == changed, "the transaction itself sees the change"
    row = insert(transaction, changed, n=1, text="x")
    assert [document["n"] for document in transaction.scan(changed, changed.indexes["by_text"], IndexBounds())] == [1]
    transaction.delete(changed, row)
    database.committed(transaction)
    return database.table(table.name)


@pytest.mark.parametrize("change", ["insert", "patch", "delete"])
def test_a_writer_conflicts_with_a_change_of_its_tables_indexes(
    database: Database, messages: TableInfo, change: str
) -> None:
    """It would leave the new index without its entry."""
    setup = database.begin()
    row = insert(setup, messages, n=1)
    database.committed(setup)
    writer = database.begin()
    match change:
        case "insert":
            insert(writer, messages, n=2)
        case "patch":
            patch(writer, messages, row, n=2)
        case _:
            writer.delete(messages, row)

    add_index(database, messages)

    assert isinstance(database.commit(writer), Conflicted)


def test_index_numbers_are_never_given_out_again(database: Database, messages: TableInfo) -> None:
    """A dropped index may still have entries."""
    changed = add_index(database, messages)
    dropped = changed.indexes["by_text"].keyspace
    transaction = database.begin()
    entries = [entry for entry in catalog_row(transaction, changed)["indexes"] if entry["name"] != "by_text"]
    change_indexes(transaction, changed, entries)
    database.committed(transaction)

    transaction = database.begin()
    assert next_index_keyspace(transaction) > dropped
    assert "by_text" not in database.table("messages").indexes


def test_entries_of_a_dropped_index_go_in_portions(database: Database, messages: TableInfo) -> None:
    transaction = database.begin()
    for n in range(5):
        insert(transaction, messages, n=n)
    database.committed(transaction)
    keyspace = messages.indexes["by_n"].keyspace

    more = []
    for _ in range(3):
        transaction = database.begin()
        more.append(transaction.drop_index_entries(keyspace, 2))
        database.committed(transaction)

    assert more == [True, True, False]
    prefix = messages.indexes["by_n"].prefix
    with database.store.snapshot() as snapshot:
        assert list(snapshot.index_keys(prefix, prefix + b"\xff", False)) == []


def test_junk_is_no_id(database: Database) -> None:
    with pytest.raises(InvalidId):
        decode_own_id(database.begin(), 0, "junk")
