"""However many writers meet, nobody hears of a conflict (DESIGN 6): every call comes through, every job succeeds.

And whoever has the committer to itself at its third attempt gives it back, whatever becomes of it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.server import Server
from tests.faults.conftest import APP
from tests.faults.convex_client import http, sync_client
from tests.patience import PATIENCE_SECONDS

SOCKETS, CONNECTIONS = 6, 6
TIMEOUT_SECONDS = 0.5
RIVALS = 8
DIED = "while it ran mixed:fall_at_third_run"
GRIEF = {
    "leave": DIED,  # its successor runs it again, in the same turn
    "raise": "the third run",
    "spin": f"maximum duration: {TIMEOUT_SECONDS:g}s",
    "hang": f"maximum duration: {TIMEOUT_SECONDS:g}s",
}


class Load:
    """Counts what was asked for, so that what is there at the end can be compared with it."""

    def __init__(self, port: int, round: str, rounds: int) -> None:
        self.port, self.round, self.rounds = port, round, rounds
        self.hot = self.appended = self.scheduled = 0

    async def over_http(self, number: int) -> None:
        async with http(self.port) as connection:
            for turn in range(self.rounds):
                path, args = self._next(number, turn)
                await connection.value("mutation", path, args)

    async def over_socket(self, number: int) -> None:
        """All of it is sent at once; a session's mutations run in order, beside those of the others."""
        async with sync_client(self.port) as client:
            await client.subscribe(0, "mixed:names", {"round": self.round})
            await client.subscribe(1, "counters:read", {"name": f"{self.round} hot"})
            for turn in range(self.rounds):
                await client.mutate(turn, *self._next(number, turn))
            for turn in range(self.rounds):
                response = await client.response(turn)
                assert response["success"], response
            # Own appends are shown at last; rows beyond those that anybody has asked for never.
            assert len(await client.value(0, lambda names: len(names) > 0)) <= self.appended + self.scheduled

    def _next(self, number: int, turn: int) -> tuple[str, dict[str, Any]]:
        name = f"writer {number}, turn {turn}"
        match (number + turn) % 3:
            case 0:
                self.hot += 1
                return "counters:add", {"name": f"{self.round} hot"}
            case 1:
                self.appended += 1
                return "mixed:append", {"round": self.round, "name": name}
        self.scheduled += 1
        return "mixed:schedule", {"round": self.round, "name": f"job of {name}"}

    async def run(self) -> dict[str, Any]:
        """All writers to their ends and all jobs to theirs; what is there then."""
        async with asyncio.TaskGroup() as writers:
            for number in range(SOCKETS):
                writers.create_task(self.over_socket(number))
            for number in range(SOCKETS, SOCKETS + CONNECTIONS):
                writers.create_task(self.over_http(number))
        async with sync_client(self.port) as client, http(self.port) as connection:
            await client.subscribe(0, "mixed:job_states", {"round": self.round})
            states = await client.value(0, lambda states: not states.keys() & {"pending", "inProgress"})
            return {
                "states": states,
                "names": await connection.value("query", "mixed:names", {"round": self.round}),
                **{
                    name: await connection.value("query", "counters:read", {"name": f"{self.round} {name}"})
                    for name in ("hot", "jobs", "scheduled")
                },
            }


def meet(server: Server, round: str, rounds: int) -> None:
    load = Load(server.port, round, rounds)

    end = asyncio.run(load.run())

    assert load.scheduled > 0
    assert end["states"] == {"success": load.scheduled}
    assert end["jobs"] == end["scheduled"] == load.scheduled
    assert end["hot"] == load.hot + load.scheduled
    # Each row says how many were there before it: were one decided on an old state, a number would be there twice.
    assert [int(name.split(":")[0]) for name in end["names"]] == list(range(load.appended + load.scheduled))
    complaints = server.complaints.so_far()
    assert "lost the race" not in complaints and "OptimisticConcurrency" not in complaints, complaints


def test_no_conflict_reaches_anybody(server: Server) -> None:
    """Hot documents, range readers who write, and jobs, over HTTP and over sockets, subscribed to all the while."""
    meet(server, "mixed", 15)


@pytest.mark.slow
def test_no_conflict_reaches_anybody_for_long(server: Server) -> None:
    """Ranges grow with it, so that transactions take longer and meet more often."""
    meet(server, "long", 150)


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All attempts of a call run in one process, which can count them."""
    options = ("--workers", "1", "--limit", f"timeout_seconds={TIMEOUT_SECONDS}")
    server = Server(APP, tmp_path_factory.mktemp("data"), options=options)
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("how", GRIEF)
def test_the_queue_goes_on_after_an_exclusive_attempt(one_worker: Server, how: str) -> None:
    """Rivals of one counter lose races, so a third attempt comes soon. Its worker dies, its function fails or runs into
    a limit in it: the rivals, who wait for the end of that turn, all come through, and no increment of theirs is lost.
    """
    name = f"rivals of {how}"

    async def rival(is_over: asyncio.Event) -> int:
        done = 0
        async with http(one_worker.port) as connection:
            while not is_over.is_set() or not done:
                await connection.value("mutation", "counters:add", {"name": name})
                done += 1
        return done

    async def race() -> tuple[str, int, float]:
        is_over, fallen, counted = asyncio.Event(), "none has fallen", 0
        rivals = [asyncio.create_task(rival(is_over)) for _ in range(RIVALS)]
        async with http(one_worker.port) as connection:
            deadline = time.monotonic() + PATIENCE_SECONDS
            for number in itertools.count():
                args = {"name": name, "key": f"{how} {number}", "how": how}
                outcome = await connection.call("mutation", "mixed:fall_at_third_run", args)
                counted += outcome["status"] == "success"
                if outcome["status"] == "error":
                    fallen = outcome["errorMessage"]
                elif how == "leave" and DIED in one_worker.complaints.so_far():
                    fallen = DIED
                elif time.monotonic() < deadline:
                    continue
                break
            is_over.set()
            done = sum(await asyncio.gather(*rivals))
            for _ in range(3):
                await connection.value("mutation", "counters:add", {"name": name})
            return fallen, done + counted + 3, await connection.value("query", "counters:read", {"name": name})

    fallen, expected, end = asyncio.run(race())

    assert GRIEF[how] in fallen
    assert end == expected
