"""One chaos run: workflows are started, stopped and waited for over HTTP while processes of the server are killed.

The seed decides the programs, which runs are canceled and when, the victims and the pauses between kills. What falls
between two kills is up to the machine, so a seed brings back the same plan, not the same instants.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.programs import events_of, random_program
from tests.clients.server import Server
from tests.faults.convex_client import HttpConnection, http
from tests.faults.processes import processes_of, wait_until_gone

SERVER = "server"
VICTIMS = (SERVER, "cvx-committer", "cvx-function", "cvx-function", "cvx-action", "cvx-template")
LOST = "The process that ran"  # of a call that two kills in a row have met; whoever made it may make it again
TAKES_THE_SERVER_ALONG = {SERVER, "cvx-committer"}
KILL_PAUSE_SECONDS = (0.05, 1.0)
IN_FLIGHT = 15
CANCELED_SHARE = 0.1
QUIET_SECONDS_MAX = 300.0  # after the last kill, until all have ended
NAMES_PER_LOOK = 200
RUNS_PER_PAGE = 20


@dataclass
class Figures:
    """What a chaos run has met."""

    kills: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    nested: int = 0
    steps: int = 0
    effects: int = 0
    lines: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        ends = ", ".join(f"{kind} {count}" for kind, count in sorted(self.ends.items()))
        return (
            f"runs: {ends}, nested {self.nested}; {self.steps} steps, {self.effects} effects of mutations, "
            f"{self.lines} lines of log; kills: {kills or 'none'}; {self.seconds:.0f} s"
        )


class ChaosRun:
    """A plan and what came of it.

    Args:
        server: not running yet.
        count: workflows to start.
        with_kills: without them it is the control.
    """

    def __init__(self, server: Server, seed: int, count: int, with_kills: bool = True) -> None:
        self._server = server
        self._chance = random.Random(f"kills {seed}")
        self._seed, self._count, self._with_kills = seed, count, with_kills
        self._is_over = False
        self._ends: dict[str, str] = {}  # of every run, by its id
        self._children: dict[str, str] = {}  # the ends of nested runs as their parents' steps have them
        self.figures = Figures()

    def play(self) -> Figures:
        """Run it to its end.

        Raises:
            AssertionError: a run has not ended, an effect is missing or there twice, or an end was not told once.
        """
        self._server.start()
        began = time.monotonic()
        try:
            asyncio.run(self._play())
        finally:
            self._server.stop()
        self.figures.seconds = time.monotonic() - began
        return self.figures

    async def _play(self) -> None:
        names = [f"run {number}" for number in range(self._count)]
        slots = asyncio.Semaphore(IN_FLIGHT)
        killer = asyncio.create_task(self._kill_again_and_again())
        async with asyncio.TaskGroup() as clients:
            for number, name in enumerate(names):
                clients.create_task(self._take_care_of(name, random.Random(f"{self._seed} {number}"), slots))
        self._is_over = True
        await killer
        async with asyncio.timeout(QUIET_SECONDS_MAX):
            for start in range(0, len(names), NAMES_PER_LOOK):
                await self._ended(names[start : start + NAMES_PER_LOOK])
        await self._check()

    # --- clients

    async def _take_care_of(self, name: str, chance: random.Random, slots: asyncio.Semaphore) -> None:
        """Start a run, perhaps cancel it, and wait a while for its end, so that not all run at once."""
        async with slots:
            program = random_program(chance)
            run = await self._value("mutation", "flows:begin", {"name": name, "text": json.dumps(program)})
            for event in sorted(events_of(program), key=lambda _: chance.random()):
                await asyncio.sleep(chance.choice((0.0, 0.0, 0.1)))
                await self._value("mutation", "flows:tell", {"run": run, "event": event})
            if chance.random() < CANCELED_SHARE:
                await asyncio.sleep(chance.choice((0.0, 0.02, 0.2, 1.0)))
                await self._value("mutation", "flows:stop", {"run": run})
                return
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                state = await self._value("query", "flows:states", {"names": [name]})
                if state[name] != "inProgress":
                    return
                await asyncio.sleep(0.2)

    async def _ended(self, names: list[str]) -> None:
        while True:
            states = await self._value("query", "flows:states", {"names": names})
            if len(states) == len(names) and "inProgress" not in states.values():
                return
            await asyncio.sleep(0.2)

    async def _value(self, kind: str, path: str, args: dict[str, Any]) -> Any:
        """Call until there is an answer; all that is called here may be called twice."""

        async def call(connection: HttpConnection) -> Any:
            outcome = await connection.call(kind, path, args)
            if LOST in outcome.get("errorMessage", ""):
                raise ConnectionError(outcome["errorMessage"])
            assert outcome["status"] == "success", outcome
            return outcome["value"]

        return await self._while_away(call)

    async def _while_away(self, work: Callable[[HttpConnection], Awaitable[Any]]) -> Any:
        deadline = time.monotonic() + QUIET_SECONDS_MAX
        while True:
            try:
                async with http(self._server.port) as connection:
                    return await work(connection)
            except (OSError, EOFError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)

    # --- kills

    async def _kill_again_and_again(self) -> None:
        while self._with_kills and not self._is_over:
            await asyncio.sleep(self._chance.uniform(*KILL_PAUSE_SECONDS))
            await asyncio.to_thread(self._kill, self._chance.choice(VICTIMS))

    def _kill(self, victim: str) -> None:
        server = self._server
        children = processes_of(server.pid)
        if victim != SERVER and victim not in children:
            return  # the last kill's successor is not up yet
        target = server.pid if victim == SERVER else self._chance.choice(sorted(children[victim]))
        try:
            os.kill(target, signal.SIGKILL)
        except ProcessLookupError:  # the last kill has taken it along
            return
        self.figures.kills[victim] += 1
        if victim in TAKES_THE_SERVER_ALONG:
            server.wait_for_exit()
            wait_until_gone([pid for pids in children.values() for pid in pids])
            server.restart()

    # --- the account

    async def _check(self) -> None:
        options: dict[str, Any] = {"numItems": RUNS_PER_PAGE, "cursor": None}
        while True:
            page = await self._value("query", "flows:report", {"options": options})
            for run in page["runs"]:
                self._check_run(run)
            if page["isDone"]:
                break
            options["cursor"] = page["continueCursor"]
        started = sum(self.figures.ends.values())
        assert started == self._count, f"{started} runs ended of {self._count}"
        for child, kind in self._children.items():
            # A step that was given up cancels its child, which may have ended by itself just before.
            assert self._ends[child] == kind or kind == "canceled", (child, kind, self._ends[child])

    def _check_run(self, run: dict[str, Any]) -> None:
        figures = self.figures
        assert run["state"] == "done", run
        assert run["positions"] == list(range(len(run["positions"]))), run
        assert run["open"] == [], run
        # One effect for each step that says it succeeded, and no other; the handler saw none that is not there.
        assert sorted(run["effects"]) == sorted(run["succeeded"]), run
        assert len(set(run["effects"])) == len(run["effects"]), run
        if run["kind"] == "success":
            assert set(run["done"]) <= set(run["effects"]), run
            assert len(set(run["done"])) == len(run["done"]), run
        # Each line once: of the handler's beginning, and of each effect's function.
        has_begun = run["kind"] != "canceled" or run["positions"] != []
        assert run["said"].count(f"{run['name']} begins") in ((1,) if has_begun else (0, 1)), run
        assert sorted(line for line in run["said"] if line.startswith("left effect")) == sorted(
            f"left {label}" for label in run["succeeded"]
        ), run
        figures.steps += len(run["positions"])
        figures.effects += len(run["effects"])
        figures.lines += len(run["said"])
        self._ends[run["workflowId"]] = run["kind"]
        self._children |= run["children"]
        if " / " in run["name"]:
            assert run["ends"] == [], run
            figures.nested += 1
        else:
            assert run["ends"] == [run["kind"]], run
            figures.ends[run["kind"]] += 1
