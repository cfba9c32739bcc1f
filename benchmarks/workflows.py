"""How many workflows and steps a second, how long does one of ten steps take, and what does a step write?

The steps do nothing, so everything that is seen is the engine. Throughput: all are started at once over 16 connections
and the last one's end is waited for. Latency: one at a time, from the start to the push that says it has completed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.common import RUNS, Figure, convexpy_server, percentile, run, scratch_folder
from benchmarks.sync_client import SyncClient, connect
from convexpy.storage.lmdb_store import LmdbStore

STARTERS = 16
KINDS = {"one": ("1 step", 1, 320), "ten": ("10 steps in turn", 10, 96), "wide": ("10 steps side by side", 10, 96)}
TIMED = 30  # workflows of ten steps a run of the latency measure


def measure() -> list[Figure]:
    """Throughput of each kind, latency of ten steps, documents written a step."""
    figures = []
    with scratch_folder() as folder:
        with convexpy_server(folder) as url:
            for kind, (label, steps, count) in KINDS.items():
                rates = run(throughput(url, kind, count, RUNS))
                figures.append(Figure(f"workflows of {label}", rates, "workflows/s"))
                figures.append(Figure(f"workflows of {label}", [rate * steps for rate in rates], "steps/s"))
            delays = run(latency(url, RUNS))
        for share in (0.5, 0.95):
            times = [percentile(of_run, share) for of_run in delays]
            figures.append(Figure(f"workflow of 10 steps in turn, p{share * 100:.0f}", times, "ms"))
    figures.append(_documents_a_step())
    return figures


async def throughput(url: str, kind: str, count: int, runs: int) -> list[float]:
    """Workflows a second, for each run."""
    clients = await connect(url, STARTERS)
    await run_all(clients, kind, STARTERS)
    rates = []
    for _ in range(runs):
        began = time.perf_counter()
        await run_all(clients, kind, count)
        rates.append(count / (time.perf_counter() - began))
    for client in clients:
        client.close()
    return rates


async def run_all(clients: list[SyncClient], kind: str, count: int) -> None:
    """Start all, then wait for one after the other: at any time one query is watched, whatever the number of runs."""
    started = await asyncio.gather(
        *(clients[number % len(clients)].mutation("flows:begin", {"kind": kind}) for number in range(count))
    )
    for begun in started:
        await completed(clients[0], begun.value)


async def completed(client: SyncClient, workflow_id: str) -> None:
    """Wait for the end of a workflow.

    Raises:
        RuntimeError: it was no success.
    """
    kind = await client.first("flows:state", {"workflow_id": workflow_id}, lambda kind: kind != "inProgress")
    if kind != "completed":
        raise RuntimeError(f"a workflow ended as {kind}")


async def latency(url: str, runs: int) -> list[list[float]]:
    """Milliseconds of workflows of ten steps, one at a time, for each run."""
    (client,) = await connect(url, 1)
    found = []
    for _ in range(runs):
        delays = []
        for _ in range(TIMED):
            began = time.perf_counter()
            await completed(client, (await client.mutation("flows:begin", {"kind": "ten"})).value)
            delays.append((time.perf_counter() - began) * 1e3)
        found.append(delays)
    client.close()
    return found


def _documents_a_step() -> Figure:
    """Documents in the commit log for nine more steps, divided by nine: what starts and ends a run drops out."""
    runs = []
    for _ in range(RUNS):
        written = {}
        for kind in ("one", "ten"):
            with scratch_folder() as folder:
                with convexpy_server(folder) as url:
                    since = time.time_ns()
                    run(_run_one(url, kind))
                written[kind] = sum(_documents_of_commits(folder, since))
        runs.append((written["ten"] - written["one"]) / 9)
    return Figure("documents written a step", runs, "documents")


async def _run_one(url: str, kind: str) -> None:
    clients = await connect(url, 1)
    await run_all(clients, kind, 1)
    clients[0].close()


def _documents_of_commits(folder: Path, since_ts: int) -> Iterator[int]:
    """How many documents each commit after `since_ts` wrote, read from the stopped server's log."""
    store = LmdbStore(folder, readonly=True)
    with store.snapshot() as snapshot:
        for _, entry in snapshot.log_entries(since_ts, 2**63 - 1):
            _function, documents, *_index_entries = msgspec.msgpack.decode(entry)
            yield len(documents)
    store.close()
