"""The examination finds whatever is planted, and nothing in a database that is as it should be."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from convexpy.storage.lmdb_store import LAST_COMMIT_TS
from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.checkup import Checkup
from tests.seeds import asked_seed
from tests.transactions.rig import Database, id_of, insert, patch

ROWS = 40


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path)
    yield database
    database.close()


@pytest.fixture
def table(database: Database) -> TableInfo:
    """Rows that have come, changed and gone, with short and long index keys."""
    table = database.create_table("things", by_n=["n"], by_text=["text", "n"])
    for n in range(ROWS):
        transaction = database.begin()
        insert(transaction, table, n=n % 7, text="long " * (n * 10))
        database.committed(transaction)
    transaction = database.begin()
    rows = list(transaction.scan_by_id(table, b"", b"\xff" * 17))
    for row in rows[::3]:
        patch(transaction, table, id_of(row["_id"]), n=row["n"] + 100)
    for row in rows[1::3]:
        transaction.delete(table, id_of(row["_id"]))
    database.committed(transaction)
    return table


def problems(database: Database) -> list[str]:
    return [problem.text for problem in Checkup(database.store).problems()]


def test_a_sound_database_has_no_problems_and_known_sizes(database: Database, table: TableInfo) -> None:
    checkup = Checkup(database.store)

    assert list(checkup.problems()) == []

    sizes = {size.name: size for size in checkup.sizes()}
    rows = sizes["things"].rows
    assert rows == ROWS - len(range(1, ROWS, 3))
    assert {sizes[f"things.{name}"].rows for name in ("by_n", "by_text", "by_creation_time")} == {rows}
    assert sizes["things"].data_bytes > sizes["things.by_n"].data_bytes > 0


Corrupt = Callable[[Any, Any, random.Random], None]


def _drop_entry(transaction: Any, store: Any, chance: random.Random) -> None:
    entries = [key for key, _ in transaction.cursor(db=store.indexes)]
    transaction.delete(chance.choice(entries), db=store.indexes)


def _add_entry(transaction: Any, store: Any, chance: random.Random) -> None:
    entries = [key for key, _ in transaction.cursor(db=store.indexes)]
    key = bytearray(chance.choice(entries))
    key[-1 - chance.randrange(16)] ^= 1 + chance.randrange(255)
    transaction.put(bytes(key), b"", db=store.indexes)


def _move_entry(transaction: Any, store: Any, chance: random.Random) -> None:
    entries = [key for key, _ in transaction.cursor(db=store.indexes)]
    key = chance.choice(entries)
    moved = bytearray(key)
    moved[4] ^= 1 + chance.randrange(255)
    transaction.delete(key, db=store.indexes)
    transaction.put(bytes(moved), b"", db=store.indexes)


def _drop_document(transaction: Any, store: Any, chance: random.Random) -> None:
    keys = [key for key, _ in transaction.cursor(db=store.documents) if key[:4] != b"\x00\x00\x00\x01"]
    transaction.delete(chance.choice(keys), db=store.documents)


def _swap_documents(transaction: Any, store: Any, chance: random.Random) -> None:
    rows = [(key, value) for key, value in transaction.cursor(db=store.documents) if key[:4] != b"\x00\x00\x00\x01"]
    (one, first), (other, second) = chance.sample(rows, 2)
    transaction.put(one, second, db=store.documents)
    transaction.put(other, first, db=store.documents)


def _garble_document(transaction: Any, store: Any, chance: random.Random) -> None:
    rows = [(key, value) for key, value in transaction.cursor(db=store.documents) if key[:4] != b"\x00\x00\x00\x01"]
    key, value = chance.choice(rows)
    transaction.put(key, value[:9], db=store.documents)


def _lose_the_last_commits(transaction: Any, store: Any, chance: random.Random) -> None:
    transaction.put(LAST_COMMIT_TS, (1).to_bytes(8, "big"), db=store.meta)


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize(
    "corrupt",
    [
        _drop_entry,
        _add_entry,
        _move_entry,
        _drop_document,
        _swap_documents,
        _garble_document,
        _lose_the_last_commits,
    ],
)
def test_any_single_corruption_is_reported(database: Database, table: TableInfo, corrupt: Corrupt, number: int) -> None:
    seed = asked_seed("CHECKUP_SEED")
    with database.store.environment.begin(write=True) as transaction:
        corrupt(transaction, database.store, random.Random(seed))

    assert problems(database)


def test_entries_of_a_dropped_index_are_named(database: Database, table: TableInfo) -> None:
    with database.store.environment.begin(write=True) as transaction:
        transaction.put(b"\x80\x00\xff\x01" + b"x" * 30, b"", db=database.store.indexes)

    assert problems(database) == ["1 entries are left of an index that was dropped (number 65281)."]
