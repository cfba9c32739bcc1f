"""What do a read and a start cost among a million documents (`BENCH_DOCUMENTS`) beside ten thousand?

A server writes the documents, as clients ask it to. The queries then run as its workers run them, each on a snapshot of
its own, in this process: what lies between a client and a worker does not grow with documents. Both sizes take turns,
and the documents asked for are picked at random. A process pays once for each part of the database that it sees,
because the kernel then maps it; so what its first reads cost stands beside what they cost later.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from benchmarks.common import APP, Figure, Part, convexpy_server, each_run, in_turns, percentile, run, scratch_folder
from benchmarks.starting import start_seconds
from benchmarks.sync_client import SyncClient, connect
from convexpy.functions import guard
from convexpy.functions.application import load_application
from convexpy.runtime.execute import execute
from convexpy.runtime.generation import Generation
from convexpy.runtime.messages import Call
from convexpy.storage.lmdb_store import LmdbStore

FEW = 10_000
MANY = int(os.environ.get("BENCH_DOCUMENTS", "1000000"))
DOCUMENTS_PER_MUTATION = 2_500
WRITERS = 4
FILL_SECONDS_MAX = 7_200
READS = 2_000
WARM_READS = 10_000

Read = Callable[[], float]  # one read of a random document; its microseconds


class Notes:
    """A folder with so many documents, open for reading."""

    def __init__(self, folder: Path, store: LmdbStore, ids: list[str], count: int) -> None:
        self.folder = folder
        self._store = store
        self._generation = Generation(1, load_application(APP))
        self._ids = ids
        self._count = count
        self._chance = random.Random(count)
        self._numbers = itertools.count()

    def point(self) -> float:
        """Read one document by its id."""
        return self._run("notes:one", {"note": self._chance.choice(self._ids)})

    def range(self) -> float:
        """Read twenty documents from somewhere in the index."""
        return self._run("notes:since", {"seconds": self._chance.randrange(self._count - 20)})

    def gigabytes(self) -> float:
        """Size of the database with its log."""
        return self._store.sizes()["file"] / 1e9

    def _run(self, path: str, args: dict[str, object]) -> float:
        call = Call(id=next(self._numbers), kind="query", component="", path=path, args=msgspec.json.encode(args))
        began = time.perf_counter()
        with self._store.snapshot() as snapshot:
            reply = execute(call, snapshot, self._generation)
        taken = time.perf_counter() - began
        if not reply.is_ok:
            raise RuntimeError(f"{path} failed: {reply.error}")
        return taken * 1e6


def measure() -> list[Figure]:
    """A point read, a range of twenty rows, and a server's start, at both sizes."""
    guard.install()
    figures = []
    with notes(FEW) as few, notes(MANY) as many:
        for what, read in (("point read", Notes.point), ("range of 20 rows", Notes.range)):
            first = [_both(partial(read, few), partial(read, many))]
            for _ in range(WARM_READS):
                read(few)
                read(many)
            later = [_both(partial(read, few), partial(read, many)) for _ in each_run()]
            figures += [_figure(f"{what}, p50", later, "≤ 1.5"), _figure(f"{what}, a process's first", first, "")]
        start = in_turns(
            "s",
            Part(f"start with {MANY:,} documents", lambda: start_seconds(many.folder)),
            Part(f"with {FEW:,}", lambda: start_seconds(few.folder), "about 1"),
        )
        figures += [start, Figure(f"database of {MANY:,} documents, its log included", [many.gigabytes()], "GB")]
    return figures


def _figure(name: str, runs: list[tuple[float, float]], goal: str) -> Figure:
    beside = Figure(f"among {FEW:,}", [few for few, _ in runs], "µs", goal=goal)
    return Figure(f"{name} among {MANY:,} documents", [many for _, many in runs], "µs", (beside,))


@contextmanager
def notes(count: int) -> Iterator[Notes]:
    """So many documents: have a server write them, stop it, and open what it has left."""
    with scratch_folder() as folder:
        with convexpy_server(folder) as url:
            ids = run(_fill(url, count), FILL_SECONDS_MAX)
        store = LmdbStore(folder, readonly=True)
        try:
            yield Notes(folder, store, ids, count)
        finally:
            store.close()


async def _fill(url: str, count: int) -> list[str]:
    """Write them over several connections; gives some of their ids."""
    clients = await connect(url, WRITERS)
    firsts = iter(range(0, count, DOCUMENTS_PER_MUTATION))

    async def write(client: SyncClient) -> list[str]:
        ids: list[str] = []
        for first in firsts:
            done = await client.mutation("notes:fill", {"first": first, "count": DOCUMENTS_PER_MUTATION})
            ids += done.value
        return ids

    found = await asyncio.gather(*map(write, clients))
    for client in clients:
        client.close()
    return list(itertools.chain(*found))


def _both(few: Read, many: Read) -> tuple[float, float]:
    """Medians of the two sizes, measured in turns."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(READS):
        taken[0].append(few())
        taken[1].append(many())
    return percentile(taken[0], 0.5), percentile(taken[1], 0.5)
