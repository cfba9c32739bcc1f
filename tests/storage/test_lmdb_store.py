"""Snapshots of a real LMDB file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from convexpy.storage.keys import encode_ts
from convexpy.storage.lmdb_store import CATALOG_TS, INSTANCE_SECRET, LAST_COMMIT_TS, LmdbStore, StoreError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    """A writable file with three documents, three index entries and a log of three commits."""
    opened = LmdbStore(tmp_path, readonly=False, sync=False)
    for ts in (1, 2, 3):
        write(opened, ts, {b"d%d" % ts: b"value %d" % ts})
    yield opened
    opened.close()


def write(store: LmdbStore, ts: int, documents: dict[bytes, bytes | None]) -> None:
    with store.environment.begin(write=True) as transaction:
        for key, value in documents.items():
            if value is None:
                transaction.delete(key, db=store.documents)
            else:
                transaction.put(key, value, db=store.documents)
                transaction.put(b"i" + key, b"", db=store.indexes)
        transaction.put(encode_ts(ts), b"log %d" % ts, db=store.log)
        transaction.put(LAST_COMMIT_TS, encode_ts(ts), db=store.meta)


def test_a_snapshot_does_not_move(store: LmdbStore) -> None:
    """What is committed after it began is for the next one; that holds for its timestamp too."""
    with store.snapshot() as before:
        write(store, 4, {b"d1": b"changed", b"d2": None, b"d9": b"new"})

        assert before.ts == 3
        assert [value for _, value in before.document_entries(b"d", b"e", False)] == [
            b"value 1",
            b"value 2",
            b"value 3",
        ]
        assert before.document(b"d9") is None
        with store.snapshot() as after:
            assert after.ts == 4
            assert list(after.document_entries(b"d", b"e", False)) == [
                (b"d1", b"changed"),
                (b"d3", b"value 3"),
                (b"d9", b"new"),
            ]


def test_a_reader_in_another_environment_sees_what_was_committed(store: LmdbStore, tmp_path: Path) -> None:
    folder = store.folder
    store.close()
    reader = LmdbStore(folder, readonly=True)
    with reader.snapshot() as snapshot:
        assert (snapshot.ts, snapshot.document(b"d3")) == (3, b"value 3")
    with pytest.raises(StoreError):
        reader.environment.begin(write=True)
    reader.close()


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (b"d1", b"d3", [b"d1", b"d2"]),
        (b"d1\x00", b"d3\x00", [b"d2", b"d3"]),
        (b"", b"\xff", [b"d1", b"d2", b"d3"]),
        (b"d2", b"d2", []),
        (b"d3", b"d1", []),
        (b"a", b"d1", []),
        (b"d4", b"e", []),
    ],
)
def test_a_walk_is_half_open_in_both_directions(
    store: LmdbStore, start: bytes, end: bytes, expected: list[bytes]
) -> None:
    with store.snapshot() as snapshot:
        assert [key for key, _ in snapshot.document_entries(start, end, False)] == expected
        assert [key for key, _ in snapshot.document_entries(start, end, True)] == expected[::-1]
        assert list(snapshot.index_keys(b"i" + start, b"i" + end, False)) == [b"i" + key for key in expected]
        assert list(snapshot.index_keys(b"i" + start, b"i" + end, True)) == [b"i" + key for key in expected[::-1]]


def test_an_empty_file_has_nothing_in_either_direction(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, readonly=False, sync=False)
    with store.snapshot() as snapshot:
        assert (snapshot.ts, snapshot.catalog_ts) == (0, 0)
        for descending in (False, True):
            assert list(snapshot.document_entries(b"", b"\xff", descending)) == []
    store.close()


def test_the_log_is_read_by_timestamp(store: LmdbStore) -> None:
    with store.snapshot() as snapshot:
        assert list(snapshot.log_entries(2, 4)) == [(2, b"log 2"), (3, b"log 3")]
        assert list(snapshot.log_entries(4, 9)) == []


def test_facts_of_the_database_are_read_in_the_snapshot(store: LmdbStore) -> None:
    with store.environment.begin(write=True) as transaction:
        transaction.put(CATALOG_TS, encode_ts(2), db=store.meta)
        transaction.put(INSTANCE_SECRET, b"secret", db=store.meta)
    with store.snapshot() as snapshot:
        assert (snapshot.catalog_ts, snapshot.instance_secret()) == (2, b"secret")


def test_a_scan_that_is_still_held_does_not_hold_the_snapshot(store: LmdbStore) -> None:
    """A leaked iterator must not occupy a reader slot, or LMDB could never reuse what was freed since."""
    snapshot = store.snapshot()
    held = snapshot.document_entries(b"d", b"e", False)
    next(held)
    snapshot.close()

    readers = store.environment.readers().splitlines()[1:]
    assert all(line.split()[2] == "-" for line in readers), readers
    with pytest.raises(lmdb.Error):
        next(held)


def test_a_full_map_is_a_store_error(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, readonly=False, sync=False, map_bytes=256 * 1024)
    with pytest.raises(StoreError, match="MDB_MAP_FULL"):
        write(store, 1, {b"big": b"x" * 1_000_000})
    with store.snapshot() as snapshot:
        assert (snapshot.ts, snapshot.document(b"big")) == (0, None)
    store.close()
