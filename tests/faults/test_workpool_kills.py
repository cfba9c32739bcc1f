"""A workpool on a real server: never more at once than it may, and each item ends once whoever is killed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.clients.server import Server
from tests.faults.convex_client import http
from tests.faults.processes import processes_of, wait_until_gone
from tests.faults.test_kills import AWAY
from tests.patience import PATIENCE_SECONDS
from tests.seeds import asked_seed

APP = Path(__file__).parent / "pool_app"
ITEMS = 30
AT_ONCE = 3
VICTIMS = ("cvx-action", "cvx-function", "server", "cvx-action")


async def marks_at_the_end(server: Server, items: int) -> list[list[str]]:
    """Wait until all items have told of their end; all marks."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                async with http(server.port) as connection:
                    while await connection.value("query", "work:completed_count", {}) < items:
                        await asyncio.to_thread(server.output.next, 0.1)
                    marks: list[list[str]] = await connection.value("query", "work:marks", {})
                    return marks
            except AWAY:
                await asyncio.sleep(0)


async def enqueue(server: Server) -> None:
    async with http(server.port) as connection:
        await connection.value("mutation", "work:enqueue", {"first": 0, "count": ITEMS})


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(APP, tmp_path / "data")


def test_never_more_run_than_may(server: Server) -> None:
    server.start()
    asyncio.run(enqueue(server))
    marks = asyncio.run(marks_at_the_end(server, 2 * ITEMS))
    server.stop()

    running, most = 0, 0
    for _, kind in marks:
        running += (kind == "begin") - (kind == "end")
        most = max(most, running)
    assert 2 <= most <= AT_ONCE


def test_each_item_ends_once_whoever_is_killed(server: Server) -> None:
    seed = asked_seed("FAULT_SEED")
    chance = random.Random(seed)
    server.start()
    asyncio.run(enqueue(server))
    for victim in VICTIMS:
        asyncio.run(marks_at_the_end(server, chance.randrange(1, ITEMS)))
        pids = [server.pid] if victim == "server" else processes_of(server.pid).get(victim, [])
        for pid in pids[:1]:
            with contextlib.suppress(ProcessLookupError):  # it has just been replaced
                os.kill(pid, signal.SIGKILL)
            if victim == "server":
                server.wait_for_exit()
                server.restart()
            else:
                wait_until_gone([pid])
    marks = asyncio.run(marks_at_the_end(server, 2 * ITEMS))
    server.stop()

    count = Counter((item, kind) for item, kind in marks)
    for number in range(ITEMS):
        assert count[f"m{number}", "effect"] == 1, "a mutation's effect is there once"
        for item in (f"a{number}", f"m{number}"):
            assert count[item, "completed: success"] == 1
        assert count[f"a{number}", "end"] >= 1
    assert sum(kind.startswith("completed") for _, kind in marks) == 2 * ITEMS
