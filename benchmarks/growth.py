"""What does a read cost among a million documents (`BENCH_DOCUMENTS`) beside ten thousand?

The queries run as workers run them, each on a snapshot of its own, in this process: what lies between a client and a
worker does not grow with documents. Both sizes take turns, and the documents asked for are picked at random.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable

import msgspec

from benchmarks.common import APP, RUNS, Figure, percentile
from convexpy.functions.application import load_application
from convexpy.runtime.execute import execute
from convexpy.runtime.generation import Generation
from convexpy.runtime.messages import Call
from convexpy.testing import TestBackend

FEW = 10_000
MANY = int(os.environ.get("BENCH_DOCUMENTS", "1000000"))
DOCUMENTS_PER_MUTATION = 10_000
READS = 2_000

Read = Callable[[], float]  # one read of a random document; its microseconds


class Notes:
    """A deployment with so many documents."""

    def __init__(self, count: int) -> None:
        self._application = load_application(APP)
        self._backend = TestBackend(self._application, limits={"timeout_seconds": 60})
        self._count = count
        self._chance = random.Random(count)
        self._ids: list[str] = []
        self._numbers = itertools.count()

    def __enter__(self) -> Notes:
        self._backend.__enter__()
        for first in range(0, self._count, DOCUMENTS_PER_MUTATION):
            self._ids += self._backend.mutation("notes:fill", {"first": first, "count": DOCUMENTS_PER_MUTATION})
        self._generation = Generation(self._backend.runtime.generation, self._application)
        return self

    def __exit__(self, *error: object) -> None:
        self._backend.__exit__(None, None, None)

    def point(self) -> float:
        """Read one document by its id."""
        return self._run("notes:one", {"note": self._chance.choice(self._ids)})

    def range(self) -> float:
        """Read twenty documents from somewhere in the index."""
        return self._run("notes:since", {"seconds": self._chance.randrange(self._count - 20)})

    def _run(self, path: str, args: dict[str, object]) -> float:
        call = Call(id=next(self._numbers), kind="query", component="", path=path, args=msgspec.json.encode(args))
        began = time.perf_counter()
        with self._backend.store.snapshot() as snapshot:
            reply = execute(call, snapshot, self._generation)
        taken = time.perf_counter() - began
        if not reply.is_ok:
            raise RuntimeError(f"{path} failed: {reply.error}")
        return taken * 1e6


def measure() -> list[Figure]:
    """A point read and a range of twenty rows, at both sizes."""
    figures = []
    with Notes(FEW) as few, Notes(MANY) as many:
        for what, read in (("point read", Notes.point), ("range of 20 rows", Notes.range)):
            runs = [_both(lambda read=read: read(few), lambda read=read: read(many)) for _ in range(RUNS)]  # type: ignore[misc]
            beside = Figure(f"{what} among {FEW:,}", [run[0] for run in runs], "µs")
            figures.append(Figure(f"{what} among {MANY:,} documents, p50", [run[1] for run in runs], "µs", (beside,)))
    return figures


def _both(few: Read, many: Read) -> tuple[float, float]:
    """Medians of the two sizes, measured in turns."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(READS):
        taken[0].append(few())
        taken[1].append(many())
    return percentile(taken[0], 0.5), percentile(taken[1], 0.5)
