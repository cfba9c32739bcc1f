"""Finds snapshots that stay open for too long while others commit: each keeps LMDB from using pages again.

Calls are bounded by their own limits, and the workers that run them are killed at those. What is left is a process that
no call bounds: an action worker that was stopped within one of its short reads, or somebody else's tool on the file.
The first is killed, for its reads take milliseconds and its actions are lost already. The second is not ours to kill;
the operator is told who it is and what it costs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from convexpy.environment import Environment
from convexpy.limits import OLD_READER_LOOK_SECONDS, OLD_READER_SECONDS_MAX
from convexpy.storage.lmdb_store import LmdbStore

_STOPPABLE = "cvx-action"  # function workers are killed at their calls' hard limits, whatever holds them up
_OWN = "cvx-"


class _Reader(NamedTuple):
    pid: int
    thread: str
    transaction: str


class OldReaders:
    """Looks now and then, from the process that commits: without commits no snapshot costs anything.

    Args:
        report: takes a sentence for the operator.
    """

    def __init__(self, store: LmdbStore, environment: Environment, report: Callable[[str], None]) -> None:
        self._store = store
        self._environment = environment
        self._report = report
        self._first_seen: dict[_Reader, float] = {}
        self._reported: set[_Reader] = set()
        self._next_look = 0.0

    def look(self) -> None:
        """Call after each batch; it looks at the reader table every OLD_READER_LOOK_SECONDS."""
        now = self._environment.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + OLD_READER_LOOK_SECONDS
        readers = self._open_readers()
        self._first_seen = {reader: self._first_seen.get(reader, now) for reader in readers}
        self._reported &= readers
        for reader, since in self._first_seen.items():
            if now - since >= OLD_READER_SECONDS_MAX and reader not in self._reported:
                self._reported.add(reader)
                self._deal_with(reader, now - since)

    def _open_readers(self) -> set[_Reader]:
        """Who has a snapshot open; a slot without one shows a dash for its transaction."""
        rows = [line.split() for line in self._store.environment.readers().splitlines()[1:]]
        return {_Reader(int(row[0]), row[1], row[2]) for row in rows if len(row) == 3 and row[2] != "-"}

    def _deal_with(self, reader: _Reader, seconds: float) -> None:
        name, session = _process(reader.pid)
        is_ours = name.startswith(_OWN) and session == os.getsid(0)
        if is_ours and name != _STOPPABLE:
            return
        text = f"Process {reader.pid} ({name}) has kept one state of the database open for {seconds:.0f} s"
        if is_ours:
            os.kill(reader.pid, signal.SIGKILL)
            self._report(f"{text} and was killed: so long nothing that is deleted or replaced makes room in the file.")
        else:
            self._report(
                f"{text}. Until it ends its read, nothing that is deleted or replaced makes room, and data.mdb grows "
                f"with every commit. Stop that process if it is a tool of yours."
            )


def _process(pid: int) -> tuple[str, int]:
    """A process's name and session; ("gone", 0) for one that has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "gone", 0
    name, _, rest = text.partition("(")[2].rpartition(")")
    return name, int(rest.split()[3])
