"""Which call a worker is running, and since when: one page of memory that it shares with the server.

A worker answers several calls at once and cannot speak while it is inside a call. When it hangs or dies, this page
tells which call is to blame, so that those beside it are neither punished nor lost.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from typing import NamedTuple

PAGE_BYTES = mmap.PAGESIZE
_FIELDS = struct.Struct("=QQ")


class Progress(NamedTuple):
    """`call_id` began at `started_ns` of the monotonic clock, which all processes of a machine share."""

    call_id: int
    started_ns: int


class ProgressPage:
    """One worker's page: the worker writes, the server reads."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, PAGE_BYTES)

    @classmethod
    def create(cls) -> tuple[ProgressPage, int]:
        """Make a page; returns it with the descriptor that the worker opens it by, to be closed by the caller."""
        descriptor = os.memfd_create("convexpy-progress", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, PAGE_BYTES)
        return cls(descriptor), descriptor

    def begin(self, call_id: int) -> None:
        _FIELDS.pack_into(self._memory, 0, call_id + 1, time.monotonic_ns())

    def end(self) -> None:
        _FIELDS.pack_into(self._memory, 0, 0, 0)

    def read(self) -> Progress | None:
        """The call that is running; None between calls."""
        while True:
            fields = _FIELDS.unpack_from(self._memory, 0)
            # Written by another process without a lock: only what reads the same twice was not being written.
            if fields == _FIELDS.unpack_from(self._memory, 0):
                number, started_ns = fields
                return Progress(number - 1, started_ns) if number else None

    def close(self) -> None:
        self._memory.close()
