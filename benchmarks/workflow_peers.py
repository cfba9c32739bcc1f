"""How many workflows a second beside Restate and DBOS, in turns on the same machine?

Each run measures ours, then each peer, so what else the machine does falls on all alike. All are durable at their
defaults, all steps do nothing, and of all as many workflows run at once: whoever calls one waits for its end before the
next. Ours is started and watched over the sync protocol, Restate's is one HTTP request, DBOS runs in its caller's own
process. Restate's service is measured on both servers that its SDK names; the better one is what counts.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace

from benchmarks import peer_servers
from benchmarks.common import Figure, convexpy_server, each_run, run, scratch_folder
from benchmarks.http_client import HttpConnection, request
from benchmarks.workflows import CALLERS, KINDS, UNITS, Call, Found, figures_of, rates_and_latency

HANDLERS = {"one": ("in_turn", 1), "ten": ("in_turn", 10), "wide": ("side_by_side", 10)}
DBOS = "DBOS 3.4, SQLite"
RESTATE = {f"Restate 1.7 on {host}": host for host in peer_servers.RESTATE_HOSTS}
GOALS = dict.fromkeys(RESTATE, "≥ 1.5, the aim is 3") | {DBOS: "≥ 8"}
PEER_SECONDS_MAX = 300


def measure() -> list[Figure]:
    """The three throughputs and the latency of ten steps, each beside the peers'."""
    peer_servers.check_installed()
    turns = {"": _ours, **{name: _restate(host) for name, host in RESTATE.items()}, DBOS: _dbos}
    runs: dict[str, list[Found]] = {name: [] for name in turns}
    for _ in each_run():
        for name, turn in turns.items():
            runs[name].append(turn())
    figures = [
        _beside(f"workflows of {label}", runs, kind, UNITS[kind], steps, GOALS)
        for kind, (label, steps) in KINDS.items()
    ]
    latency = _beside("one workflow of 10 steps in turn, p50", runs, "p50", "ms", 1, {})
    return [*figures, replace(latency, goal="≤ 12 ms")]


def _beside(
    name: str, runs: dict[str, list[Found]], key: str, unit: str, factor: float, goals: dict[str, str]
) -> Figure:
    ours, *peers = (
        Figure(each, [found[key] * factor for found in runs[each]], unit, goal=goals.get(each, "")) for each in runs
    )
    return Figure(name, ours.runs, unit, peers)


def _ours() -> Found:
    with scratch_folder() as folder, convexpy_server(folder) as url:
        return run(rates_and_latency(url))


def _restate(host: str) -> Callable[[], Found]:
    async def figures(port: int) -> Found:
        connections = [await HttpConnection.open(port) for _ in range(CALLERS)]
        requests = {kind: request("POST", f"/bench/{name}", steps) for kind, (name, steps) in HANDLERS.items()}

        def call(connection: HttpConnection) -> Call:
            async def to_its_end(kind: str) -> None:
                await connection.send(requests[kind])

            return to_its_end

        found = await figures_of([call(connection) for connection in connections])
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
            [str(peer_servers.BIN / "python"), str(script), str(folder), str(CALLERS)],
            capture_output=True,
            text=True,
            timeout=PEER_SECONDS_MAX,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{script.name} failed: {done.stderr[-2000:]}")
    found: Found = json.loads(done.stdout.strip().splitlines()[-1])
    return found
