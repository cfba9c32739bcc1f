"""A transaction sees its own writes, takes parts of them back, and asks to commit no more than what changed."""

from __future__ import annotations

import math

import pytest

from convexpy.errors import LimitExceeded
from convexpy.limits import FunctionLimits
from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.tables import ensure_table, find_table
from convexpy.transactions.transaction import Transaction
from tests.transactions.rig import Database, between, equal_to, id_of, insert, patch

EVERYTHING = IndexBounds()


def ns(
    transaction: Transaction, table: TableInfo, bounds: IndexBounds = EVERYTHING, descending: bool = False
) -> list[int]:
    return [row["n"] for row in transaction.scan(table, table.indexes["by_n"], bounds, descending)]


@pytest.fixture
def rows(database: Database, messages: TableInfo) -> dict[int, bytes]:
    """Stored messages with n = 10, 20, 30."""
    transaction = database.begin()
    made = {n: insert(transaction, messages, n=n) for n in (10, 20, 30)}
    database.committed(transaction)
    return made


def test_own_writes_are_merged_into_scans_in_order(
    database: Database, messages: TableInfo, rows: dict[int, bytes]
) -> None:
    transaction = database.begin()
    insert(transaction, messages, n=15)
    insert(transaction, messages, n=5)
    insert(transaction, messages, n=35)
    patch(transaction, messages, rows[10], n=25)
    transaction.delete(messages, rows[20])

    assert ns(transaction, messages) == [5, 15, 25, 30, 35]
    assert ns(transaction, messages, descending=True) == [35, 30, 25, 15, 5]
    assert ns(transaction, messages, between(15, 30)) == [15, 25]
    assert ns(transaction, messages, between(15, 30), True) == [25, 15]
    assert transaction.get(messages, rows[20]) is None
    assert transaction.get(messages, rows[10]) == {**(transaction.get(messages, rows[10]) or {}), "n": 25}
    by_id = [row["n"] for row in transaction.scan_by_id(messages, b"", b"\xff" * 17)]
    assert sorted(by_id) == [5, 15, 25, 30, 35]

    database.committed(transaction)
    assert ns(database.begin(), messages) == [5, 15, 25, 30, 35]


def test_nobody_else_sees_them_before_the_commit(
    database: Database, messages: TableInfo, rows: dict[int, bytes]
) -> None:
    writer, reader = database.begin(), database.begin()
    insert(writer, messages, n=15)
    database.committed(writer)

    assert ns(reader, messages) == [10, 20, 30]
    assert ns(database.begin(), messages) == [10, 15, 20, 30]


def test_what_the_user_changes_in_a_document_is_not_stored(
    database: Database, messages: TableInfo, rows: dict[int, bytes]
) -> None:
    transaction = database.begin()
    document = transaction.get(messages, rows[10])
    assert document is not None
    document["n"] = 99
    again = transaction.get(messages, rows[10])
    assert again is not None
    assert again["n"] == 10


def test_a_rollback_takes_back_what_came_after_the_savepoint(
    database: Database, messages: TableInfo, rows: dict[int, bytes]
) -> None:
    transaction = database.begin()
    early = insert(transaction, messages, n=1)
    written = transaction.documents_written, transaction.bytes_written
    outer = transaction.savepoint()
    patch(transaction, messages, early, n=2)
    patch(transaction, messages, rows[10], n=11)
    inner = transaction.savepoint()
    transaction.delete(messages, early)
    patch(transaction, messages, rows[10], n=12)
    insert(transaction, messages, n=3)
    assert ns(transaction, messages) == [3, 12, 20, 30]

    transaction.rollback(inner)
    assert ns(transaction, messages) == [2, 11, 20, 30]
    transaction.rollback(outer)
    assert ns(transaction, messages) == [1, 10, 20, 30]
    assert (transaction.documents_written, transaction.bytes_written) == written

    database.committed(transaction)
    assert ns(database.begin(), messages) == [1, 10, 20, 30]


def test_a_rolled_back_table_is_gone(database: Database) -> None:
    transaction = database.begin()
    mark = transaction.savepoint()
    ensure_table(transaction, 0, "fleeting")
    transaction.rollback(mark)

    assert find_table(transaction, 0, "fleeting") is None
    assert transaction.commit_request("test", -1) is None


def test_writing_what_is_there_writes_nothing(database: Database, messages: TableInfo, rows: dict[int, bytes]) -> None:
    transaction = database.begin()
    patch(transaction, messages, rows[10], n=10)
    assert (transaction.documents_written, transaction.commit_request("test", -1)) == (0, None)


def test_writes_that_cancel_out_commit_nothing(database: Database, messages: TableInfo, rows: dict[int, bytes]) -> None:
    """There and back, and a row that came and went."""
    transaction = database.begin()
    patch(transaction, messages, rows[10], n=11)
    patch(transaction, messages, rows[10], n=10)
    transaction.delete(messages, insert(transaction, messages, n=1))
    assert transaction.commit_request("test", -1) is None


def test_the_request_holds_the_net_effect(database: Database, messages: TableInfo, rows: dict[int, bytes]) -> None:
    """A moved row puts and deletes one entry of by_n and touches those whose keys stay."""
    transaction = database.begin()
    patch(transaction, messages, rows[10], n=11)
    patch(transaction, messages, rows[10], n=12)

    request = database.request(transaction)
    assert len(request.documents) == 1
    assert len(request.index_puts) == len(request.index_deletes) == 2  # by_n and by_author, which ends with n
    assert [key[:4] for key in request.index_touches] == [messages.indexes["by_creation_time"].prefix]


def test_a_delete_removes_all_entries(database: Database, messages: TableInfo, rows: dict[int, bytes]) -> None:
    transaction = database.begin()
    for row in rows.values():
        transaction.delete(messages, row)
    database.committed(transaction)

    with database.store.snapshot() as snapshot:
        for index in messages.indexes.values():
            assert list(snapshot.index_keys(index.prefix, index.prefix + b"\xff", False)) == []
        assert list(snapshot.document_entries(messages.prefix, messages.prefix + b"\xff" * 17, False)) == []


def test_creation_times_rise_within_a_transaction(database: Database, messages: TableInfo) -> None:
    """The first is the run's instant, or past the snapshot if the clock is behind it; each next is one float on."""
    database.environment.advance(10)
    transaction = database.begin()
    made = [insert(transaction, messages, n=n) for n in range(3)]
    times = [(transaction.get(messages, row) or {})["_creationTime"] for row in made]
    now_ms = database.environment.now_ns() / 1e6

    assert times == [now_ms, math.nextafter(now_ms, math.inf), math.nextafter(times[1], math.inf)]

    database.committed(transaction)
    database.environment.advance(-1000)
    later = database.begin()
    made_later = later.get(messages, insert(later, messages, n=9))
    assert made_later is not None
    assert made_later["_creationTime"] > max(later.begin_ts / 1e6, *times)


def test_ids_follow_from_the_seed(database: Database, messages: TableInfo) -> None:
    transaction = database.begin()
    ids = {transaction.insert(messages, {"n": n}) for n in range(50)}
    assert len(ids) == 50
    assert all(id_of(made)[:6] == (database.environment.now_ns() // 10**6).to_bytes(6, "big") for made in ids)


# --- writing while iterating


def own_ids(transaction: Transaction, table: TableInfo) -> list[bytes]:
    return [id_of(row["_id"]) for row in transaction.scan(table, table.indexes["by_n"], IndexBounds())]


def test_a_caller_may_delete_what_it_iterates_over(
    database: Database, messages: TableInfo, rows: dict[int, bytes]
) -> None:
    transaction = database.begin()
    seen = []
    for row in transaction.scan(messages, messages.indexes["by_n"], IndexBounds()):
        seen.append(row["n"])
        transaction.delete(messages, id_of(row["_id"]))
    assert seen == [10, 20, 30]
    assert ns(transaction, messages) == []


@pytest.mark.parametrize("is_stored", [True, False])
def test_what_moves_ahead_of_a_scan_does_not_come_twice(
    database: Database, messages: TableInfo, rows: dict[int, bytes], is_stored: bool
) -> None:
    """Raising everybody's n by 100 while reading by n ends, and raises each once."""
    transaction = database.begin()
    if not is_stored:
        for row in rows.values():
            patch(transaction, messages, row, text="own")
    for document in transaction.scan(messages, messages.indexes["by_n"], IndexBounds()):
        patch(transaction, messages, id_of(document["_id"]), n=document["n"] + 100)
    assert ns(transaction, messages) == [110, 120, 130]


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_row_that_changes_ahead_of_a_scan_still_comes(
    database: Database, messages: TableInfo, rows: dict[int, bytes], is_stored: bool
) -> None:
    """In place: with its new fields. Moved or deleted: not any more."""
    transaction = database.begin()
    if not is_stored:
        for row in rows.values():
            patch(transaction, messages, row, text="own")
    scan = transaction.scan(messages, messages.indexes["by_n"], IndexBounds())
    assert next(scan)["n"] == 10
    patch(transaction, messages, rows[20], text="changed")
    patch(transaction, messages, rows[30], n=31)
    insert(transaction, messages, n=40)

    assert [(row["n"], row["text"]) for row in scan] == [(20, "changed")]

    by_id = transaction.scan_by_id(messages, b"", b"\xff" * 17)
    first, second, third, _ = sorted(own_ids(transaction, messages))
    assert id_of(next(by_id)["_id"]) == first
    patch(transaction, messages, second, text="again")
    transaction.delete(messages, third)
    assert [row.get("text") == "again" for row in by_id] == [True, False]


# --- limits


@pytest.mark.parametrize(
    ("limits", "allowed", "text"),
    [
        (FunctionLimits(documents_read=3), 3, "Too many documents read in a single function execution (limit: 3)."),
        (FunctionLimits(bytes_read=150), 2, "Too many bytes read in a single function execution (limit: 150 bytes)."),
        (FunctionLimits(ranges_read=3), 3, "Too many reads in a single function execution (limit: 3)."),
    ],
)
def test_reads_are_bounded(
    database: Database, messages: TableInfo, rows: dict[int, bytes], limits: FunctionLimits, allowed: int, text: str
) -> None:
    writer = database.begin()
    more = [*rows.values(), insert(writer, messages, n=40)]
    database.committed(writer)
    transaction = database.begin(limits)
    for row in more[:allowed]:
        transaction.get(messages, row)

    with pytest.raises(LimitExceeded) as refused:
        transaction.get(messages, more[allowed])
    assert str(refused.value).startswith(text)


def test_writes_are_bounded(database: Database, messages: TableInfo) -> None:
    transaction = database.begin(FunctionLimits(documents_written=2))
    insert(transaction, messages, n=1)
    insert(transaction, messages, n=2)
    with pytest.raises(LimitExceeded, match=r"^Too many writes in a single function execution \(limit: 2\)\."):
        insert(transaction, messages, n=3)

    transaction = database.begin(FunctionLimits(bytes_written=1000))
    with pytest.raises(LimitExceeded, match=r"^Too many bytes written in a single .* \(limit: 1000 bytes\)\."):
        insert(transaction, messages, n="x" * 1000)


def test_overlapping_ranges_count_once(database: Database, messages: TableInfo, rows: dict[int, bytes]) -> None:
    transaction = database.begin(FunctionLimits(ranges_read=2))
    for _ in range(10):
        assert ns(transaction, messages, equal_to(10)) == [10]
