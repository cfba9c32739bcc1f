"""The wall clock steps under a server that serves: an hour back, a day ahead, and back to where it was.

What depends on it may come later than somebody thought. Nothing may be lost, done twice or put in another order.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.server import Server
from tests.faults.conftest import APP
from tests.faults.convex_client import SyncClient, http, sync_client

FOLDER = Path(__file__).parent / "stepped_clock"
HOUR_NS, DAY_NS = 3600 * 10**9, 24 * 3600 * 10**9
STEPS_NS = (0, -HOUR_NS, DAY_NS, 0)
ROUND = "steps"
TURNS = 6  # of each writer, between two steps
WRITERS = 3
LATER_SECONDS = 2 * 3600.0  # due once the clock has been a day ahead


class SteppedServer(Server):
    """A server whose clock a test sets, for all of its processes at once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(APP, folder / "data")
        self.clock = folder / "offset"
        self.step_to(0)

    def step_to(self, offset_ns: int) -> None:
        mode = "r+b" if self.clock.exists() else "w+b"
        with self.clock.open(mode, buffering=0) as file:
            file.write(offset_ns.to_bytes(8, "little", signed=True))


class Witness:
    """One session through all steps: what it is told may only go forward."""

    def __init__(self, client: SyncClient) -> None:
        self.client = client
        self.stamps: list[int] = []

    async def watch(self, count: int) -> None:
        """Until its query has this value; every transition's end is noted on the way."""
        while self.client.results.get(0, {}).get("value") != count:
            message = await self.client.next()
            if message["type"] == "Transition":
                self.stamps.append(int.from_bytes(base64.b64decode(message["endVersion"]["ts"]), "little"))


@pytest.fixture
def stepped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SteppedServer]:
    server = SteppedServer(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(FOLDER))
    monkeypatch.setenv("STEPPED_CLOCK", str(server.clock))
    server.start()
    yield server
    server.stop()


async def write(port: int, name: str) -> None:
    """Some of everything; each call must succeed."""
    async with http(port) as connection:
        for turn in range(TURNS):
            label = {"round": ROUND, "name": f"{name}, turn {turn}"}
            await connection.value("mutation", "counters:add", {"name": "steps counted"})
            await connection.value("mutation", "mixed:append", label)
            await connection.value("mutation", "mixed:schedule", label)
            await connection.value("mutation", "mixed:schedule_later", {**label, "seconds": LATER_SECONDS})


async def read(port: int, path: str, **args: Any) -> Any:
    async with http(port) as connection:
        return await connection.value("query", path, args)


async def jobs_are_done(port: int, pending: int) -> dict[str, int]:
    """Wait until no more than these are pending; the states then."""
    async with sync_client(port) as client:
        await client.subscribe(0, "mixed:job_states", {"round": ROUND})
        states: dict[str, int] = await client.value(
            0, lambda states: states.get("pending", 0) <= pending and not states.get("inProgress")
        )
        return states


def test_a_clock_that_steps_makes_nothing_wrong(stepped: SteppedServer) -> None:
    """Writers, jobs of now and jobs of later in each era; at the end a server that is killed goes on from there."""
    an_era = WRITERS * TURNS

    async def play() -> tuple[list[dict[str, int]], list[int]]:
        states = []
        async with sync_client(stepped.port) as client:
            witness = Witness(client)
            await client.subscribe(0, "counters:read", {"name": "steps counted"})
            for era, offset_ns in enumerate(STEPS_NS):
                stepped.step_to(offset_ns)
                await asyncio.gather(*(write(stepped.port, f"era {era}, writer {each}") for each in range(WRITERS)))
                await witness.watch((era + 1) * an_era)
                # A day ahead, what the eras before have put off is due; its own and the next era's is not.
                states.append(await jobs_are_done(stepped.port, pending=(era + 1 if era < 2 else era - 1) * an_era))
            return states, witness.stamps

    states, stamps = asyncio.run(play())
    stepped.restart()
    stepped.step_to(2 * DAY_NS)  # all is due now
    asyncio.run(write(stepped.port, "after the restart"))
    end = asyncio.run(jobs_are_done(stepped.port, pending=TURNS))
    rows = asyncio.run(read(stepped.port, "mixed:creation_times", round=ROUND))
    ran = asyncio.run(read(stepped.port, "counters:read", name=f"{ROUND} jobs"))

    eras = len(STEPS_NS)
    assert [state["success"] for state in states] == [an_era, 2 * an_era, 5 * an_era, 6 * an_era]
    assert end == {"success": 2 * eras * an_era + TURNS, "pending": TURNS}
    assert ran == end["success"], "each job ran once"
    assert stamps == sorted(set(stamps)), "no transition went back"
    counts = [count for count, _ in sorted(rows)]
    assert counts == list(range(eras * an_era + TURNS + int(ran))), "no append was decided on an old state"
    times = [made for _, made in sorted(rows)]
    assert times == sorted(times), "creation times never go back"
    assert times[-1] - times[0] > DAY_NS / 1e6, "the clock did step"
