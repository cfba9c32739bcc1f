"""The processes of a server, as the kernel knows them."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from pathlib import Path

from tests.patience import PATIENCE_SECONDS


def processes_of(server_pid: int) -> dict[str, list[int]]:
    """Pids by name (`cvx-committer`, `cvx-function`, …) of all that runs in a server's session, without itself.

    The server of a test leads a session, and nothing of it leaves that, so an orphan is found here as well.
    """
    found: dict[str, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == server_pid:
            continue
        with contextlib.suppress(OSError):
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            state, _, _, session = rest.split()[:4]
            if int(session) == server_pid and state != "Z":
                found.setdefault(name, []).append(int(folder.name))
    return found


def processes_once(server_pid: int, is_so: Callable[[dict[str, list[int]]], bool]) -> dict[str, list[int]]:
    """`processes_of` as soon as it is as expected: a fork has its parent's name for a moment, and who was killed may
    still be ending. After long enough, as it is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so(found := processes_of(server_pid)) and time.monotonic() < deadline:
        time.sleep(0.01)  # between looks at the kernel's list, which tells nobody of its changes
    return found


def wait_until_gone(pids: list[int]) -> None:
    """Wait for the end of processes that need not be our children."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"process {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()}) outlived its server"
        finally:
            os.close(handle)
