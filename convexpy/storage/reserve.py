"""Space that is kept for making space: LMDB writes a page anew to change it, so a full database could not be emptied.

Two things may be full. The map, whose size is fixed: a writer opens it smaller than it may become, and the rest is the
reserve. The disk: a file of our own takes some of it, and is removed when that is needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convexpy.limits import DISK_RESERVE_BYTES
from convexpy.storage.lmdb_store import LmdbStore

FILE_NAME = "reserve"


class SpaceReserve:
    """The reserve of one data folder. Only the folder's writer may hold one."""

    def __init__(self, store: LmdbStore) -> None:
        self._store = store
        self._path = store.folder / FILE_NAME
        self._keep()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the reserve usable for a while. What is left of it afterwards, or has become free, is kept again."""
        with suppress(FileNotFoundError):
            self._path.unlink()
        self._store.use_whole_map()
        try:
            yield
        finally:
            self._store.leave_map_reserve()
            self._keep()

    def _keep(self) -> None:
        """Take the file's space from the disk; on a full disk another time."""
        if _holds(self._path, DISK_RESERVE_BYTES):
            return
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, DISK_RESERVE_BYTES)
        except OSError:
            self._path.unlink()
        finally:
            os.close(fd)


def _holds(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False
