"""How many workflows a second beside Restate and DBOS, in turns on the same machine?

Each run measures ours, then each peer, so what else the machine does falls on all alike. All are durable at their
defaults, all steps do nothing, and of all as many workflows run at once: whoever calls one waits for its end before the
next. Ours is started and watched over the sync protocol, Restate's is one HTTP request, DBOS runs in its caller's own
process. Restate's service is measured on both servers that its SDK names; the better one is what counts.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

from benchmarks import peer_servers
from benchmarks.common import RUNS, Figure, convexpy_server, percentile, run, scratch_folder
from benchmarks.http_client import HttpConnection, request
from benchmarks.sync_client import SyncClient, connect
from benchmarks.workflows import KINDS, completed

AT_ONCE = 64
COUNTS = {"one": 1_000, "ten": 300, "wide": 300}
WARM = 100
TIMED = 50
HANDLERS = {"one": ("in_turn", 1), "ten": ("in_turn", 10), "wide": ("side_by_side", 10)}
DBOS = "DBOS 3.4, SQLite"
PEER_SECONDS_MAX = 300

Found = dict[str, float]
Call = Callable[[str], Awaitable[None]]  # runs one workflow of a kind to its end


def measure() -> list[Figure]:
    """The three throughputs and the latency of ten steps, each beside the peers'."""
    peer_servers.check_installed()
    turns = {"": _ours, **{f"Restate 1.7 on {host}": _restate(host) for host in peer_servers.RESTATE_HOSTS}}
    turns[DBOS] = _dbos
    runs: dict[str, list[Found]] = {name: [] for name in turns}
    for number in range(RUNS):
        print(f"run {number + 1} of {RUNS} ...", file=sys.stderr, flush=True)
        for name, turn in turns.items():
            runs[name].append(turn())
    figures = []
    for kind, (label, steps, _) in KINDS.items():
        for unit, factor in (("workflows/s", 1), ("steps/s", steps)):
            if unit == "workflows/s" or steps > 1:
                figures.append(_beside(f"workflows of {label}", runs, kind, unit, factor))
    return [*figures, _beside("one workflow of 10 steps in turn, p50", runs, "ten_ms", "ms", 1)]


def _beside(name: str, runs: dict[str, list[Found]], key: str, unit: str, factor: float) -> Figure:
    ours, *peers = (Figure(each, [found[key] * factor for found in runs[each]], unit) for each in runs)
    return Figure(name, ours.runs, unit, peers)


async def _figures(calls: list[Call]) -> Found:
    """All figures of one system, by so many callers."""

    async def rate(kind: str, count: int) -> float:
        left = iter(range(count))

        async def one_after_another(call: Call) -> None:
            for _ in left:
                await call(kind)

        began = time.perf_counter()
        await asyncio.gather(*map(one_after_another, calls))
        return count / (time.perf_counter() - began)

    await rate("one", WARM)
    found = {kind: await rate(kind, count) for kind, count in COUNTS.items()}
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        await calls[0]("ten")
        times.append((time.perf_counter() - began) * 1e3)
    return {**found, "ten_ms": percentile(times, 0.5)}


def _ours() -> Found:
    async def figures(url: str) -> Found:
        clients = await connect(url, AT_ONCE)

        def call(client: SyncClient) -> Call:
            async def to_its_end(kind: str) -> None:
                await completed(client, (await client.mutation("flows:begin", {"kind": kind})).value)

            return to_its_end

        found = await _figures([call(client) for client in clients])
        for client in clients:
            client.close()
        return found

    with scratch_folder() as folder, convexpy_server(folder) as url:
        return run(figures(url))


def _restate(host: str) -> Callable[[], Found]:
    async def figures(port: int) -> Found:
        connections = [await HttpConnection.open(port) for _ in range(AT_ONCE)]
        requests = {kind: request("POST", f"/bench/{name}", steps) for kind, (name, steps) in HANDLERS.items()}

        def call(connection: HttpConnection) -> Call:
            async def to_its_end(kind: str) -> None:
                await connection.send(requests[kind])

            return to_its_end

        found = await _figures([call(connection) for connection in connections])
        for connection in connections:
            connection.close()
        return found

    def turn() -> Found:
        with scratch_folder() as folder, peer_servers.restate(folder, host) as port:
            return run(figures(port))

    return turn


def _dbos() -> Found:
    script = peer_servers.PEERS / "dbos_workflows.py"
    with scratch_folder() as folder:
        done = subprocess.run(
            [str(peer_servers.BIN / "python"), str(script), str(folder)],
            capture_output=True,
            text=True,
            timeout=PEER_SECONDS_MAX,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{script.name} failed: {done.stderr[-2000:]}")
    found: Found = json.loads(done.stdout.strip().splitlines()[-1])
    return found
