"""A snapshot that somebody keeps open makes the file grow with every commit: whoever does is found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from convexpy.limits import OLD_READER_LOOK_SECONDS, OLD_READER_SECONDS_MAX
from convexpy.storage.lmdb_store import LmdbStore
from convexpy.storage.old_readers import OldReaders
from tests.manual_environment import ManualEnvironment
from tests.patience import PATIENCE_SECONDS

READER = """
import pathlib, sys
from convexpy.storage.lmdb_store import LmdbStore
folder, name = sys.argv[1:]
pathlib.Path("/proc/self/comm").write_text(name)
store = LmdbStore(pathlib.Path(folder), readonly=True, map_bytes=2**24)
snapshot = store.snapshot()
print("reads", flush=True)
sys.stdin.readline()
snapshot.close()
print("has ended its read", flush=True)
sys.stdin.readline()
"""


class Watched:
    """A database whose committer looks at its readers."""

    def __init__(self, folder: Path) -> None:
        self.store = LmdbStore(folder, readonly=False, sync=False, map_bytes=2**24)
        self.environment = ManualEnvironment()
        self.reports: list[str] = []
        self.readers = OldReaders(self.store, self.environment, self.reports.append)
        self.commit()

    def commit(self) -> None:
        with self.store.environment.begin(write=True) as transaction:
            transaction.put(b"key", str(self.environment.now_ns()).encode(), db=self.store.meta)
        self.readers.look()

    def commit_for(self, seconds: float) -> None:
        """Commits in even intervals, on a clock that stands still in between."""
        for _ in range(int(seconds / OLD_READER_LOOK_SECONDS) + 1):
            self.commit()
            self.environment.advance(OLD_READER_LOOK_SECONDS)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path)
    yield watched
    watched.store.close()


@contextmanager
def reader(folder: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """A process that reads, until it is written a line."""
    command = [sys.executable, "-c", READER, str(folder), name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "reads\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_operator_is_told_once_of_a_tool_that_reads_for_long(watched: Watched, tmp_path: Path) -> None:
    """It is not ours to kill."""
    with reader(tmp_path, "mdb_copy") as process:
        watched.commit_for(OLD_READER_SECONDS_MAX - OLD_READER_LOOK_SECONDS)
        assert watched.reports == []

        watched.commit_for(3 * OLD_READER_SECONDS_MAX)

        assert len(watched.reports) == 1
        assert (
            f"Process {process.pid} (mdb_copy) has kept one state of the database open for 60 s." in watched.reports[0]
        )
        assert process.poll() is None


def test_a_reader_that_ends_in_time_is_nobodys_business(watched: Watched, tmp_path: Path) -> None:
    with reader(tmp_path, "mdb_copy") as process:
        assert process.stdin is not None and process.stdout is not None
        watched.commit_for(OLD_READER_SECONDS_MAX / 2)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "has ended its read\n"

        watched.commit_for(3 * OLD_READER_SECONDS_MAX)

        assert watched.reports == []


def test_an_action_worker_that_is_stuck_in_a_read_is_killed(watched: Watched, tmp_path: Path) -> None:
    """Its reads take milliseconds; stopped in one, it would be in nobody's way until its action's own limit."""
    with reader(tmp_path, "cvx-action") as process:
        watched.commit_for(2 * OLD_READER_SECONDS_MAX)

        assert process.wait(PATIENCE_SECONDS) == -9
        assert "(cvx-action)" in watched.reports[0] and "was killed" in watched.reports[0]


def test_function_workers_are_left_to_the_limits_of_their_calls(watched: Watched, tmp_path: Path) -> None:
    """A deployment may allow calls of minutes."""
    with reader(tmp_path, "cvx-function") as process:
        watched.commit_for(2 * OLD_READER_SECONDS_MAX)

        assert process.poll() is None
        assert watched.reports == []
