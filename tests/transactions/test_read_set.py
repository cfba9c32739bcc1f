"""The read set covers what was consumed, no more and no less: a write inside is a conflict, one outside is none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convexpy.storage.keys import ID_BYTES, document_key, index_entry_key, successor
from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.commit_messages import Conflicted
from convexpy.transactions.index_keys import IndexBounds, sort_key_of
from convexpy.transactions.read_set import ReadSet
from convexpy.transactions.system_tables import TABLES
from convexpy.transactions.transaction import Transaction
from tests.transactions.rig import Database, between, equal_to, id_of, insert, patch


@pytest.fixture
def numbers(database: Database, messages: TableInfo) -> dict[int, bytes]:
    """Messages with n = 10, 20, 30, 40, 50, by n."""
    transaction = database.begin()
    made = {n: insert(transaction, messages, n=n, author="a") for n in (10, 20, 30, 40, 50)}
    database.committed(transaction)
    return made


def read_ns(
    transaction: Transaction, messages: TableInfo, bounds: IndexBounds, take: int | None, descending: bool = False
) -> list[int]:
    rows = transaction.scan(messages, messages.indexes["by_n"], bounds, descending)
    return [row["n"] for row in islice(rows, take)]


def inserting_conflicts(database: Database, messages: TableInfo, reader: Transaction, n: float) -> bool:
    """Whether somebody's insert of `n` makes the reader lose its commit; the row is taken away again."""
    writer = database.begin()
    row = insert(writer, messages, n=n)
    ts = database.committed(writer, "other:insert")
    reader.insert(messages, {"n": 1000})
    outcome = database.commit(reader)
    if isinstance(outcome, Conflicted):
        assert (outcome.written_by, outcome.ts) == ("other:insert", ts)
    cleaner = database.begin()
    cleaner.delete(messages, row)
    database.committed(cleaner)
    return isinstance(outcome, Conflicted)


@pytest.mark.parametrize(
    ("low", "high", "take", "descending", "seen", "conflicting", "harmless"),
    [
        (15, 45, None, False, [20, 30, 40], [15, 25, 44], [14.9, 45, 60]),
        (15, 45, None, True, [40, 30, 20], [15, 25, 44], [14.9, 45, 60]),
        (15, 45, 2, False, [20, 30], [15, 25, 29.9], [14.9, 30.1, 44, 45]),
        (15, 45, 2, True, [40, 30], [30.1, 35, 44], [15, 20.1, 29.9, 45]),
        (15, 45, 3, False, [20, 30, 40], [15, 39], [40.1, 44]),
        (15, 45, 4, False, [20, 30, 40], [15, 44], [14, 45]),
        (21, 29, None, False, [], [21, 25], [20.5, 29]),
        (21, 29, 1, True, [], [21, 28.9], [20.5, 29]),
        (15, 45, 0, False, [], [], [15, 20, 44]),
    ],
)
def test_just_what_was_consumed_is_read(
    database: Database,
    messages: TableInfo,
    numbers: dict[int, bytes],
    low: float,
    high: float,
    take: int | None,
    descending: bool,
    seen: list[int],
    conflicting: list[float],
    harmless: list[float],
) -> None:
    """An early stop covers up to the last row seen, an exhausted scan its whole range, an empty one too."""
    for n in (*conflicting, *harmless):
        reader = database.begin()
        assert read_ns(reader, messages, between(low, high), take, descending) == seen
        assert inserting_conflicts(database, messages, reader, n) == (n in conflicting), n


def test_nothing_is_read_before_the_first_row_is_asked_for(
    database: Database, messages: TableInfo, numbers: dict[int, bytes]
) -> None:
    transaction = database.begin()
    transaction.scan(messages, messages.indexes["by_n"], IndexBounds())
    transaction.scan_by_id(messages, b"", b"\xff" * 17)
    assert transaction.reads().ranges == []


def test_the_recorded_range_ends_right_after_the_last_row(
    database: Database, messages: TableInfo, numbers: dict[int, bytes]
) -> None:
    index = messages.indexes["by_n"]
    transaction = database.begin()
    rows = list(islice(transaction.scan(messages, index, between(15, 45)), 2))

    last = index_entry_key(index.prefix, sort_key_of(index, rows[1]), numbers[30])
    assert transaction.reads().ranges == [(index.prefix + between(15, 45).start, successor(last))]


def test_reading_by_id_reads_that_one_document(
    database: Database, messages: TableInfo, numbers: dict[int, bytes]
) -> None:
    transaction = database.begin()
    transaction.get(messages, numbers[10])
    absent = b"\x01" * ID_BYTES
    assert transaction.get(messages, absent) is None

    reads = transaction.reads()
    catalog_row = document_key(TABLES.keyspace, messages.row_id)
    documents = [document_key(messages.keyspace, row) for row in (numbers[10], absent)]
    assert sorted(reads.points) == sorted([catalog_row, *documents])
    assert transaction.ranges_read == len(documents), "no limit counts what the platform reads on its own account"
    assert reads.ranges == []


@pytest.mark.parametrize("descending", [False, True])
def test_a_scan_by_id_reads_as_far_as_it_went(
    database: Database, messages: TableInfo, numbers: dict[int, bytes], descending: bool
) -> None:
    ordered = sorted(numbers.values())
    transaction = database.begin()
    scan = transaction.scan_by_id(messages, b"", b"\xff" * 17, descending)
    expected = ordered[:-3:-1] if descending else ordered[:2]
    assert [id_of(row["_id"]) for row in islice(scan, 2)] == expected

    whole = (messages.prefix, messages.prefix + b"\xff" * 17)
    seen = (messages.prefix + ordered[-2], whole[1]) if descending else (whole[0], messages.prefix + ordered[1] + b"\0")
    assert transaction.reads().ranges == [seen]
    scan.close()  # type: ignore[attr-defined]
    assert transaction.reads().ranges == [seen]
    assert len(list(transaction.scan_by_id(messages, b"", b"\xff" * 17, descending))) == 5
    assert transaction.reads().ranges == [whole]


def move_away(transaction: Transaction, table: TableInfo, row: bytes) -> None:
    patch(transaction, table, row, n=99)


def change_in_place(transaction: Transaction, table: TableInfo, row: bytes) -> None:
    patch(transaction, table, row, text="changed")


def move_within(transaction: Transaction, table: TableInfo, row: bytes) -> None:
    patch(transaction, table, row, n=25)


@pytest.mark.parametrize("change", [move_away, change_in_place, move_within, Transaction.delete])
def test_a_row_that_was_seen_may_not_change(
    database: Database,
    messages: TableInfo,
    numbers: dict[int, bytes],
    change: Callable[[Transaction, TableInfo, bytes], None],
) -> None:
    """Also one that leaves the range (its old key counts), and one whose place stays (the reader saw its fields)."""
    reader, outside, writer = database.begin(), database.begin(), database.begin()
    assert read_ns(reader, messages, between(15, 25), None) == [20]
    assert read_ns(outside, messages, between(35, 45), None) == [40]
    change(writer, messages, numbers[20])
    database.committed(writer, "other:change")

    insert(reader, messages, n=1)
    insert(outside, messages, n=1)

    lost = database.commit(reader)
    assert isinstance(lost, Conflicted)
    assert lost.written_by == "other:change"
    database.committed(outside)


def test_a_row_that_enters_the_range_is_a_conflict(
    database: Database, messages: TableInfo, numbers: dict[int, bytes]
) -> None:
    reader, writer = database.begin(), database.begin()
    read_ns(reader, messages, between(15, 25), None)
    patch(writer, messages, numbers[50], n=21)
    database.committed(writer)

    insert(reader, messages, n=1)
    assert isinstance(database.commit(reader), Conflicted)


def test_a_patched_row_disturbs_readers_of_another_index_that_hold_it(
    database: Database, messages: TableInfo, numbers: dict[int, bytes]
) -> None:
    """`n` is no field of by_creation_time, but who read the row through that index has seen `n`."""
    reader, writer = database.begin(), database.begin()
    list(reader.scan(messages, messages.indexes["by_creation_time"], IndexBounds()))
    patch(writer, messages, numbers[50], n=51)
    database.committed(writer)

    insert(reader, messages, n=1)
    assert isinstance(database.commit(reader), Conflicted)


def test_reads_before_a_rollback_stay_read(database: Database, messages: TableInfo, numbers: dict[int, bytes]) -> None:
    """Whether the caller went on in spite of the failure depended on what the failed part saw."""
    reader, writer = database.begin(), database.begin()
    mark = reader.savepoint()
    read_ns(reader, messages, between(15, 25), None)
    reader.rollback(mark)
    insert(writer, messages, n=20)
    database.committed(writer)

    insert(reader, messages, n=1)
    assert isinstance(database.commit(reader), Conflicted)


def test_equal_values_are_told_from_their_neighbours(database: Database, messages: TableInfo) -> None:
    """The range of "a" holds neither "a\\0" nor "aa"."""
    readers = {author: database.begin() for author in ("a", "a\x00", "aa", "")}
    for author, reader in readers.items():
        assert list(reader.scan(messages, messages.indexes["by_author"], equal_to(author))) == []
    writer = database.begin()
    insert(writer, messages, author="a", n=1)
    database.committed(writer)

    for reader in readers.values():
        insert(reader, messages, author="z", n=1)
    lost = {author for author, reader in readers.items() if isinstance(database.commit(reader), Conflicted)}
    assert lost == {"a"}


_bounds = st.tuples(st.binary(max_size=2), st.binary(max_size=2))


@given(st.lists(_bounds, max_size=8), st.lists(st.binary(max_size=3), max_size=20))
def test_merged_ranges_cover_the_same_keys(ranges: list[tuple[bytes, bytes]], keys: list[bytes]) -> None:
    reads = ReadSet()
    for start, end in ranges:
        reads.open_range(start, end)
    merged = reads.merged().ranges

    for key in keys:
        assert any(start <= key < end for start, end in ranges) == any(start <= key < end for start, end in merged)
    assert all(start < end for start, end in merged)
    assert all(before[1] < after[0] for before, after in pairwise(merged))
