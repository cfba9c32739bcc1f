"""`kill -9` between an event's send and its consumption: what was acknowledged arrives, once, through a child run."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.clients.server import Server
from tests.faults.conftest import APP
from tests.faults.convex_client import http, sync_client
from tests.seeds import asked_seed

AWAY = (OSError, EOFError, ConnectionClosed)
RUNS, SENDERS, LETTERS_EACH = 24, 4, 25


async def until(server: Server, path: str, round: str, is_so: Callable[[Any], bool]) -> Any:
    """Watch a query of the round until its value is as expected."""
    async with sync_client(server.port) as client:
        await client.subscribe(0, path, {"round": round})
        return await client.value(0, is_so)


def is_over(states: dict[str, Any]) -> bool:
    return all(state["kind"] == "completed" for state in states.values())


async def count_effects(server: Server, round: str) -> Counter[tuple[str, str]]:
    async with http(server.port) as connection:
        effects = await connection.value("query", "chores:effects", {"round": round})
    return Counter((effect["run"], effect["step"]) for effect in effects)


def test_events_of_many_senders_arrive_once_and_each_senders_in_order(server: Server) -> None:
    """Sends conflict with each other and with the waves that take them; all of them run again until they fit."""

    async def send(run: str, sender: int) -> None:
        async with http(server.port) as connection:
            for number in range(LETTERS_EACH):
                text = f"{sender} {number}"
                await connection.value("mutation", "letters:send_to", {"run": run, "text": text})

    async def play() -> Any:
        begun = {"round": "crowd", "run": "one", "count": SENDERS * LETTERS_EACH}
        async with http(server.port) as connection:
            run = await connection.value("mutation", "letters:begin_to_collect", begun)
        await asyncio.gather(*(send(run, sender) for sender in range(SENDERS)))
        return await until(server, "chores:states", "crowd", is_over)

    texts = asyncio.run(play())["one"]["result"]

    for sender in range(SENDERS):
        own = [text for text in texts if text.startswith(f"{sender} ")]
        assert own == [f"{sender} {number}" for number in range(LETTERS_EACH)]
    assert len(texts) == SENDERS * LETTERS_EACH


def test_an_event_is_kept_over_a_kill_until_it_is_awaited(tmp_path: Path) -> None:
    """The child sleeps while the letter comes, and while the server dies."""
    server = Server(APP, tmp_path / "data")
    server.start()

    async def send() -> None:
        async with http(server.port) as connection:
            await connection.value("mutation", "letters:begin", {"round": "kept", "run": "one", "seconds": 3})
            sent = await connection.value("mutation", "letters:send", {"round": "kept", "run": "one", "text": "hello"})
            assert sent is True

    async def outcome() -> tuple[Any, Any]:
        states = await until(server, "chores:states", "kept", is_over)
        return states, await count_effects(server, "kept")

    asyncio.run(send())
    server.restart()
    states, effects = asyncio.run(outcome())
    server.stop()

    assert states["one"]["result"] == "hello"
    assert effects == {("one", "read"): 1, ("one", "answered"): 1}


@pytest.mark.parametrize("number", range(2))
def test_events_that_were_acknowledged_before_a_kill_arrive(tmp_path: Path, number: int) -> None:
    """Killed while letters go to children that wait for them: some are delivered but not taken, some half answered."""
    seed = asked_seed("FAULT_SEED")
    kill_at = random.Random(seed).randrange(1, RUNS)
    server = Server(APP, tmp_path / "data")
    server.start()
    names = [f"run {number}" for number in range(RUNS)]
    acknowledged: set[str] = set()

    async def begin() -> None:
        async with http(server.port) as connection:
            for name in names:
                await connection.value("mutation", "letters:begin", {"round": "all", "run": name, "seconds": 0})
        await until(server, "letters:childless", "all", lambda found: not found)

    async def send(mine: list[str]) -> None:
        async with http(server.port) as connection:
            with contextlib.suppress(*AWAY):
                for name in mine:
                    await connection.value("mutation", "letters:send", {"round": "all", "run": name, "text": "first"})
                    acknowledged.add(name)
                    if len(acknowledged) == kill_at:
                        server.kill()

    async def send_all() -> None:
        await asyncio.gather(*(send(names[sender::SENDERS]) for sender in range(SENDERS)))

    async def send_the_rest() -> tuple[Any, Any]:
        async with http(server.port) as connection:
            for name in names:
                if name not in acknowledged:
                    await connection.value("mutation", "letters:send", {"round": "all", "run": name, "text": "second"})
        states = await until(server, "chores:states", "all", is_over)
        return states, await count_effects(server, "all")

    asyncio.run(begin())
    asyncio.run(send_all())
    server.start()
    states, effects = asyncio.run(send_the_rest())
    server.stop()

    assert len(acknowledged) >= kill_at
    assert {name: states[name]["result"] for name in acknowledged} == dict.fromkeys(acknowledged, "first")
    assert {state["result"] for state in states.values()} <= {"first", "second"}
    assert effects == {(name, step): 1 for name in names for step in ("read", "answered")}
