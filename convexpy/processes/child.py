"""What every process but the server does first: tie its life to its parent's, take a name, bound its memory."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # linux: include/uapi/linux/prctl.h
_PR_SET_NAME = 15
NAME_CHARS_MAX = 15

_libc = ctypes.CDLL(None, use_errno=True)


def enter_child(name: str, parent_pid: int) -> None:
    """Make this process die with its parent, leave Ctrl+C to the server, and show `name` in `ps` and `top`.

    The kernel watches the parent's *thread* that started the child (man 2 PR_SET_PDEATHSIG), so children are started
    from main threads only.

    Args:
        name: the first 15 characters are shown.
        parent_pid: who started this process. If that one has died before the kernel watched it, this process exits.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)
    _libc.prctl(_PR_SET_NAME, name.encode()[:NAME_CHARS_MAX], 0, 0, 0)
    # A handler, not SIG_IGN: programs that an action starts would inherit that. The server decides about Ctrl+C.
    signal.signal(signal.SIGINT, _leave_to_the_server)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave_to_the_server(number: int, frame: FrameType | None) -> None:
    """Take the signal and do nothing."""


def limit_memory(memory_bytes: int) -> None:
    """Let this process's private memory grow by at most `memory_bytes` from here; then Python raises MemoryError.

    RLIMIT_DATA counts private writable memory. The database's map is shared and read-only, so it does not count,
    whereas a limit of address space would refuse it (man 2 getrlimit; data since Linux 4.7).
    """
    used_bytes = _data_bytes()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = used_bytes + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _data_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("/proc/self/status has no VmData")


def own_bytes() -> int:
    """Resident memory of this process that is backed by no file: what it has read of the database's map is not in it.

    Source: man 5 proc_pid_statm; its third field counts pages of files and of shared memory.
    """
    _, resident, of_files, *_ = Path("/proc/self/statm").read_text().split()
    return (int(resident) - int(of_files)) * resource.getpagesize()


def close_descriptors(descriptors: Iterable[int]) -> None:
    """Close what a forked child inherited and must not keep open; those already closed are passed over."""
    for descriptor in descriptors:
        with suppress(OSError):
            os.close(descriptor)


def leave(status: int) -> NoReturn:
    """End a forked process without running what its parent registered for its own end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(status)
