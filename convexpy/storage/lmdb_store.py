"""The LMDB environment: snapshots for every process, write batches for the committer alone.

A snapshot is an LMDB read transaction. It must be short: while it is open LMDB cannot reuse freed pages and the file
grows (py-lmdb: docs/index.rst). Values are copied out, so they outlive it.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import lmdb

from convexpy.limits import DISK_RESERVE_BYTES, MAP_RESERVE_BYTES_MAX, MAP_RESERVE_SHARE, READERS_MAX
from convexpy.storage.data_folder import stored_map_bytes
from convexpy.storage.keys import decode_ts, encode_ts

LAST_COMMIT_TS = b"last_commit_ts"  # and after its eight bytes what else is written with each commit
CATALOG_TS = b"catalog_ts"
INSTANCE_SECRET = b"instance_secret"
LOG_FLOOR_TS = b"log_floor_ts"  # of the newest commit that the log does not hold any more

StoreError = lmdb.Error
_DISK_FULL = ("No space left on device", "File too large", "Disk quota exceeded")


class Snapshot:
    """The database as it is at `ts`, for as long as this object is open."""

    __slots__ = ("_cursors", "_documents", "_indexes", "_log", "_meta", "_store", "_transaction", "catalog_ts", "ts")

    def __init__(self, store: LmdbStore) -> None:
        self._store = store
        self._transaction = store.environment.begin()
        store.open_snapshots += 1
        self._cursors: set[Any] = set()
        self._documents, self._indexes, self._log = store.documents, store.indexes, store.log
        meta = self._meta = store.meta
        # Read inside the transaction: another process may commit between two calls.
        self.ts = decode_ts(self._transaction.get(LAST_COMMIT_TS, db=meta) or encode_ts(0))
        self.catalog_ts = decode_ts(self._transaction.get(CATALOG_TS, db=meta) or encode_ts(0))

    def last_commit(self) -> bytes:
        """The whole value of `LAST_COMMIT_TS`; empty where nothing was initialised."""
        return self._transaction.get(LAST_COMMIT_TS, db=self._meta) or b""

    def instance_secret(self) -> bytes:
        """32 random bytes of this database; signs cursors and upload tokens."""
        secret = self._transaction.get(INSTANCE_SECRET, db=self._meta)
        assert secret is not None, "the committer writes the secret when it initialises a database"
        return secret

    def document(self, key: bytes) -> bytes | None:
        """Read one stored document: u64 commit timestamp ‖ packed fields."""
        found: bytes | None = self._transaction.get(key, db=self._documents)
        return found

    def document_entries(self, start: bytes, end: bytes, descending: bool) -> Iterator[tuple[bytes, bytes]]:
        """Documents with `start <= key < end`, in key order or its reverse."""
        return self._scan(self._documents, start, end, descending)

    def index_keys(self, start: bytes, end: bytes, descending: bool) -> Iterator[bytes]:
        """Index entries with `start <= key < end`, in key order or its reverse."""
        for key, _ in self._scan(self._indexes, start, end, descending):
            yield key

    def has_entry(self, key: bytes) -> bool:
        """Whether an index entry is there."""
        return self._transaction.get(key, db=self._indexes) is not None

    def log_floor_ts(self) -> int:
        """Of this commit and those before it the log says nothing; all later ones are in it."""
        return decode_ts(self._transaction.get(LOG_FLOOR_TS, db=self._meta) or encode_ts(self.ts))

    def log_entries(self, from_ts: int, to_ts: int) -> Iterator[tuple[int, bytes]]:
        """Log values of the commits with `from_ts <= ts < to_ts`, in commit order."""
        for key, value in self._scan(self._log, encode_ts(from_ts), encode_ts(to_ts), False):
            yield decode_ts(key), value

    def _scan(self, database: Any, start: bytes, end: bytes, descending: bool) -> Iterator[tuple[bytes, bytes]]:
        cursor = self._transaction.cursor(db=database)
        self._cursors.add(cursor)
        try:
            yield from _walk(cursor, start, end, descending)
        finally:
            cursor.close()
            self._cursors.discard(cursor)

    def close(self) -> None:
        """End the read transaction; a scan that somebody still holds cannot go on."""
        for cursor in self._cursors:
            cursor.close()
        self._cursors = set()
        self._transaction.abort()
        self._store.open_snapshots -= 1
        # LMDB's reader slot is free only when the last reference is gone (py-lmdb keeps it with the object).
        del self._transaction

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _walk(cursor: Any, start: bytes, end: bytes, descending: bool) -> Iterator[tuple[bytes, bytes]]:
    if descending:
        found = cursor.prev() if cursor.set_range(end) else cursor.last()
        while found:
            key = cursor.key()
            if key < start:
                return
            yield key, cursor.value()
            found = cursor.prev()
    else:
        found = cursor.set_range(start)
        while found:
            key = cursor.key()
            if key >= end:
                return
            yield key, cursor.value()
            found = cursor.next()


class LmdbStore:
    """One opened environment. Exactly one process may hold a writable one (the data folder's lock sees to it).

    Args:
        folder: holds `data.mdb`.
        readonly: workers read; only the committer writes.
        sync: False only in tests: a crash of the machine may then corrupt the file.
        metasync: False with `--durability=relaxed`: power loss may cost the last commits, never integrity.
        map_bytes: the size that the file may reach, None: as the data folder says. A full one refuses commits. The
            last part of it is a writer's reserve, see `use_whole_map`.
    """

    def __init__(
        self, folder: Path, *, readonly: bool, sync: bool = True, metasync: bool = True, map_bytes: int | None = None
    ) -> None:
        map_bytes = stored_map_bytes(folder) if map_bytes is None else map_bytes
        self.folder = folder
        self.readonly = readonly
        self.open_snapshots = 0
        self.map_bytes = map_bytes
        self._reserve_bytes = 0 if readonly else min(int(map_bytes * MAP_RESERVE_SHARE), MAP_RESERVE_BYTES_MAX)
        self.environment = lmdb.open(
            str(folder / "data.mdb"),
            subdir=False,
            map_size=map_bytes - self._reserve_bytes,
            max_dbs=8,
            max_readers=READERS_MAX,
            readonly=readonly,
            create=not readonly,
            sync=sync,
            metasync=metasync,
            lock=True,
            readahead=True,
            max_spare_txns=4,
        )
        self.meta = self._database(b"meta")
        self.documents = self._database(b"documents")
        self.indexes = self._database(b"indexes")
        self.log = self._database(b"log")

    def _database(self, name: bytes) -> Any:
        return self.environment.open_db(name, create=not self.readonly)

    def snapshot(self) -> Snapshot:
        """Begin a read transaction at the latest commit."""
        return Snapshot(self)

    def use_whole_map(self) -> None:
        """Let the file grow into the reserve. Nothing happens while this process reads: the map may move."""
        if not self.open_snapshots:
            self.environment.set_mapsize(self.map_bytes)

    def leave_map_reserve(self) -> None:
        """Let the file grow no further than before `use_whole_map`, or than it has grown since."""
        if not self.open_snapshots:
            self.environment.set_mapsize(self.map_bytes - self._reserve_bytes)

    def missing_space(self, error: StoreError) -> Literal["", "map", "disk"]:
        """Which of them is full if that is why a write failed. Else nobody knows what the failure has left behind.

        A write that the disk takes a part of is "Input/output error" in LMDB 0.9 (mdb.c: "short write, filesystem
        full?"), so then the disk itself is asked.
        """
        text = str(error)
        if "MDB_MAP_FULL" in text:
            return "map"
        is_short = "Input/output error" in text and _room_bytes(self.folder) < DISK_RESERVE_BYTES
        return "disk" if is_short or any(sign in text for sign in _DISK_FULL) else ""

    def sync(self) -> None:
        """Force everything committed to disk."""
        self.environment.sync(True)

    def clear_stale_readers(self) -> int:
        """Free the reader slots of processes that died; returns how many."""
        return int(self.environment.reader_check())

    def sizes(self) -> dict[str, int]:
        """Bytes of the pages that each of our databases takes, and of the file: what is in neither is free."""
        with self.environment.begin() as transaction:
            found = {
                name: page_bytes(transaction.stat(getattr(self, name)))
                for name in ("documents", "indexes", "log", "meta")
            }
        info = self.environment.info()
        return {**found, "file": (info["last_pgno"] + 1) * self.environment.stat()["psize"]}

    def copy_compact(self, target: Path) -> None:
        """Write a copy without free pages; it is on disk when this returns."""
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            self.environment.copyfd(fd, compact=True)
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        self.environment.close()


def _room_bytes(folder: Path) -> int:
    """How much more the database's file may grow on this disk and in this process."""
    facts = os.statvfs(folder)
    file_bytes_max, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = facts.f_bavail * facts.f_frsize
    if file_bytes_max != resource.RLIM_INFINITY:
        room = min(room, file_bytes_max - (folder / "data.mdb").stat().st_size)
    return room


def page_bytes(facts: Mapping[str, Any]) -> int:
    """Bytes of the pages that LMDB's `stat` of one database tells of."""
    return int((facts["branch_pages"] + facts["leaf_pages"] + facts["overflow_pages"]) * facts["psize"])
