"""`kill -9` of any process at random moments: nothing acknowledged is lost, nothing happens twice, nobody is orphaned.

The moment is a number of acknowledged calls, so it falls somewhere within workflows that run and writes on their way.
FAULT_SEED=… runs one round again; FAULT_ROUNDS=500 makes the slow form longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from convexpy.processes.pool import default_worker_count
from convexpy.storage.lmdb_store import LmdbStore
from convexpy.transactions.checkup import Checkup
from tests.clients.server import Server
from tests.faults.conftest import APP
from tests.faults.convex_client import SyncClient, http, sync_client
from tests.faults.processes import processes_of, processes_once, wait_until_gone
from tests.patience import PATIENCE_SECONDS
from tests.seeds import asked_seed

SERVER = "server"
VICTIMS = (SERVER, "cvx-committer", "cvx-function", "cvx-action", "cvx-template")
TAKES_THE_SERVER_ALONG = {SERVER, "cvx-committer"}
ROUNDS, SLOW_ROUNDS = 10, int(os.environ.get("FAULT_ROUNDS", "125"))
HTTP_WRITERS, SYNC_WRITERS = 3, 2
KILL_AFTER_CALLS_MAX = 250
CALLS_AFTER_THE_KILL = 30
MUTATION_STEPS = ("first", "left", "right", "last")

# What a client sees of a server that is not there.
AWAY = (OSError, EOFError, ConnectionClosed)


@pytest.fixture(scope="module")
def killed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One data folder through all the deaths of this module."""
    server = Server(APP, tmp_path_factory.mktemp("data"))
    server.start()
    yield server
    server.stop()


def play(server: Server, victim: str) -> None:
    if not server.is_running:  # the round before has failed
        server.start()
    seed = asked_seed("FAULT_SEED")
    print(f"the victim is {victim}")
    asyncio.run(_Round(server, random.Random(seed), victim).play())


@pytest.mark.parametrize("number", range(ROUNDS))
def test_kill_9(killed_server: Server, number: int) -> None:
    """Each kind of process is the victim twice."""
    play(killed_server, VICTIMS[number % len(VICTIMS)])


@pytest.mark.slow
@pytest.mark.parametrize("number", range(SLOW_ROUNDS))
def test_kill_9_again_and_again(killed_server: Server, number: int) -> None:
    """The same, with as many moments as patience allows."""
    play(killed_server, VICTIMS[number % len(VICTIMS)])


def test_sigterm_ends_everything_in_good_order(tmp_path: Path) -> None:
    """In the middle of calls: status 0, no complaint, no process left; what was acknowledged is there afterwards."""
    server = Server(APP, tmp_path / "data")
    server.start()
    acknowledged: list[str] = []

    async def write(writer: int) -> None:
        async with http(server.port) as connection:
            with contextlib.suppress(*AWAY):
                for number in itertools.count():
                    row = f"{writer}-{number}"
                    await connection.value("mutation", "rows:add", {"round": "stop", "name": row})
                    acknowledged.append(row)
                    if len(acknowledged) == CALLS_AFTER_THE_KILL:
                        os.kill(server.pid, signal.SIGTERM)

    async def load() -> None:
        async with asyncio.TaskGroup() as writers:
            for number in range(HTTP_WRITERS):
                writers.create_task(write(number))

    async def stored() -> list[str]:
        async with http(server.port) as connection:
            names: list[str] = await connection.value("query", "rows:names", {"round": "stop"})
            return names

    asyncio.run(load())
    status = server.wait_for_exit()
    left, complaints = processes_of(server.pid), server.complaints.to_the_end()
    server.restart()
    names = asyncio.run(stored())
    server.stop()

    assert (status, left, complaints) == (0, {}, "")
    assert set(acknowledged) <= set(names)
    assert len(set(names)) == len(names)


class _Round:
    """Load, a kill at its moment, more load; then everything is counted."""

    def __init__(self, server: Server, chance: random.Random, victim: str) -> None:
        self._server = server
        self._chance = chance
        self._victim = victim
        self._name = str(uuid.UUID(int=chance.getrandbits(128)))
        self._kill_at = chance.randrange(1, KILL_AFTER_CALLS_MAX)
        self._begin_at = sorted(
            chance.randrange(self._kill_at + CALLS_AFTER_THE_KILL) for _ in range(chance.randint(2, 5))
        )
        self._acknowledged: list[str] = []
        self._progress = asyncio.Condition()
        self._is_over = False

    async def play(self) -> None:
        async with asyncio.TaskGroup() as load:
            for number in range(HTTP_WRITERS):
                load.create_task(self._write_over_http(f"http-{number}"))
            sync_rows = [load.create_task(self._write_over_sync(f"sync-{number}")) for number in range(SYNC_WRITERS)]
            load.create_task(self._begin_workflows())
            await self._acknowledged_count(self._kill_at)
            self._kill()
            await self._acknowledged_count(len(self._acknowledged) + CALLS_AFTER_THE_KILL)
            self._is_over = True
        await self._check_workflows()
        await self._check_rows([row for task in sync_rows for row in task.result()])
        self._check_processes()
        self._check_database()

    # --- the kill

    def _kill(self) -> None:
        """The event loop waits meanwhile: to the load this is one instant."""
        server = self._server
        children = processes_once(server.pid, _is_complete)
        assert _is_complete(children), children
        target = server.pid if self._victim == SERVER else self._chance.choice(sorted(children[self._victim]))
        os.kill(target, signal.SIGKILL)
        if self._victim == "cvx-template":
            wait_until_gone([*children["cvx-function"], *children["cvx-action"]])
        if self._victim in TAKES_THE_SERVER_ALONG:
            status = server.wait_for_exit()
            assert status == (-signal.SIGKILL if self._victim == SERVER else 1)
            wait_until_gone([pid for pids in children.values() for pid in pids])
            assert processes_once(server.pid, lambda found: not found) == {}
            server.restart()

    # --- the load

    async def _acknowledged_count(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._progress:
            await self._progress.wait_for(lambda: len(self._acknowledged) >= count)

    async def _acknowledge(self, row: str) -> None:
        async with self._progress:
            self._acknowledged.append(row)
            self._progress.notify_all()

    async def _while_away(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it again on a new connection while the server is away, which only its own death excuses."""
        while True:
            try:
                await work()
                return
            except AWAY:
                if self._victim not in TAKES_THE_SERVER_ALONG:
                    raise

    async def _write_over_http(self, writer: str) -> None:
        """A call that breaks off may or may not have been committed; the next one writes another row."""
        numbers = itertools.count()

        async def write() -> None:
            async with http(self._server.port) as connection:
                while not self._is_over:
                    row = f"{writer}-{next(numbers)}"
                    await connection.value("mutation", "rows:add", {"round": self._name, "name": row})
                    await self._acknowledge(row)

        await self._while_away(write)

    async def _write_over_sync(self, writer: str) -> list[str]:
        """As the official client does it: what has no answer is sent again under its number, and counts once."""
        session = str(uuid.UUID(int=self._chance.getrandbits(128)))
        sent: list[str] = []
        connections = itertools.count()

        async def write() -> None:
            async with sync_client(self._server.port, session, next(connections)) as client:
                if len(sent) > acknowledged:
                    await finish(client)
                while not self._is_over:
                    sent.append(f"{writer}-{len(sent)}")
                    await finish(client)

        acknowledged = 0

        async def finish(client: SyncClient) -> None:
            nonlocal acknowledged
            number = len(sent) - 1
            await client.mutate(number, "rows:add", {"round": self._name, "name": sent[number]})
            answer = await client.response(number)
            assert answer["success"], answer
            acknowledged += 1
            await self._acknowledge(sent[number])

        await self._while_away(write)
        return sent

    async def _begin_workflows(self) -> None:
        session = str(uuid.UUID(int=self._chance.getrandbits(128)))
        connections = itertools.count()
        begun = 0

        async def begin() -> None:
            nonlocal begun
            async with sync_client(self._server.port, session, next(connections)) as client:
                while begun < len(self._begin_at):
                    await self._acknowledged_count(self._begin_at[begun])
                    await client.mutate(begun, "chores:begin", {"round": self._name, "run": f"run {begun}"})
                    answer = await client.response(begun)
                    assert answer["success"], answer
                    begun += 1

        await self._while_away(begin)

    # --- the counting

    async def _check_workflows(self) -> None:
        runs = [f"run {number}" for number in range(len(self._begin_at))]
        async with sync_client(self._server.port) as client:
            await client.subscribe(0, "chores:states", {"round": self._name})
            states = await client.value(
                0, lambda states: all(state["kind"] != "inProgress" for state in states.values())
            )
        async with http(self._server.port) as connection:
            left = await connection.value("query", "chores:effects", {"round": self._name})
        counts = Counter((effect["run"], effect["step"]) for effect in left)
        assert states == {run: {"kind": "completed", "result": f"{run} is clean", "error": None} for run in runs}
        assert {key: counts[key] for key in itertools.product(runs, MUTATION_STEPS)} == dict.fromkeys(
            itertools.product(runs, MUTATION_STEPS), 1
        )
        assert all(counts[run, "thought"] >= 1 for run in runs), counts
        assert {step for _, step in counts} == {*MUTATION_STEPS, "thought"}

    def _check_database(self) -> None:
        """Every index against its documents, scheduled functions included, while the server goes on."""
        store = LmdbStore(self._server.data, readonly=True)
        try:
            assert [problem.text for problem in Checkup(store).problems()] == []
        finally:
            store.close()

    async def _check_rows(self, sync_rows: list[str]) -> None:
        async with http(self._server.port) as connection:
            counts = Counter(await connection.value("query", "rows:names", {"round": self._name}))
        assert set(counts.values()) == {1}, counts.most_common(3)
        assert set(self._acknowledged) <= set(counts), set(self._acknowledged) - set(counts)
        assert {row for row in counts if row.startswith("sync")} == set(sync_rows)

    def _check_processes(self) -> None:
        """As many of each as before: those killed have successors, and no predecessor is left."""
        found = processes_once(self._server.pid, _is_complete)
        assert _is_complete(found), found


def _is_complete(processes: dict[str, list[int]]) -> bool:
    """Whether it is all that a server has while nothing goes wrong."""
    expected = {"cvx-committer": 1, "cvx-template": 1, "cvx-function": default_worker_count(), "cvx-action": 1}
    return {name: len(pids) for name, pids in processes.items()} == expected
