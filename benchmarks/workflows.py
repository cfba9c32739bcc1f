"""How many workflows and steps a second, how long does one of ten steps take, and what does a step write?

The steps do nothing, so everything that is seen is the engine. Throughput: 64 callers (`BENCH_CALLERS`), each of which
starts a workflow and waits for its end before the next. Latency: one at a time, from the start to the push that says it
has completed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from benchmarks.common import Figure, convexpy_server, each_run, percentile, run, scratch_folder
from benchmarks.sync_client import SyncClient, connect
from convexpy.storage.lmdb_store import LmdbStore
from convexpy.transactions.commit_log import LoggedCommit, decode_commit

CALLERS = int(os.environ.get("BENCH_CALLERS", "64"))
KINDS = {"one": ("1 step", 1), "ten": ("10 steps in turn", 10), "wide": ("10 steps side by side", 10)}  # its steps
UNITS = {"one": "workflows/s", "ten": "steps/s", "wide": "steps/s"}
COUNTS = {"one": 1_000, "ten": 300, "wide": 300}
WARM = 100
TIMED = 50  # workflows of ten steps that latency is measured with

Call = Callable[[str], Awaitable[None]]  # runs one workflow of a kind to its end
Found = dict[str, float]


def measure() -> list[Figure]:
    """Throughput of each kind, latency of ten steps, documents written a step."""
    with scratch_folder() as folder, convexpy_server(folder) as url:
        runs = [run(rates_and_latency(url)) for _ in each_run()]
    figures = [
        Figure(f"workflows of {label}", [found[kind] * steps for found in runs], UNITS[kind])
        for kind, (label, steps) in KINDS.items()
    ]
    for share, goal in (("p50", "≤ 12 ms"), ("p95", "")):
        name = f"workflow of 10 steps in turn, {share}"
        figures.append(Figure(name, [found[share] for found in runs], "ms", goal=goal))
    figures.append(_documents_a_step())
    return figures


async def rates_and_latency(url: str) -> Found:
    """One run on a server: see `figures_of`."""
    clients = await connect(url, CALLERS)
    found = await figures_of(callers(clients))
    for client in clients:
        client.close()
    return found


def callers(clients: Sequence[SyncClient]) -> list[Call]:
    """What runs a workflow over each connection."""

    def call_of(client: SyncClient) -> Call:
        async def to_its_end(kind: str) -> None:
            await completed(client, (await client.mutation("flows:begin", {"kind": kind})).value)

        return to_its_end

    return [call_of(client) for client in clients]


async def figures_of(calls: Sequence[Call]) -> Found:
    """Workflows a second by kind, `p50` and `p95` of ten steps in turn in milliseconds; of whatever is called."""
    await rate(calls, "one", WARM)
    found = {kind: await rate(calls, kind, count) for kind, count in COUNTS.items()}
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        await calls[0]("ten")
        times.append((time.perf_counter() - began) * 1e3)
    return {**found, "p50": percentile(times, 0.5), "p95": percentile(times, 0.95)}


async def rate(calls: Sequence[Call], kind: str, count: int) -> float:
    """Workflows a second while each caller waits for its last one before the next."""
    left = iter(range(count))

    async def one_after_another(call: Call) -> None:
        for _ in left:
            await call(kind)

    began = time.perf_counter()
    await asyncio.gather(*map(one_after_another, calls))
    return count / (time.perf_counter() - began)


async def completed(client: SyncClient, workflow_id: str) -> None:
    """Wait for the end of a workflow.

    Raises:
        RuntimeError: it was no success.
    """
    kind = await client.first("flows:state", {"workflow_id": workflow_id}, lambda kind: kind != "inProgress")
    if kind != "completed":
        raise RuntimeError(f"a workflow ended as {kind}")


def _documents_a_step() -> Figure:
    """Documents in the commit log for nine more steps, divided by nine: what starts and ends a run drops out."""
    written = {}
    for kind in ("one", "ten"):
        with scratch_folder() as folder:
            since = time.time_ns()
            with convexpy_server(folder) as url:
                run(_run_one(url, kind))
            written[kind] = sum(len(commit.documents) for _, commit in commits_after(folder, since))
    return Figure("documents written a step", [(written["ten"] - written["one"]) / 9], "documents", goal="≤ 5")


def commits_after(folder: Path, ts: int) -> list[tuple[int, LoggedCommit]]:
    """What a stopped server's log says of the commits after `ts`."""
    store = LmdbStore(folder, readonly=True)
    try:
        with store.snapshot() as snapshot:
            return [(at, decode_commit(entry)) for at, entry in snapshot.log_entries(ts + 1, snapshot.ts + 1)]
    finally:
        store.close()


async def _run_one(url: str, kind: str) -> None:
    (client,) = await connect(url, 1)
    await callers([client])[0](kind)
    client.close()
