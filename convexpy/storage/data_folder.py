"""The folder that holds one deployment: its format, its lock, its admin key.

convexpy.json   format, engine, map size, deployment name, created
lock            held by the one server that uses the folder
admin_key       `<deployment>|<64 hex>`, readable by its owner only
data.mdb        the database
files/          stored files
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from convexpy.errors import DataFolderError
from convexpy.limits import MAP_BYTES, MAP_BYTES_MIN

FORMAT = 2
FACTS = "convexpy.json"


@dataclass
class DataFolder:
    """An opened data folder. `lock()` before the committer starts; the lock ends with this process."""

    path: Path
    deployment: str
    admin_key: str
    _lock_fd: int | None = field(default=None, repr=False)

    def lock(self) -> None:
        """Become the folder's one server.

        Raises:
            DataFolderError: another process holds it; the text names its process id.
        """
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise DataFolderError(
                f"The data folder {self.path} is in use by another convexpy server (process {holder}). "
                f"Stop that server, or give this one a folder of its own with --data DIR."
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock_fd = fd

    def unlock(self) -> None:
        """Let the next server in."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


def stored_map_bytes(path: Path) -> int:
    """The size that the database of a data folder may reach; decided when the folder was created."""
    try:
        size = json.loads((path / FACTS).read_text())["map_bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        return MAP_BYTES
    return size if isinstance(size, int) and size >= MAP_BYTES_MIN else MAP_BYTES


def open_data_folder(path: Path, created_ns: int, map_bytes: int = MAP_BYTES) -> DataFolder:
    """Open a data folder; a missing or empty one is created.

    Args:
        map_bytes: of a new folder; see `stored_map_bytes`.

    Raises:
        DataFolderError: not ours, of an unknown format, or not writable.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataFolderError(f"The data folder {path} cannot be created: {error.strerror}.") from error
    facts_path, key_path = path / FACTS, path / "admin_key"
    if not facts_path.exists():
        if (path / "data.mdb").exists():
            raise DataFolderError(f"{path} holds a data.mdb but no convexpy.json, so it is no folder of convexpy's.")
        _create(path, facts_path, key_path, created_ns, map_bytes)
    try:
        facts = json.loads(facts_path.read_text())
        found = facts["format"]
        deployment = str(facts["deployment"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DataFolderError(f"{facts_path} cannot be read: {error!r}. Restore it from a backup.") from error
    if found != FORMAT:
        raise DataFolderError(
            f"The data folder {path} has format {found!r}; this convexpy knows format {FORMAT}. "
            f"Use the version of convexpy that wrote it, or export there and import here."
        )
    if not key_path.exists():
        _write_admin_key(key_path, deployment)
    return DataFolder(path, deployment, key_path.read_text().strip())


def sync_folder(path: Path) -> None:
    """Force a folder's own entries to disk: files that were made, renamed or removed in it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _create(path: Path, facts_path: Path, key_path: Path, created_ns: int, map_bytes: int) -> None:
    deployment = f"local-{secrets.token_hex(4)}"
    facts = {
        "format": FORMAT,
        "engine": "lmdb-0.9",
        "map_bytes": map_bytes,
        "deployment": deployment,
        "created_ms": created_ns // 1_000_000,
    }
    (path / "files").mkdir(exist_ok=True)
    _write_admin_key(key_path, deployment)
    # Last and in one step: a folder without it counts as new.
    draft = facts_path.with_suffix(".draft")
    with draft.open("w") as file:
        file.write(json.dumps(facts, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(facts_path)
    sync_folder(path)
    sync_folder(path.parent)


def _write_admin_key(key_path: Path, deployment: str) -> None:
    fd = os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(f"{deployment}|{secrets.token_hex(32)}\n")
        file.flush()
        os.fsync(file.fileno())
