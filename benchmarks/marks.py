"""Notes in a running server's processes when a call gets from one stage to the next; `budget` reads what they note.

Each mark is one line in one file, with the instant on the machine's clock, which all processes share. A mark costs some
two microseconds; a mutation passes seventeen.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns  # not as an attribute of `time`, which the guard of functions replaces
from typing import Any, NamedTuple
from unittest import mock

TRACE = "BENCH_TRACE"
ROOT = Path(__file__).parents[1]

# In the order in which a mutation passes them; a frame is packed and taken at each of four ways between processes.
RECEIVED, CALLED, PACKED, TAKEN = "received", "called", "packed", "taken"
DECODED, VALIDATED, APPLIED, SYNCED = "decoded", "validated", "applied", "synced"
PUBLISHED, ANSWERED, WRITTEN = "published", "answered", "written"


class Mark(NamedTuple):
    """An instant in nanoseconds, and what a call had come to."""

    at_ns: int
    name: str


@contextmanager
def marked_servers(folder: Path) -> Iterator[Path]:
    """Have the servers that are started in the block note their marks; gives the file of them."""
    # Every process of Python imports a module of this name when it starts: so their own code need know nothing of it.
    (folder / "sitecustomize.py").write_text("from benchmarks import marks\nmarks.install()\n")
    trace = folder / "trace"
    with mock.patch.dict(os.environ, {TRACE: str(trace), "PYTHONPATH": f"{folder}:{ROOT}"}):
        yield trace


def read_marks(trace: Path) -> list[Mark]:
    """All marks so far, in the order in which they were passed."""
    lines = trace.read_text().splitlines()
    return sorted(Mark(int(line.partition(" ")[0]), line.partition(" ")[2]) for line in lines)


def laps(marks: list[Mark], names: tuple[str, ...]) -> list[list[float]]:
    """Microseconds between the marks of `names`, for each time that all of them were passed in this order.

    Other marks between them count for nothing, but where one round ends another may begin.
    """
    found, passed = [], list[int]()
    for at_ns, name in marks:
        if name == names[len(passed)]:
            passed.append(at_ns)
        elif name == names[0]:
            passed = [at_ns]
        if len(passed) == len(names):
            found.append([(after - before) / 1e3 for before, after in itertools.pairwise(passed)])
            passed = [at_ns] if name == names[0] else []
    return found


def install() -> None:
    """Note marks in this process from now on, which has imported nothing of ours yet."""
    trace = os.open(os.environ[TRACE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def mark(name: str) -> None:
        os.write(trace, f"{perf_counter_ns()} {name}\n".encode())

    def before(owner: Any, function: str, name: str) -> None:
        original = getattr(owner, function)

        @functools.wraps(original)
        def marked(*args: Any, **options: Any) -> Any:
            mark(name)
            return original(*args, **options)

        setattr(owner, function, marked)

    def after(owner: Any, function: str, name: str) -> None:
        original = getattr(owner, function)

        @functools.wraps(original)
        def marked(*args: Any, **options: Any) -> Any:
            result = original(*args, **options)
            mark(name)
            return result

        setattr(owner, function, marked)

    from convexpy.processes import frames

    after(frames, "pack_frame", PACKED)  # before others import it
    after(frames.FrameSocket, "read", TAKEN)
    before(frames.FrameConnection, "data_received", TAKEN)

    from convexpy.runtime.backend import RuntimeBackend
    from convexpy.runtime.publishing import Publisher
    from convexpy.sync.state import SyncState
    from convexpy.sync.transport import SyncTransport
    from convexpy.transactions.commit_log import LmdbCommitLog
    from convexpy.transactions.committer import Committer

    before(SyncTransport, "data_received", RECEIVED)
    before(RuntimeBackend, "mutation", CALLED)
    before(Committer, "commit", DECODED)
    before(LmdbCommitLog, "append", VALIDATED)
    after(LmdbCommitLog, "_trim", APPLIED)  # the last thing in LMDB's transaction
    after(LmdbCommitLog, "append", SYNCED)
    after(Publisher, "publish", PUBLISHED)
    after(SyncState, "mutation_ended", ANSWERED)
    after(SyncTransport, "write_through", WRITTEN)
