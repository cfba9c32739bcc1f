"""How long from the command until it serves, and from a saved file until the new code is live?

The example app, workflow component included, on an empty data folder and on one that holds a million scheduled
functions which are due some day (`BENCH_SCHEDULED`); with these, how busy the server is when nothing happens.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

from benchmarks.common import Figure, convexpy_processes, each_run, percentile, run, scratch_folder, started
from benchmarks.processes import busy_percent_of_core
from benchmarks.sync_client import connect

EXAMPLE = Path(__file__).parents[1] / "examples" / "app"
SCHEDULED = int(os.environ.get("BENCH_SCHEDULED", "1000000"))
SCHEDULED_PER_MUTATION = 1_000
WRITERS = 4
IDLE_SECONDS = 5.0
RELOADS = 5


def measure() -> list[Figure]:
    """Start and reload of the example; start of a full folder beside an empty one, and its idle processor time."""
    starts, reloads, empty, full, busy = [], [], [], [], []
    with scratch_folder() as folder:
        with convexpy_processes(folder) as server:
            run(_schedule(server.url))
        for _ in each_run():
            with scratch_folder() as other:
                seconds, delays = _example(other)
                starts.append(seconds)
                reloads.append(percentile(delays, 0.5))
            with scratch_folder() as other:
                empty.append(start_seconds(other))
            full.append(start_seconds(folder))
            busy.append(_busy_percent(folder))
    beside = Figure("start with an empty folder", empty, "s", goal="about 1")
    return [
        Figure("start of the example, command → serving", starts, "s", goal="≤ 1 s"),
        Figure("reload of the example, saved → live", reloads, "s", goal="≤ 0.5 s"),
        Figure(f"start with {SCHEDULED:,} scheduled functions", full, "s", (beside,)),
        Figure(f"processor, {SCHEDULED:,} scheduled functions that wait", busy, "% of one core", goal="≤ 1 %"),
    ]


def _example(folder: Path) -> tuple[float, list[float]]:
    """Seconds of a start, and of reloads of one file."""
    app = folder / "reading_room"
    shutil.copytree(EXAMPLE, app, ignore=shutil.ignore_patterns(".convexpy", "__pycache__", "vendor"))
    began = time.perf_counter()
    with started("dev", app, folder / "data") as server:
        seconds = time.perf_counter() - began
        return seconds, run(_reloads(server.url, app / "benchmark.py"))


async def _reloads(url: str, module: Path) -> list[float]:
    (client,) = await connect(url, 1)
    delays = []
    for number in range(RELOADS + 1):
        text = f"from convexpy import query\n\n\n@query\ndef number(ctx):\n    return {number}\n"
        draft = module.with_suffix(".draft")
        draft.write_text(text)
        began = time.perf_counter()
        draft.replace(module)
        if number == 0:
            await asyncio.sleep(2)  # until the function is there, a subscription to it is an error
            client.subscribe("benchmark:number", {}, lambda value: None)
            continue
        await client.first("benchmark:number", {}, lambda value, number=number: value == number)  # type: ignore[misc]
        delays.append(time.perf_counter() - began)
    client.close()
    return delays


async def _schedule(url: str) -> None:
    """Schedule for next year."""
    clients = await connect(url, WRITERS)

    async def write(share: int) -> None:
        for _ in range(0, SCHEDULED // WRITERS, SCHEDULED_PER_MUTATION):
            await clients[share].mutation("notes:schedule", {"count": SCHEDULED_PER_MUTATION})

    await asyncio.gather(*(write(share) for share in range(WRITERS)))
    for client in clients:
        client.close()


def start_seconds(folder: Path) -> float:
    """From the command until the benchmark app is served on a data folder."""
    began = time.perf_counter()
    with convexpy_processes(folder):
        return time.perf_counter() - began


def _busy_percent(folder: Path) -> float:
    """How busy a server is that nobody asks anything."""
    with convexpy_processes(folder) as server:
        time.sleep(1)  # what a start does afterwards is over
        return run(busy_percent_of_core(server.pid, IDLE_SECONDS))
