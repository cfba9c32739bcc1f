"""A worker that is stopped inside a call holds a snapshot, so no page is used again: only until its hard limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.server import Server
from tests.faults.conftest import APP
from tests.faults.convex_client import HttpConnection, http
from tests.faults.processes import processes_of, wait_until_gone

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

    async def write(until: asyncio.Future[Any] | None = None) -> tuple[int, int]:
        """As much as is to be written, or as the disk takes meanwhile: bytes written, and growth of the file."""
        before, written = file.stat().st_blocks, 0
        async with http(own_server.port) as connection:
            for number in range(WRITES):
                text = chr(ord("a") + number % 26) * TEXT_CHARS
                await connection.value("mutation", "mixed:overwrite", {"round": "large", "text": text})
                if until is not None and until.done():
                    break
                written += TEXT_CHARS
        return written, (file.stat().st_blocks - before) * 512

    async def play() -> tuple[tuple[int, int], tuple[int, int], dict[str, Any]]:
        await write()
        async with http(own_server.port) as connection:
            stuck, pid = await _stuck_call(own_server, connection)
            os.kill(pid, signal.SIGSTOP)
            beside = await write(until=stuck)
            outcome = await stuck
            wait_until_gone([pid])
        await write()
        return beside, await write(), outcome

    (written_beside, growth_beside), (written_after, growth_after), outcome = asyncio.run(play())

    print(f"{written_beside:,} bytes written beside it: {growth_beside:,} of growth")
    print(f"{written_after:,} bytes written afterwards: {growth_after:,} of growth")
    assert outcome["status"] == "error"
    assert f"maximum duration: {TIMEOUT_SECONDS:g}s" in str(outcome["errorMessage"])
    assert growth_beside > written_beside / 2, "its snapshot did hold the pages"
    assert growth_after < written_after * GROWTH_SHARE_MAX


async def _stuck_call(server: Server, connection: HttpConnection) -> tuple[asyncio.Task[dict[str, Any]], int]:
    """A call that hangs, and the function worker that it uses the processor of. A machine that is too slow to find it
    in time gets another call to look for."""
    while True:
        before = _ticks_of_workers(server)
        stuck = asyncio.create_task(connection.call("query", "runaway:hang_in_c", {}))
        while not stuck.done():
            await asyncio.sleep(0.05)
            busy = [pid for pid, ticks in _ticks_of_workers(server).items() if ticks - before.get(pid, ticks) >= 2]
            if busy:
                return stuck, busy[0]


def _ticks_of_workers(server: Server) -> dict[int, int]:
    """Time on the processor, in the kernel's own unit of 10 ms."""
    found = {}
    for pid in processes_of(server.pid).get("cvx-function", []):
        with contextlib.suppress(OSError):
            found[pid] = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return found
