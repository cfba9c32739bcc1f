"""The log alone is enough: for the database as it was at any commit since, and for a copy of the database."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from convexpy.errors import OutOfRetention
from convexpy.limits import LogLimits
from convexpy.storage.lmdb_store import LmdbStore
from convexpy.transactions import past_snapshot as past_snapshot_module
from convexpy.transactions.catalog import load_catalog
from convexpy.transactions.commit_log import LmdbCommitLog, LogMoved
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.past_snapshot import AnySnapshot, PastSnapshot
from convexpy.transactions.tables import change_indexes
from convexpy.transactions.transaction import Transaction
from tests.seeds import asked_seed
from tests.transactions.rig import LIMITS, Database, id_of, insert, patch

EVERYTHING = (b"", b"\xff" * 64)
COMMITS = 60


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path)
    yield database
    database.close()


def documents_of(snapshot: AnySnapshot, start: bytes = b"", end: bytes = EVERYTHING[1]) -> list[tuple[bytes, bytes]]:
    """Keys and packed fields; commit timestamps of replaced versions are not kept."""
    return [(key, value[8:]) for key, value in snapshot.document_entries(start, end, False)]


def dump(snapshot: AnySnapshot) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
    return documents_of(snapshot), list(snapshot.index_keys(*EVERYTHING, False))


def write_at_random(database: Database, chance: random.Random) -> None:
    """One commit: a few rows come, change, move in their index or go; now and then a table is made."""
    transaction = database.begin()
    name = f"table{chance.randrange(3)}"
    table = transaction.catalog.by_name.get((0, name))
    if table is None:
        database.end(transaction)
        database.create_table(name, by_n=["n"])
        return
    rows = list(transaction.scan_by_id(table, b"", b"\xff" * 17))
    for _ in range(chance.randrange(1, 5)):
        row = chance.choice(rows) if rows and chance.random() < 0.6 else None
        if row is None:
            insert(transaction, table, n=chance.randrange(5), text="x" * chance.randrange(100))
        elif chance.random() < 0.4:
            rows.remove(row)
            transaction.delete(table, id_of(row["_id"]))
        else:
            patch(transaction, table, id_of(row["_id"]), n=(row["n"] + 1) % 7)
    database.committed(transaction)


@pytest.mark.parametrize("_", range(5))
def test_the_past_is_what_it_was(database: Database, _: int) -> None:
    """Whole, in ranges of both directions, and key by key, at every commit so far."""
    chance = random.Random(asked_seed("LOG_SEED"))
    then = {}
    for _ in range(COMMITS):
        write_at_random(database, chance)
        with database.store.snapshot() as snapshot:
            then[snapshot.ts] = dump(snapshot)

    with database.store.snapshot() as now:
        for ts, (documents, entries) in then.items():
            past = PastSnapshot(now, ts)
            assert past.ts == ts
            assert dump(past) == (documents, entries)
            assert list(past.index_keys(*EVERYTHING, True)) == entries[::-1]
            low, high = sorted(chance.choice(entries) for _ in range(2))
            assert list(past.index_keys(low, high, True)) == [key for key in entries if low <= key < high][::-1]
            low, high = sorted(chance.choice(documents)[0] for _ in range(2))
            assert documents_of(past, low, high) == [each for each in documents if low <= each[0] < high]
            known = dict(documents)
            for key in {key for every, _ in then.values() for key, _ in every}:
                found = past.document(key)
                assert (None if found is None else found[8:]) == known.get(key)


def test_an_index_that_was_dropped_since_can_be_read_in_the_past(database: Database) -> None:
    table = database.create_table("things", by_n=["n"])
    transaction = database.begin()
    for n in (3, 1, 2):
        insert(transaction, table, n=n)
    ts = database.committed(transaction)
    transaction = database.begin()
    kept = table.indexes["by_creation_time"]
    entry = {"name": kept.name, "fields": list(kept.fields), "keyspace": kept.keyspace, "state": kept.state}
    change_indexes(transaction, table, [entry])
    database.committed(transaction)
    transaction = database.begin()
    transaction.is_unlimited = True
    assert not transaction.drop_index_entries(table.indexes["by_n"].keyspace, 100)
    database.committed(transaction)

    with database.store.snapshot() as now:
        past = PastSnapshot(now, ts)
        catalog = load_catalog(past)
        seen = catalog.by_name[0, "things"]
        reader = Transaction(past, catalog, LIMITS, b"", 0)
        assert [row["n"] for row in reader.scan(seen, seen.indexes["by_n"], IndexBounds())] == [1, 2, 3]
        assert "by_n" not in load_catalog(now).by_name[0, "things"].indexes


def test_what_is_trimmed_cannot_be_read_any_more(database: Database) -> None:
    table = database.create_table("things")
    stamps = []
    for n in range(3):
        transaction = database.begin()
        insert(transaction, table, n=n)
        stamps.append(database.committed(transaction))
    database.environment.advance(LogLimits().log_retention_seconds + 1)
    transaction = database.begin()
    insert(transaction, table, n=3)
    last = database.committed(transaction)

    with database.store.snapshot() as now:
        assert now.log_floor_ts() == stamps[-1]
        for ts in stamps[:-1]:
            with pytest.raises(OutOfRetention, match=f"as it was at {ts}"):
                PastSnapshot(now, ts)
        for ts in (stamps[-1], last):
            assert PastSnapshot(now, ts).ts == ts


def test_too_much_to_take_back_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_snapshot_module, "PAST_READ_COMMITS_MAX", 2)
    table = database.create_table("things")
    with database.store.snapshot() as snapshot:
        ts = snapshot.ts
    for n in range(3):
        transaction = database.begin()
        insert(transaction, table, n=n)
        database.committed(transaction)

    with database.store.snapshot() as now, pytest.raises(OutOfRetention, match="More than 2 commits"):
        PastSnapshot(now, ts)


# --- a copy


def raw_copy(store: LmdbStore) -> dict[str, list[tuple[bytes, bytes]]]:
    """Every byte that is stored."""
    with store.environment.begin() as transaction:
        return {
            name: list(transaction.cursor(db=getattr(store, name))) for name in ("meta", "documents", "indexes", "log")
        }


def test_a_copy_made_from_the_log_is_the_same_byte_for_byte(database: Database, tmp_path: Path) -> None:
    """In batches of any size, and going on where it stopped. The same code applies them there and here."""
    with database.store.snapshot() as snapshot:
        origin = (snapshot.ts, snapshot.instance_secret())
    chance = random.Random(1)
    (tmp_path / "copy").mkdir()
    copy = LmdbStore(tmp_path / "copy", readonly=False, sync=False)
    log = LmdbCommitLog(database.store, database.environment)
    replica = LmdbCommitLog(copy, database.environment, origin=origin)
    for _ in range(4):
        for _ in range(COMMITS // 4):
            write_at_random(database, chance)
        commits = list(log.tail(replica.last_ts))
        while commits:
            size = chance.randrange(1, len(commits) + 1)
            replica.append(replica.last_ts, commits[:size])
            del commits[:size]
        assert raw_copy(copy) == raw_copy(database.store)
    copy.close()


def test_an_append_to_a_log_that_has_moved_is_refused(database: Database) -> None:
    database.create_table("things")
    log = LmdbCommitLog(database.store, database.environment)
    commits = list(log.tail(0 if log.last_ts == 0 else log.last_ts - 1))
    before = raw_copy(database.store)

    with pytest.raises(LogMoved, match="another server"):
        log.append(log.last_ts - 1, commits)

    assert raw_copy(database.store) == before


def test_the_tail_from_before_what_is_kept_is_refused(database: Database) -> None:
    log = LmdbCommitLog(database.store, database.environment)

    with pytest.raises(OutOfRetention, match="not all kept"):
        list(log.tail(0))
