"""The bytes of stored files: `files/<uuid>` in the data folder.

A file is written under another name, synced, renamed, its folder synced; only then is there a row for it. Whatever a
crash leaves behind has no row, and is swept when the server starts, before anybody can upload.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO

from convexpy.errors import ConvexpyError, InvalidRequest

UNFINISHED = ".uploading"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_CONTENT_TYPE = re.compile(r"[\x20-\x7e]{1,1024}\Z")


class StorageFull(ConvexpyError):
    """The disk has no room for a file; nothing of it is left."""


class DigestMismatch(InvalidRequest):
    """The bytes are not those that their digest promised; nothing of them is left."""


def is_uuid(text: str) -> bool:
    """Whether `text` can be the name of a stored file."""
    return _UUID.match(text) is not None


def checked_content_type(text: str | None) -> str | None:
    """Raises: InvalidRequest: it cannot be a header."""
    if text is not None and not (isinstance(text, str) and _CONTENT_TYPE.match(text)):
        raise InvalidRequest(f"The content type {text!r} cannot be sent as a header: use printable ASCII.")
    return text


class FileWriter:
    """One file on its way to disk. `finish` or `discard` it; every method blocks.

    Raises (all methods):
        StorageFull: and nothing is left.
    """

    def __init__(self, folder: Path, uuid: str) -> None:
        self.uuid = uuid
        self.size = 0
        self._digest = hashlib.sha256()
        self._folder = folder
        self._draft = folder / f"{uuid}{UNFINISHED}"
        try:
            folder.mkdir(exist_ok=True)
            self._file: BinaryIO = self._draft.open("xb")
        except OSError as error:
            raise self._failure(error) from error

    def write(self, data: bytes) -> None:
        """Append bytes."""
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failure(error) from error
        self._digest.update(data)
        self.size += len(data)

    def finish(self, sha256: str | None = None) -> str:
        """Make the file durable; gives its SHA-256 in base64.

        Raises:
            DigestMismatch: it is not `sha256`.
        """
        found = base64.b64encode(self._digest.digest()).decode()
        if sha256 is not None and sha256 != found:
            self.discard()
            raise DigestMismatch(f"The bytes have the SHA-256 {found}, but {sha256} was promised. Send them again.")
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._draft.rename(self._folder / self.uuid)
            descriptor = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._failure(error) from error
        return found

    def discard(self) -> None:
        """Leave nothing."""
        with contextlib.suppress(OSError):  # what it could not write is not wanted
            self._file.close()
        self._draft.unlink(missing_ok=True)
        (self._folder / self.uuid).unlink(missing_ok=True)

    def _failure(self, error: OSError) -> ConvexpyError:
        if hasattr(self, "_file"):
            self.discard()
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return StorageFull(
                f"There is no room on the disk of {self._folder} for this file; nothing of it is kept. Free space, or "
                f"move the data folder to a larger disk."
            )
        return ConvexpyError(f"The file cannot be written to {self._folder}: {error.strerror}.")


def names_in(folder: Path) -> list[str]:
    """Names of the finished files of a folder; unfinished ones are removed: nobody is writing when this is called."""
    if not folder.is_dir():
        return []
    names = []
    for entry in folder.iterdir():
        if entry.name.endswith(UNFINISHED):
            entry.unlink()
        elif is_uuid(entry.name):
            names.append(entry.name)
    return names
