"""Deleting a table: gone for everybody at one commit, its numbers for ever, its data in portions."""

from __future__ import annotations

import pytest

from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.commit_messages import Conflicted
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.leftovers import first_leftover
from convexpy.transactions.system_tables import TABLES
from convexpy.transactions.tables import delete_table, ensure_table, find_table, table_of_number
from tests.transactions.rig import Database, insert

BYTES_MAX = 10_000


def fill(database: Database, table: TableInfo, count: int) -> list[bytes]:
    transaction = database.begin()
    rows = [insert(transaction, table, n=n, text="x") for n in range(count)]
    database.committed(transaction)
    return rows


def delete(database: Database, table: TableInfo) -> None:
    transaction = database.begin()
    delete_table(transaction, table)
    database.committed(transaction)


def sweep(database: Database, limit: int) -> list[int]:
    """Drop what is left over, `limit` keys a commit; the number of each portion's keyspace."""
    portions: list[int] = []
    while True:
        transaction = database.begin()
        keyspace = first_leftover(transaction.snapshot, transaction.catalog, 0)
        if keyspace is None:
            database.end(transaction)
            return portions
        portions.append(keyspace)
        if keyspace in (table.keyspace for table in transaction.catalog.by_keyspace.values()):
            raise AssertionError("a table that exists is no leftover")
        is_index = bool(keyspace >> 31)
        if is_index:
            transaction.drop_index_entries(keyspace, limit)
        else:
            transaction.drop_documents(keyspace, limit, BYTES_MAX)
        database.committed(transaction)


def test_a_deleted_table_is_gone_and_its_numbers_stay_taken(database: Database, messages: TableInfo) -> None:
    """An old id must not become one of a table that is created later, not even of one with the same name."""
    fill(database, messages, 3)
    delete(database, messages)

    transaction = database.begin()
    assert find_table(transaction, 0, "messages") is None
    assert table_of_number(transaction, 0, messages.number) is None
    again = ensure_table(transaction, 0, "messages")
    database.committed(transaction)

    assert again.number > messages.number
    assert again.keyspace > messages.keyspace
    assert min(i.keyspace for i in again.indexes.values()) > max(i.keyspace for i in messages.indexes.values())
    assert list(database.begin().scan_by_id(database.table("messages"), b"", b"\xff" * 17)) == []


@pytest.mark.parametrize("use", ["get", "scan", "scan_by_id", "insert"])
def test_who_uses_a_table_conflicts_with_its_deletion(database: Database, messages: TableInfo, use: str) -> None:
    """Readers too: what they have read is not there any more at the time of their commit."""
    (row,) = fill(database, messages, 1)
    other = database.create_table("others")
    user = database.begin()
    match use:
        case "get":
            user.get(messages, row)
        case "scan":
            next(user.scan(messages, messages.indexes["by_n"], IndexBounds()))
        case "scan_by_id":
            next(user.scan_by_id(messages, b"", b"\xff"))
        case _:
            insert(user, messages, n=9)
    insert(user, other, n=1)

    delete(database, messages)

    assert isinstance(database.commit(user), Conflicted)


def test_leftovers_go_in_portions_and_nothing_else_does(database: Database, messages: TableInfo) -> None:
    kept = database.create_table("kept", by_n=["n"])
    fill(database, messages, 5)
    fill(database, kept, 5)
    delete(database, messages)

    portions = sweep(database, 2)

    assert portions.count(messages.keyspace) == 3
    assert {portions.count(index.keyspace) for index in messages.indexes.values()} == {3}
    with database.store.snapshot() as snapshot:
        documents = [key for key, _ in snapshot.document_entries(b"", b"\xff" * 30, False)]
        entries = list(snapshot.index_keys(b"", b"\xff" * 500, False))
    assert not any(key.startswith(messages.prefix) for key in documents)
    assert sum(key.startswith(kept.prefix) for key in documents) == 5
    for index in kept.indexes.values():
        assert sum(key.startswith(index.prefix) for key in entries) == 5


def test_large_documents_go_in_small_portions(database: Database, messages: TableInfo) -> None:
    """The log keeps what is deleted, so a portion is bounded in bytes as well."""
    transaction = database.begin()
    for n in range(6):
        insert(transaction, messages, n=n, text="x" * BYTES_MAX)
    database.committed(transaction)
    delete(database, messages)

    assert sweep(database, 100).count(messages.keyspace) == 6


def test_a_chunk_reads_documents_and_not_the_gaps_between_them(database: Database, messages: TableInfo) -> None:
    """Who changes one of them conflicts, who adds another does not."""
    rows = sorted(fill(database, messages, 5))
    spare = database.create_table("spare")
    found: list[bytes] = []
    after: bytes | None = b""
    while after is not None:
        documents, after = database.begin().stored_chunk(messages, after, 2, BYTES_MAX)
        found += [bytes([document["n"]]) for _, document in documents]
    assert len(found) == len(set(found)) == len(rows)

    for is_change in (False, True):
        reader = database.begin()
        reader.stored_chunk(messages, b"", 10, BYTES_MAX)
        insert(reader, spare, n=1)
        writer = database.begin()
        if is_change:
            writer.delete(messages, rows[2])
        else:
            insert(writer, messages, n=99)
        database.committed(writer)
        assert isinstance(database.commit(reader), Conflicted) == is_change


def test_a_deleted_table_keeps_one_row_without_a_name(database: Database, messages: TableInfo) -> None:
    delete(database, messages)

    rows = list(database.begin().scan(TABLES, TABLES.indexes["by_keyspace"], IndexBounds()))

    assert [("name" in row, row["number"], row["indexes"]) for row in rows] == [(False, messages.number, [])]
