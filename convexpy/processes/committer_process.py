"""The committer's process: takes all requests that wait as one batch, commits it, answers with one frame.

While one batch is being synced the next ones gather in the socket, so the batches grow with the load by themselves.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from convexpy.environment import RealEnvironment
from convexpy.limits import BATCH_REQUESTS_MAX, RELAXED_SYNC_INTERVAL_MS, LogLimits
from convexpy.processes.child import enter_child, leave
from convexpy.processes.frames import FrameSocket
from convexpy.processes.garbage import settle_collector
from convexpy.processes.host import resolve
from convexpy.processes.messages import Ready, StartFailed
from convexpy.storage.lmdb_store import LmdbStore
from convexpy.storage.old_readers import OldReaders
from convexpy.storage.reserve import SpaceReserve
from convexpy.transactions.commit_log import LmdbCommitLog
from convexpy.transactions.commit_messages import BatchOutcome, CommitRequest, Committed, Conflicted, Refused
from convexpy.transactions.committer import Committer

Requests = list[tuple[int, CommitRequest]]
Outcomes = list[Committed | Conflicted | Refused]


@dataclass
class CommitterParts:
    """What the process runs.

    Args:
        commit: one batch; when it returns, the batch is in the database, and synced unless `sync` is given.
        sync: with relaxed durability: forces to disk what was committed since the last time.
        close: the process is leaving.
    """

    commit: Callable[[Requests], Outcomes]
    sync: Callable[[], None] | None = None
    close: Callable[[], None] | None = None


def open_committer(settings: Mapping[str, Any]) -> CommitterParts:
    """Open the database of `data_folder` for writing; `is_relaxed`: commit without waiting for the last sync; the log
    is kept as far as `log_limits` say; `functions_pending`: see `Committer`."""
    store = LmdbStore(Path(settings["data_folder"]), readonly=False, metasync=not settings["is_relaxed"])
    store.clear_stale_readers()
    environment = RealEnvironment()
    limits = LogLimits(**settings["log_limits"])
    log = LmdbCommitLog(store, environment, reserve=SpaceReserve(store), limits=limits)
    committer = Committer(log, environment, backlog_max=settings["functions_pending"])
    old_readers = OldReaders(store, environment, lambda text: print(text, file=sys.stderr, flush=True))

    def commit(requests: Requests) -> Outcomes:
        outcomes = committer.commit(requests)
        old_readers.look()
        return outcomes

    return CommitterParts(commit, store.sync if settings["is_relaxed"] else None, store.close)


def main(settings: dict[str, Any]) -> None:
    """Entry of the process: `socket` a descriptor, `parts` names `open_committer` or a test's own."""
    enter_child("cvx-committer", settings["parent_pid"])
    frames = FrameSocket(socket.socket(fileno=settings["socket"]))
    try:
        parts: CommitterParts = resolve(settings["parts"])(settings)
    except Exception as error:
        traceback.print_exc()
        frames.send(StartFailed(f"{type(error).__name__}: {error}"))
        leave(1)
    settle_collector()
    frames.send(Ready(os.getpid()))
    try:
        serve_commits(frames, parts)
    except ConnectionError:
        pass  # the server is gone; what is committed is in the database, and the next server finds it there
    finally:
        if parts.sync is not None:
            parts.sync()
        if parts.close is not None:
            parts.close()


def serve_commits(frames: FrameSocket, parts: CommitterParts) -> None:
    """Commit until the socket ends. An error of `commit` itself ends the process: the batch's fate is then unknown.

    Raises:
        ConnectionError: the socket broke while answering.
    """
    decoder = msgspec.msgpack.Decoder(Requests)
    waiting: deque[tuple[int, CommitRequest]] = deque()
    sync_timer = _SyncTimer(parts.sync)
    while True:
        if not waiting:
            if not sync_timer.wait_for_input(frames):
                continue
            first = frames.read()
            if first is None:
                return
            waiting.extend(decoder.decode(first))
        while len(waiting) < BATCH_REQUESTS_MAX and (more := frames.read_ready()) is not None:
            waiting.extend(decoder.decode(more))
        batch = [waiting.popleft() for _ in range(min(len(waiting), BATCH_REQUESTS_MAX))]
        frames.send(BatchOutcome(parts.commit(batch)))
        sync_timer.committed()


class _SyncTimer:
    """Bounds how long a commit stays unsynced under relaxed durability; does nothing under full durability."""

    def __init__(self, sync: Callable[[], None] | None) -> None:
        self._sync = sync
        self._due: float | None = None

    def committed(self) -> None:
        """Something is unsynced now; syncs at once if something has been for the whole interval."""
        if self._sync is None:
            return
        if self._due is None:
            self._due = time.monotonic() + RELAXED_SYNC_INTERVAL_MS / 1000
        elif time.monotonic() >= self._due:
            self._sync_now(self._sync)

    def wait_for_input(self, frames: FrameSocket) -> bool:
        """Wait for requests; False when a sync was due before any came."""
        if self._sync is None or self._due is None or frames.has_frame:
            return True
        left_ms = max(0.0, self._due - time.monotonic()) * 1000
        poll = select.poll()
        poll.register(frames.fileno(), select.POLLIN)
        if poll.poll(left_ms):
            return True
        self._sync_now(self._sync)
        return False

    def _sync_now(self, sync: Callable[[], None]) -> None:
        sync()
        self._due = None
