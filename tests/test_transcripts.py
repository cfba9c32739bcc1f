"""A failure tells what the processes of its test have said, and nothing that was said to tests before it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE_SECONDS

FAILING_TESTS = """
import asyncio

import pytest

from tests.clients.server import Server
from tests.faults.conftest import APP, server
from tests.faults.convex_client import http
from tests.patience import PATIENCE_SECONDS


def read_aloud(server, name):
    async def call():
        async with http(server.port) as connection:
            await connection.value("query", "counters:read_aloud", {"name": name})

    asyncio.run(call())
    while f"{name} is read as 0" not in server.output.next(PATIENCE_SECONDS):
        pass


def test_passes(server):
    read_aloud(server, "what passed")


def test_fails(server):
    read_aloud(server, "what failed")
    raise AssertionError("on purpose")


def test_dies(server, tmp_path):
    own = Server(APP, tmp_path / "data")
    own.start()
    read_aloud(own, "what died")
    own.kill()
    raise AssertionError("on purpose")


@pytest.fixture
def broken(server):
    read_aloud(server, "what was begun")
    raise AssertionError("on purpose")


def test_has_a_broken_fixture(broken):
    pass
"""


def failures_of(folder: Path) -> dict[str, str]:
    """Run tests as the suite does; what is told of each that fails, by its name."""
    (folder / "test_failing.py").write_text(FAILING_TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), "-c", "/dev/null", str(folder / "test_failing.py")],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_SECONDS,  # it starts two servers
    )
    assert "2 failed, 1 passed, 1 error" in done.stdout, done.stdout + done.stderr
    names = ("test_has_a_broken_fixture", "test_fails", "test_dies")  # in the order in which they are told of
    starts = [re.search(rf"^_+ .*{name} _+$", done.stdout, re.MULTILINE) for name in names]
    places = [start.start() for start in starts if start is not None]
    return {name: done.stdout[a:b] for name, a, b in zip(names, places, [*places[1:], None], strict=True)}


def test_a_failure_shows_the_output_of_its_servers(tmp_path: Path) -> None:
    """Running or dead, of the test alone or shared, begun by the test or by its fixtures."""
    told = failures_of(tmp_path)

    assert "[LOG] what failed is read as 0" in told["test_fails"]
    assert "[LOG] what was begun is read as 0" in told["test_has_a_broken_fixture"]
    assert "[LOG] what died is read as 0" in told["test_dies"]
    assert "ended with status -9" in told["test_dies"]
    assert not any("what passed" in part for part in told.values())
    assert "what failed" not in told["test_dies"]
