"""`kill -9` of any process at random moments of a push, under writers: the database is consistent, whoever dies when.

Each round edits the project, so that the push checks all documents, builds an index and drops another, and kills
somebody after a number of acknowledged writes. FAULT_SEED=… runs a round again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from convexpy.storage.lmdb_store import LmdbStore
from convexpy.transactions.catalog import load_catalog
from convexpy.transactions.checkup import Checkup
from convexpy.transactions.system_tables import INDEX_BUILDS, PUSHES
from convexpy.values import unpack
from tests.clients.server import Server
from tests.faults.convex_client import http
from tests.faults.processes import processes_of
from tests.faults.test_kills import AWAY
from tests.patience import PATIENCE_SECONDS
from tests.seeds import asked_seed

SERVER = "server"
VICTIMS = (SERVER, "cvx-committer", "cvx-template", "cvx-function")
ROUNDS, SLOW_ROUNDS = len(VICTIMS), 120
DOCUMENTS, DOCUMENTS_PER_MUTATION = 4_000, 1_000
WRITERS = 3
KILL_AFTER_WRITES_MAX = 60

SCHEMA = """
from convexpy import define_schema, define_table, v

schema = define_schema({{"rows": define_table({{"n": {number}, "name": v.string()}}).index("by_{field}", ["{field}"])}})
"""
ROWS = """
from convexpy import mutation, query

@mutation
def fill(ctx, count: int) -> None:
    for n in range(count):
        ctx.db.insert("rows", {{"n": n % 100, "name": "filler"}})

@mutation
def add(ctx, name: str) -> None:
    ctx.db.insert("rows", {{"n": -1, "name": name}})

@query
def version(ctx) -> int:
    ctx.db.query("rows").with_index("by_{field}").first()
    return {version}
"""


class Project:
    """A folder whose every version has another index and another validator than the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = 0
        folder.mkdir()
        self.edit()

    def edit(self) -> None:
        """The next version, in one step a file."""
        self.version += 1
        is_odd = bool(self.version % 2)
        field, number = ("n", "v.number()") if is_odd else ("name", "v.union(v.literal(-1), v.float64())")
        sources = {
            "schema.py": SCHEMA.format(field=field, number=number if self.version % 3 else "v.any()"),
            "rows.py": ROWS.format(field=field, version=self.version),
        }
        for name, source in sources.items():
            draft = self.folder / f"{name}.draft"
            draft.write_text(source)
            draft.replace(self.folder / name)


class PushedServer:
    """A server on a project that is edited, and all writes that it has acknowledged."""

    def __init__(self, folder: Path) -> None:
        self.project = Project(folder / "project")
        self.server = Server(self.project.folder, folder / "data", is_watching=True)
        self.acknowledged: list[str] = []
        self._numbers = 0

    async def fill(self) -> None:
        async with http(self.server.port) as connection:
            for _ in range(DOCUMENTS // DOCUMENTS_PER_MUTATION):
                await connection.value("mutation", "rows:fill", {"count": DOCUMENTS_PER_MUTATION})

    async def play(self, victim: str, kill_at: int, chance: random.Random) -> None:
        """Edit, write, kill after `kill_at` writes; then the newest version must become live, if need be by an edit."""
        is_over = asyncio.Event()
        done = asyncio.Semaphore(0)

        async def write() -> None:
            while not is_over.is_set():
                try:
                    async with http(self.server.port) as connection:
                        while not is_over.is_set():
                            self._numbers += 1
                            name = f"row {self._numbers}"
                            await connection.value("mutation", "rows:add", {"name": name})
                            self.acknowledged.append(name)
                            done.release()
                except AWAY:
                    await asyncio.sleep(0)

        writers = [asyncio.create_task(write()) for _ in range(WRITERS)]
        self.project.edit()
        for _ in range(kill_at):
            await done.acquire()
        self._kill(victim, chance)
        await self._until_live()
        is_over.set()
        await asyncio.gather(*writers)

    def _kill(self, victim: str, chance: random.Random) -> None:
        children = processes_of(self.server.pid)
        pids = [self.server.pid] if victim == SERVER else children.get(victim, [])
        if pids:
            with contextlib.suppress(ProcessLookupError):  # it has just been replaced
                os.kill(chance.choice(sorted(pids)), signal.SIGKILL)
        if victim in (SERVER, "cvx-committer"):
            self.server.wait_for_exit()
            self.server.restart()

    async def _until_live(self) -> None:
        """A push whose process was killed is refused; the next edit is another chance. It also takes the place of a
        push that is under way, so each gets longer than the one before."""
        async with asyncio.timeout(5 * PATIENCE_SECONDS):
            for edits in itertools.count():
                for _ in range(20 * 2**edits):
                    async with http(self.server.port) as connection:
                        outcome = await connection.call("query", "rows:version", {})
                    if outcome.get("value") == self.project.version:
                        return
                    await asyncio.to_thread(self.server.output.next, 0.5)
                self.project.edit()


def problems(data: Path) -> list[str]:
    """What is wrong in the database of a server that does not run; what is only to be swept yet is not."""
    store = LmdbStore(data, readonly=True)
    try:
        found = [
            each.text for each in Checkup(store).problems() if "left of an index that was dropped" not in each.text
        ]
        with store.snapshot() as snapshot:
            table = load_catalog(snapshot).by_name[0, "rows"]
            found += ["a pending schema is left"] if table.pending_schema is not None else []
            found += [f"the pending index {name} is left" for name in table.indexes if "pending" in name]
            for rows in (PUSHES, INDEX_BUILDS):
                left = list(snapshot.document_entries(rows.prefix, rows.prefix + b"\xff" * 20, False))
                found += [f"{len(left)} rows are left in {rows.name}"] if left else []
            expected = len(list(snapshot.document_entries(table.prefix, table.prefix + b"\xff" * 20, False)))
            for index in table.indexes.values():
                entries = len(list(snapshot.index_keys(index.prefix, index.prefix + b"\xff" * 600, False)))
                found += [f"{index.name} has {entries} entries of {expected}"] if entries != expected else []
        return found
    finally:
        store.close()


def names_in(data: Path) -> list[str]:
    """What the writers' rows are called, as they are stored."""
    store = LmdbStore(data, readonly=True)
    try:
        with store.snapshot() as snapshot:
            table = load_catalog(snapshot).by_name[0, "rows"]
            rows = [
                unpack(value[8:])
                for _, value in snapshot.document_entries(table.prefix, table.prefix + b"\xff" * 20, False)
            ]
        return [row["name"] for row in rows if row["n"] == -1]
    finally:
        store.close()


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushedServer]:
    """One data folder through all the pushes of this module."""
    pushed = PushedServer(tmp_path_factory.mktemp("pushes"))
    pushed.server.start()
    asyncio.run(pushed.fill())
    yield pushed
    pushed.server.stop()


def play(pushed: PushedServer, number: int) -> None:
    if not pushed.server.is_running:
        pushed.server.start()
    victim = VICTIMS[number % len(VICTIMS)]
    chance = random.Random(asked_seed("FAULT_SEED"))
    kill_at = chance.randrange(KILL_AFTER_WRITES_MAX)
    print(f"The victim is {victim}, after {kill_at} writes")

    asyncio.run(pushed.play(victim, kill_at, chance))
    pushed.server.stop()
    names = names_in(pushed.server.data)

    assert len(names) == len(set(names))
    assert set(pushed.acknowledged) <= set(names)
    assert problems(pushed.server.data) == []


@pytest.mark.parametrize("number", range(ROUNDS))
def test_kill_9_within_a_push(pushed: PushedServer, number: int) -> None:
    """Each kind of process is the victim once."""
    play(pushed, number)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(SLOW_ROUNDS))
def test_kill_9_within_a_push_again_and_again(pushed: PushedServer, number: int) -> None:
    """The same, with as many moments as patience allows."""
    play(pushed, number)
