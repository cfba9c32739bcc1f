"""One document that everybody writes: no increment is lost, and no caller hears of a conflict."""

from __future__ import annotations

import asyncio

from tests.clients.server import Server
from tests.faults.convex_client import http, sync_client

WRITERS = 64
INCREMENTS = 5


def test_sixty_four_writers_over_http_lose_no_increment(server: Server) -> None:
    """Who loses a race twice gets an exclusive turn, so every call comes through; each sees another new value."""

    async def write() -> list[float]:
        async with http(server.port) as connection:
            return [await connection.value("mutation", "counters:add", {"name": "hot"}) for _ in range(INCREMENTS)]

    async def race() -> tuple[list[float], float]:
        async with asyncio.TaskGroup() as writers:
            tasks = [writers.create_task(write()) for _ in range(WRITERS)]
        async with http(server.port) as connection:
            return [value for task in tasks for value in task.result()], await connection.value(
                "query", "counters:read", {"name": "hot"}
            )

    seen, end = asyncio.run(race())

    assert end == WRITERS * INCREMENTS
    assert sorted(seen) == list(range(1, WRITERS * INCREMENTS + 1))


def test_sixty_four_writers_over_sockets_lose_no_increment(server: Server) -> None:
    """The same through sync sessions, whose mutations are sent without waiting for the one before."""

    async def write() -> list[bool]:
        async with sync_client(server.port) as client:
            for number in range(INCREMENTS):
                await client.mutate(number, "counters:add", {"name": "hotter"})
            return [(await client.response(number))["success"] for number in range(INCREMENTS)]

    async def race() -> tuple[list[bool], float]:
        async with asyncio.TaskGroup() as writers:
            tasks = [writers.create_task(write()) for _ in range(WRITERS)]
        async with http(server.port) as connection:
            return [done for task in tasks for done in task.result()], await connection.value(
                "query", "counters:read", {"name": "hotter"}
            )

    done, end = asyncio.run(race())

    assert all(done)
    assert end == WRITERS * INCREMENTS
