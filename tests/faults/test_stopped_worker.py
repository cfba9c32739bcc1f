"""A worker that is stopped inside a call holds a snapshot, so no page is used again: only until its hard limit."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.server import Server
from tests.faults.conftest import APP
from tests.faults.convex_client import http
from tests.faults.processes import processes_of

TIMEOUT_SECONDS = 0.3
TEXT_CHARS = 100_000  # of a document that is written over and over
WRITES = 60
GROWTH_SHARE_MAX = 0.5  # of what was written, once pages are used again


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A data file that nobody else writes to; of two workers one will be stopped. The log is short: it grows too."""
    limits = {"timeout_seconds": TIMEOUT_SECONDS, "log_retention_bytes": 1_000_000}
    options = tuple(word for name, value in limits.items() for word in ("--limit", f"{name}={value}"))
    server = Server(APP, tmp_path / "data", options=(*options, "--workers", "2"))
    server.start()
    yield server
    server.stop()


def test_a_stopped_worker_costs_no_more_than_its_hard_limit_allows(own_server: Server) -> None:
    """While it is stopped the file grows with every write; it is killed though it can do nothing itself, its caller is
    answered, and from then on the same writes find their room in the file."""
    file = own_server.data / "data.mdb"

    async def write() -> int:
        before = file.stat().st_blocks
        async with http(own_server.port) as connection:
            for number in range(WRITES):
                text = chr(ord("a") + number % 26) * TEXT_CHARS
                await connection.value("mutation", "mixed:overwrite", {"round": "large", "text": text})
        return (file.stat().st_blocks - before) * 512

    async def play() -> tuple[int, int, dict[str, object]]:
        await write()
        async with http(own_server.port) as connection:
            stuck = asyncio.create_task(connection.call("query", "runaway:hang_in_c", {}))
            pid = await _busy_worker(own_server)
            os.kill(pid, signal.SIGSTOP)
            growth_beside = await write()
            outcome = await stuck
            assert not Path(f"/proc/{pid}").exists() or pid not in processes_of(own_server.pid)["cvx-function"]
        await write()
        return growth_beside, await write(), outcome

    growth_beside, growth_after, outcome = asyncio.run(play())

    print(f"{WRITES * TEXT_CHARS:,} bytes written: {growth_beside:,} of growth beside it, {growth_after:,} afterwards")
    assert outcome["status"] == "error"
    assert f"maximum duration: {TIMEOUT_SECONDS:g}s" in str(outcome["errorMessage"])
    assert growth_beside > WRITES * TEXT_CHARS / 2, "its snapshot did hold the pages"
    assert growth_after < WRITES * TEXT_CHARS * GROWTH_SHARE_MAX


async def _busy_worker(server: Server) -> int:
    """The function worker that uses the processor, which is the one that hangs."""
    while True:
        before = {pid: _ticks(pid) for pid in processes_of(server.pid)["cvx-function"]}
        await asyncio.sleep(0.1)
        busy = [pid for pid, ticks in before.items() if _ticks(pid) - ticks >= 2]
        if busy:
            return busy[0]


def _ticks(pid: int) -> int:
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
