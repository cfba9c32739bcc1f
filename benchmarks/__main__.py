"""Prints one table: `python -m benchmarks [question …]`; without one, all of them.

BENCH_RUNS (5) and BENCH_SECONDS (2) make it longer, BENCH_TMP chooses the disk, BENCH_DOCUMENTS (1,000,000) is the
size of `growth`.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence

from benchmarks import (
    backend_peers,
    big_pushes,
    budget,
    growth,
    hot_counter,
    idle,
    latency,
    memory,
    mutations,
    push,
    sleeping_workflows,
    stages,
    starting,
    subscriptions,
    workflow_growth,
    workflow_peers,
    workflows,
)
from benchmarks.common import RUNS, SECONDS, allow_many_connections, busy_percent, table

QUESTIONS = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        mutations,
        latency,
        budget,
        stages,
        hot_counter,
        push,
        subscriptions,
        growth,
        starting,
        idle,
        big_pushes,
        workflows,
        memory,
        workflow_growth,
        sleeping_workflows,
    )
}
# Only by name: `make peers` installs what they measure beside ours.
ASKED_FOR = {"workflow_peers": workflow_peers, "backend_peers": backend_peers}
KNOWN = QUESTIONS | ASKED_FOR


def main(asked: Sequence[str]) -> int:
    """Measure what was asked for; returns the exit code."""
    if "--help" in asked or "-h" in asked:
        print(_help())
        return 0
    if unknown := [name for name in asked if name not in KNOWN]:
        print(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(KNOWN)}.", file=sys.stderr)
        return 2
    allow_many_connections()
    print(
        f"{os.cpu_count()} cores, {busy_percent():.0f} % busy before the start, Python {platform.python_version()}; "
        f"clients and servers share the cores; medians of {RUNS} runs of {SECONDS:g} s or a fixed number of calls\n",
        flush=True,
    )
    for place, name in enumerate(asked or QUESTIONS):
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        lines = table(KNOWN[name].measure()).splitlines()
        print("\n".join(lines[2 if place else 0 :]), flush=True)
    return 0


def _help() -> str:
    questions = [f"  {name:20} {(module.__doc__ or '').splitlines()[0]}" for name, module in KNOWN.items()]
    alone = ", ".join(ASKED_FOR)
    return "\n".join([__doc__, *questions, "", f"Measured only when they are named, after `make peers`: {alone}."])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
