"""Many who watch one query cost one run a change; whoever has written reads what it wrote."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Iterator

import pytest

from tests.clients.lines import Lines
from tests.clients.server import Server
from tests.faults.convex_client import SyncClient, http, sync_client
from tests.patience import PATIENCE_SECONDS

SUBSCRIBERS = 1000
READERS = 50


@pytest.fixture(scope="module", autouse=True)
def room_for_sockets() -> Iterator[None]:
    """Many systems let a process have 1024 descriptors unless it asks for more, and the server inherits that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, 4 * SUBSCRIBERS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def lines_until(output: Lines, end: str) -> list[str]:
    """What the server prints up to the line that ends so."""
    lines: list[str] = []
    while not (lines and lines[-1].endswith(end)):
        line = output.next(PATIENCE_SECONDS)
        assert line is not None, lines
        lines.append(line)
    return lines


def test_a_thousand_subscribers_cost_one_run_a_change(server: Server) -> None:
    """All of them wait on one entry of the cache. The query prints whenever it runs, so its lines are its runs.

    A write that nobody watches marks the end of each part: the lines of a call are printed before its answer is sent.
    """

    async def watch(number: int, clients: contextlib.AsyncExitStack) -> SyncClient:
        client = await clients.enter_async_context(sync_client(server.port))
        await client.subscribe(0, "counters:read_aloud", {"name": "watched"})
        return client

    async def fan_out() -> tuple[list[str], list[str]]:
        async with contextlib.AsyncExitStack() as clients, http(server.port) as writer:
            watching = [await watch(number, clients) for number in range(SUBSCRIBERS)]
            await asyncio.gather(*(client.value(0, lambda value: value == 0) for client in watching))
            await writer.value("query", "counters:read_aloud", {"name": "first mark"})
            before = lines_until(server.output, "first mark is read as 0")
            await writer.value("mutation", "counters:add", {"name": "watched"})
            await asyncio.gather(*(client.value(0, lambda value: value == 1) for client in watching))
            await writer.value("query", "counters:read_aloud", {"name": "second mark"})
            return before, lines_until(server.output, "second mark is read as 0")

    before, after = asyncio.run(fan_out())

    assert [line for line in before if "watched" in line] == ["[Q(counters:read_aloud)] [LOG] watched is read as 0"], (
        before
    )
    assert [line for line in after if "watched" in line] == ["[Q(counters:read_aloud)] [LOG] watched is read as 1"]


def test_an_http_client_reads_its_own_write(server: Server) -> None:
    """A query begins at a snapshot at or after all that was answered before, on whichever connection and worker."""

    async def write_and_read(number: int) -> None:
        async with http(server.port) as writer, http(server.port) as reader:
            for expected in range(1, 6):
                await writer.value("mutation", "counters:add", {"name": f"own {number}"})
                assert await reader.value("query", "counters:read", {"name": f"own {number}"}) == expected

    async def crowd() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(READERS):
                tasks.create_task(write_and_read(number))

    asyncio.run(crowd())
