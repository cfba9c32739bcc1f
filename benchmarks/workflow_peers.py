"""How many workflows a second beside Restate and DBOS, in turns on the same machine?

Each run measures ours, then each peer, so what else the machine does falls on all alike. All are durable at their
defaults, all steps do nothing. `make peers` installs the peers; versions are in `benchmarks/peers`.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks.common import RUNS, Figure, convexpy_server, percentile, run, scratch_folder
from benchmarks.workflows import KINDS, latency, throughput

PEERS = Path(__file__).parent / "peers"
PYTHON = PEERS / ".venv" / "bin" / "python"
RESTATE = PEERS / "node_modules" / "@restatedev" / "restate-server-linux-x64" / "bin" / "restate-server"
SCRIPTS = {"Restate 1.7": ("restate_workflows.py", [str(RESTATE)]), "DBOS 3.4, SQLite": ("dbos_workflows.py", [])}
PEER_SECONDS_MAX = 300

Found = dict[str, float]


def measure() -> list[Figure]:
    """The three throughputs and the latency of ten steps, each beside the peers'."""
    if not PYTHON.exists() or not RESTATE.exists():
        raise SystemExit("The peers are not installed: run `make peers` first.")
    runs: dict[str, list[Found]] = {"": [], **{name: [] for name in SCRIPTS}}
    for _ in range(RUNS):
        runs[""].append(_ours())
        for name, (script, options) in SCRIPTS.items():
            runs[name].append(_peer(script, options))
    figures = []
    for kind, (label, steps, _) in KINDS.items():
        for unit, factor in (("workflows/s", 1), ("steps/s", steps)):
            if unit == "workflows/s" or steps > 1:
                figures.append(_beside(f"workflows of {label}", runs, kind, unit, factor))
    return [*figures, _beside("one workflow of 10 steps in turn, p50", runs, "ten_ms", "ms", 1)]


def _beside(name: str, runs: dict[str, list[Found]], key: str, unit: str, factor: float) -> Figure:
    peers = tuple(Figure(peer, [found[key] * factor for found in runs[peer]], unit) for peer in SCRIPTS)
    return Figure(name, [found[key] * factor for found in runs[""]], unit, peers)


def _ours() -> Found:
    """One run of each kind on a fresh server."""
    with scratch_folder() as folder, convexpy_server(folder) as url:
        found = {kind: run(throughput(url, kind, count, 1))[0] for kind, (_, _, count) in KINDS.items()}
        (delays,) = run(latency(url, 1))
    return {**found, "ten_ms": percentile(delays, 0.5)}


def _peer(script: str, options: list[str]) -> Found:
    """One run of a peer's script."""
    with scratch_folder() as folder:
        done = subprocess.run(
            [str(PYTHON), str(PEERS / script), str(folder), *options],
            capture_output=True,
            text=True,
            timeout=PEER_SECONDS_MAX,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{script} failed: {done.stderr[-2000:]}")
    found: Found = json.loads(done.stdout.strip().splitlines()[-1])
    return found
