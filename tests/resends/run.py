"""Clients whose connections are cut again and again, a server that is killed meanwhile, and what must be true then."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.clients.server import Server
from tests.faults.conftest import APP
from tests.faults.convex_client import HttpConnection, http
from tests.resends.client import ResendingClient

CLIENTS = 32


class Report(NamedTuple):
    """What happened, and what was wrong with it."""

    mutations: int
    sent: int
    connections: int
    kills: int
    seconds: float
    faults: list[str]

    def __str__(self) -> str:
        return (
            f"{self.mutations:,} mutations, sent {self.sent:,} times over {self.connections:,} connections, "
            f"server killed {self.kills} times, {self.seconds:.0f} s: {len(self.faults)} faults"
        )


def resend(mutations: int, kills: int, seed: int, say: Callable[[str], object]) -> Report:
    """Run all of it against a server of its own and compare what clients were told with what is stored."""
    say(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="convexpy-resends-") as folder:
        server = Server(APP, Path(folder))
        server.start()
        try:
            return asyncio.run(_resend(server, mutations, kills, Random(seed)))
        finally:
            server.stop()


async def _resend(server: Server, mutations: int, kills: int, random: Random) -> Report:
    each = -(-mutations // CLIENTS)
    clients = [
        ResendingClient(server.port, f"client {number}", each, Random(random.getrandbits(64)))
        for number in range(CLIENTS)
    ]
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.run())
        group.create_task(_kill(server, clients, kills, each, random))
    seconds = time.monotonic() - began
    faults: list[str] = []
    async with http(server.port) as connection:
        for client in clients:
            faults += await _faults_of(client, each, connection)
    sent = sum(client.sent for client in clients)
    return Report(each * CLIENTS, sent, sum(client.connections for client in clients), kills, seconds, faults)


async def _kill(server: Server, clients: list[ResendingClient], kills: int, each: int, random: Random) -> None:
    """Kill and start again, spread over the work; the moment is a number of answers."""
    moments = sorted(random.randrange(each * CLIENTS * 9 // 10) for _ in range(kills))
    for moment in moments:
        while sum(len(client.answers) for client in clients) < moment:
            await asyncio.sleep(0.005)
        await asyncio.to_thread(server.restart)


async def _faults_of(client: ResendingClient, count: int, connection: HttpConnection) -> list[str]:
    """Where rows and answers differ: each mutation is one row, which is its answer, in the order of sending."""
    rows = [name.split() for name in await connection.value("query", "rows:names", {"round": client.name})]
    faults = []
    if (numbers := [int(number) for number, _ in rows]) != list(range(count)):
        faults.append(f"{client.name}: the rows are {numbers}, not 0 to {count - 1} once each in order")
    stored = {int(number): {token} for number, token in rows}
    for number, answers in client.answers.items():
        if answers != stored.get(number):
            faults.append(f"{client.name}: mutation {number} was answered {answers}, stored is {stored.get(number)}")
    return faults
