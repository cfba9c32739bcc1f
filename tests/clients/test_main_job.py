"""The main job: start a workflow, watch it live, kill the server midway, start it again: it completes exactly once."""

from __future__ import annotations

import os
import random
import time
from typing import Any

import pytest

from tests.seeds import asked_seed

from .conftest import Connect, StartServer
from .driver import LIVE_CLIENTS, Driver, Subscription

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))


def begin_and_see_it_sleep(client: Driver, seconds: float) -> tuple[Subscription, dict[str, Any], float]:
    """Start a run that sleeps for `seconds`, or longer where the machine is too slow to see it asleep; what was seen.

    A view of a run that is over says nothing: then another one, which sleeps longer, is started.
    """
    number = 0
    while True:
        number += 1
        client.mutation("chores:begin", {"run": f"run {number}", "seconds": seconds})
        progress = client.subscribe("chores:progress", {"run": f"run {number}"})
        seen = progress.until(lambda value: "thought" in value["effects"] and len(value["steps"]) >= 3)
        if seen["kind"] == "inProgress" and "last" not in seen["effects"]:
            return progress, seen, seconds
        seconds *= 3


@pytest.mark.parametrize("kind", LIVE_CLIENTS)
def test_a_workflow_survives_kill_9(start_server: StartServer, connect: Connect, kind: str) -> None:
    """Killed while the workflow sleeps between its second and its last step; the same subscription sees it end."""
    server = start_server()
    client = connect(kind, server.url)

    progress, midway, _ = begin_and_see_it_sleep(client, 3)
    server.restart()
    end = progress.until(lambda value: value["kind"] != "inProgress")

    assert midway["effects"] == ["first", "thought"]
    assert end["kind"] == "completed"
    assert end["result"].endswith(" is clean")
    assert end["effects"] == ["first", "thought", "last"]


def test_a_sleep_may_end_while_the_server_is_down(start_server: StartServer, connect: Connect) -> None:
    """A sleep whose end passes while nothing runs is over when the server is back."""
    server = start_server()
    client = connect("browser", server.url)
    progress, _, seconds = begin_and_see_it_sleep(client, 0.5)

    server.kill()
    time.sleep(seconds)  # wins no race: the passing of this time is the test
    server.start()

    assert progress.until(lambda value: value["kind"] != "inProgress")["effects"] == ["first", "thought", "last"]


@pytest.mark.slow
def test_workflows_complete_once_however_often_the_server_is_killed(
    start_server: StartServer, connect: Connect
) -> None:
    """The server dies at random moments with runs in every state; each step of each run leaves its one row.

    The action is the exception that its contract allows: killed in the middle it is retried, so its row may be
    there twice.
    """
    seed = asked_seed("FAULT_SEED")
    chance = random.Random(seed)
    server = start_server()
    client = connect("browser", server.url)
    deadline, lives, started = time.monotonic() + SOAK_SECONDS, 0, 0

    while time.monotonic() < deadline:
        for _ in range(chance.randint(1, 8)):
            client.mutation("chores:begin", {"run": f"run {started}", "seconds": chance.choice([0, 0.1, 1])})
            started += 1
        time.sleep(chance.uniform(0, 1.5))  # the moment of the kill
        server.restart()
        lives += 1

    print(f"{started} runs, {lives} kills")
    for number in range(started):
        progress = client.subscribe("chores:progress", {"run": f"run {number}"})
        state = progress.until(lambda value: value["kind"] != "inProgress")
        assert state["kind"] == "completed", (seed, number, state)
        assert [state["effects"].count(step) for step in ("first", "last")] == [1, 1], (seed, number, state)
        assert state["effects"].count("thought") >= 1, (seed, number, state)
