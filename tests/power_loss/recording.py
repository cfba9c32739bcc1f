"""Records every write and sync that LMDB makes, with its bytes and in order, by standing in for the C library.

py-lmdb's extension calls `pwrite`, `writev`, `fdatasync` and their like through its global offset table. While a
recorder is active the table's slots lead to functions here, which note the call and then make it. Nothing but the
interpreter is needed for that, and LMDB itself is the one that people install.

Source: System V ABI, chapter 5 (procedure linkage table); LMDB 0.9 mdb.c (mdb_page_flush, mdb_env_write_meta).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import lmdb.cpython
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection


class Write(NamedTuple):
    """Bytes at an offset. `is_synced`: the descriptor was opened with O_DSYNC, so they are on the disk at once."""

    offset: int
    data: bytes
    is_synced: bool


class Sync(NamedTuple):
    """All writes before it are on the disk."""


class Acknowledged(NamedTuple):
    """From here on somebody counts on this many commits."""

    commits: int


Event = Write | Sync | Acknowledged


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.lseek.restype = _libc.pwrite.restype = _libc.writev.restype = _libc.write.restype = ctypes.c_ssize_t
_libc.lseek.argtypes = (ctypes.c_int, ctypes.c_long, ctypes.c_int)

_SIGNATURES = {
    "pwrite": (ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long),
    "write": (ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t),
    "writev": (ctypes.c_ssize_t, ctypes.c_int, ctypes.POINTER(_Vector), ctypes.c_int),
    "fdatasync": (ctypes.c_int, ctypes.c_int),
    "fsync": (ctypes.c_int, ctypes.c_int),
    "ftruncate": (ctypes.c_int, ctypes.c_int, ctypes.c_long),
}


class Recorder:
    """The events of one file, in order. `acknowledged` adds what the program promised in between."""

    def __init__(self, file: Path) -> None:
        self.events: list[Event] = []
        self._file = str(file)

    def acknowledged(self, commits: int) -> None:
        self.events.append(Acknowledged(commits))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what this process has LMDB write meanwhile."""
        slots = _slots(list(_SIGNATURES))
        replacements: dict[str, Any] = {
            "pwrite": self._pwrite,
            "write": self._write,
            "writev": self._writev,
            "fdatasync": self._fdatasync,
            "fsync": self._fsync,
            "ftruncate": self._ftruncate,
        }
        callbacks = {
            name: ctypes.CFUNCTYPE(*_SIGNATURES[name], use_errno=True)(function)
            for name, function in replacements.items()
        }
        before = {name: slot.value for name, slot in slots.items()}
        for name, slot in slots.items():
            slot.value = ctypes.cast(callbacks[name], ctypes.c_void_p).value
        try:
            yield
        finally:
            for name, slot in slots.items():
                slot.value = before[name]

    def _pwrite(self, fd: int, data: int, size: int, offset: int) -> int:
        return self._note(fd, offset, data, int(_libc.pwrite(fd, ctypes.c_void_p(data), size, ctypes.c_long(offset))))

    def _write(self, fd: int, data: int, size: int) -> int:
        offset = _libc.lseek(fd, 0, os.SEEK_CUR)
        return self._note(fd, offset, data, int(_libc.write(fd, ctypes.c_void_p(data), size)))

    def _writev(self, fd: int, vectors: Any, count: int) -> int:
        offset = _libc.lseek(fd, 0, os.SEEK_CUR)
        written = int(_libc.writev(fd, vectors, count))
        if written > 0 and self._is_ours(fd):
            data = b"".join(ctypes.string_at(vectors[n].base, vectors[n].size) for n in range(count))[:written]
            self.events.append(Write(offset, data, _is_synced(fd)))
        return written

    def _note(self, fd: int, offset: int, data: int, written: int) -> int:
        if written > 0 and self._is_ours(fd):
            self.events.append(Write(offset, ctypes.string_at(data, written), _is_synced(fd)))
        return written

    def _fdatasync(self, fd: int) -> int:
        return self._synced(fd, int(_libc.fdatasync(fd)))

    def _fsync(self, fd: int) -> int:
        return self._synced(fd, int(_libc.fsync(fd)))

    def _ftruncate(self, fd: int, size: int) -> int:
        assert not self._is_ours(fd), "LMDB cuts or extends the database, which is not recorded"
        return int(_libc.ftruncate(fd, ctypes.c_long(size)))  # its lock file

    def _synced(self, fd: int, result: int) -> int:
        if result == 0 and self._is_ours(fd):
            self.events.append(Sync())
        return result

    def _is_ours(self, fd: int) -> bool:
        return str(Path(f"/proc/self/fd/{fd}").readlink()) == self._file


def _is_synced(fd: int) -> bool:
    flags = next(line for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines() if line.startswith("flags"))
    return bool(int(flags.split()[1], 8) & os.O_DSYNC)


def _slots(names: list[str]) -> dict[str, ctypes.c_void_p]:
    """Where the extension keeps the addresses of these functions."""
    path = str(lmdb.cpython.__file__)
    base = min(
        int(line.split("-")[0], 16) for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(path)
    )
    found = {}
    with Path(path).open("rb") as file:
        elf = ELFFile(file)
        for section in elf.iter_sections():
            if not isinstance(section, RelocationSection):
                continue
            symbols = elf.get_section(section["sh_link"])
            assert isinstance(symbols, SymbolTableSection)
            for relocation in section.iter_relocations():
                name = symbols.get_symbol(relocation["r_info_sym"]).name.removesuffix("64")
                if name in names:
                    found[name] = ctypes.c_void_p.from_address(base + relocation["r_offset"])
    assert {"pwrite", "fdatasync"} <= found.keys(), f"{path} does not call the C library as expected: {sorted(found)}"
    return found
