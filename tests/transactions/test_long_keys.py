"""Sort keys beyond what LMDB takes are cut in the stored key; order, ranges and read sets are exact all the same."""

from __future__ import annotations

from functools import cmp_to_key
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convexpy.limits import SORT_KEY_BYTES_MAX
from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.commit_messages import Conflicted
from convexpy.transactions.index_keys import ABOVE, IndexBounds
from convexpy.values import compare, index_key
from tests.transactions.rig import Database, equal_to, insert, patch

LONG = "x" * (SORT_KEY_BYTES_MAX - 12)  # with tag, end and creation time: one byte short of the bound

# Lengths around the bound, and differences before, at and far behind it.
TEXTS = [
    LONG[:-1],
    LONG,
    LONG + "x",
    LONG + "y",
    LONG + "x" * 10,
    LONG + "x" * 12,
    LONG + "x" * 13,
    LONG + "x" * 500,
    LONG + "x" * 499 + "a",
    LONG + "x" * 499 + "b",
    LONG + "\x00" * 20,
    LONG + "\x00" * 21,
    "a" + LONG,
    "z",
]


def texts(
    database: Database, table: TableInfo, bounds: IndexBounds, descending: bool, take: int | None = None
) -> list[str]:
    rows = database.begin().scan(table, table.indexes["by_text"], bounds, descending)
    return [row["text"] for row in islice(rows, take)]


@pytest.fixture
def table(database: Database) -> TableInfo:
    """One row a text, created in an order that is not theirs."""
    table = database.create_table("long", by_text=["text"])
    transaction = database.begin()
    for text in (*TEXTS[::2], *TEXTS[1::2][::-1]):
        insert(transaction, table, text=text)
    database.committed(transaction)
    return table


@pytest.mark.parametrize("descending", [False, True])
def test_order_is_exact(database: Database, table: TableInfo, descending: bool) -> None:
    expected = sorted(TEXTS, reverse=descending)
    assert texts(database, table, IndexBounds(), descending) == expected
    for take in range(len(expected)):
        assert texts(database, table, IndexBounds(), descending, take) == expected[:take]


@pytest.mark.parametrize("descending", [False, True])
def test_ranges_are_exact(database: Database, table: TableInfo, descending: bool) -> None:
    for text in TEXTS:
        key = index_key([text])
        ordered = sorted(TEXTS, reverse=descending)
        assert texts(database, table, equal_to(text), descending) == [text]
        assert texts(database, table, IndexBounds(key, ABOVE), descending) == [t for t in ordered if t >= text]
        assert texts(database, table, IndexBounds(key + ABOVE, ABOVE), descending) == [t for t in ordered if t > text]
        assert texts(database, table, IndexBounds(b"", key), descending) == [t for t in ordered if t < text]
        assert texts(database, table, IndexBounds(b"", key + ABOVE), descending) == [t for t in ordered if t <= text]


@pytest.mark.parametrize("descending", [False, True])
def test_a_row_that_would_have_come_first_is_a_conflict_whatever_its_id(database: Database, descending: bool) -> None:
    """Both rows' stored keys are equal but for the ids, which say nothing about which comes first. One row was taken;
    one that now precedes it lies beyond it in stored keys half of the time, and is a conflict every time."""
    table = database.create_table("long", by_text=["text"])
    setup = database.begin()
    insert(setup, table, text=LONG + "x" * 500 + "m")
    database.committed(setup)
    before = LONG + "x" * 500 + ("n" if descending else "a")

    for _ in range(20):
        reader, writer = database.begin(), database.begin()
        rows = reader.scan(table, table.indexes["by_text"], IndexBounds(), descending)
        assert next(iter(rows))["text"].endswith("m")
        row = insert(writer, table, text=before)
        database.committed(writer)
        insert(reader, table, text="")
        assert isinstance(database.commit(reader), Conflicted)
        cleaner = database.begin()
        cleaner.delete(table, row)
        database.committed(cleaner)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("is_stored", [False, True])
def test_a_row_that_moves_during_a_scan_does_not_come_where_its_stored_key_stays(
    database: Database, is_stored: bool, descending: bool
) -> None:
    """Its full key is another, and what was cut of it is the same. One that is changed in place comes as it is now."""
    table = database.create_table("long", by_text=["text"])
    transaction = database.begin()
    insert(transaction, table, text="z" if descending else "a")
    moved, changed, _ = (insert(transaction, table, text=LONG + "x" * 500 + ending, n=0) for ending in "abc")
    if is_stored:
        database.committed(transaction)
        transaction = database.begin()

    scan = transaction.scan(table, table.indexes["by_text"], IndexBounds(), descending)
    next(scan)
    patch(transaction, table, moved, text=LONG + "x" * 500 + "d")
    patch(transaction, table, changed, n=1)

    assert [(row["text"][-1], row["n"]) for row in scan] == sorted([("b", 1), ("c", 0)], reverse=descending)


_values = st.one_of(st.sampled_from(TEXTS), st.integers(0, 2), st.none())


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(rows=st.lists(st.tuples(_values, _values), max_size=12), own=st.integers(1, 12), descending=st.booleans())
def test_two_long_fields_are_ordered_as_tuples(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, Any]], own: int, descending: bool
) -> None:
    """Stored rows and the transaction's own, in one order; ties in the order of creation."""
    folder: Path = tmp_path_factory.mktemp("long")
    database = Database(folder)
    table = database.create_table("pairs", by_both=["a", "b"])
    transaction = database.begin()
    for n, (a, b) in enumerate(rows):
        if n == own:
            database.committed(transaction)
            database.environment.advance(1)
            transaction = database.begin()
        insert(transaction, table, a=a, b=b, n=n)

    found = list(transaction.scan(table, table.indexes["by_both"], IndexBounds(), descending))
    database.close()

    expected = sorted(([a, b, n] for n, (a, b) in enumerate(rows)), key=cmp_to_key(compare), reverse=descending)
    assert [[row["a"], row["b"], row["n"]] for row in found] == expected
