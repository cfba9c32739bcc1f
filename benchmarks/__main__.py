"""Prints one table. `python -m benchmarks [question …]`; the questions are below, and without one all are measured.

BENCH_RUNS (5) and BENCH_SECONDS (2) make it longer, BENCH_TMP chooses the disk.
"""

from __future__ import annotations

import os
import platform
import sys

from benchmarks import (
    backend_peers,
    big_pushes,
    growth,
    hot_counter,
    idle,
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
    "mutations": mutations.measure,
    "hot_counter": hot_counter.measure,
    "push": push.measure,
    "subscriptions": subscriptions.measure,
    "growth": growth.measure,
    "starting": starting.measure,
    "idle": idle.measure,
    "big_pushes": big_pushes.measure,
    "workflows": workflows.measure,
    "workflow_growth": workflow_growth.measure,
    "sleeping_workflows": sleeping_workflows.measure,
    "stages": stages.measure,
}


# Only by name: `make peers` installs what they measure beside ours.
ASKED_FOR = {"workflow_peers": workflow_peers.measure, "backend_peers": backend_peers.measure}


def main() -> int:
    """Measure what was asked for; returns the exit code."""
    known = QUESTIONS | ASKED_FOR
    unknown = set(sys.argv[1:]) - known.keys()
    if unknown:
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    allow_many_connections()
    print(
        f"{os.cpu_count()} cores, {busy_percent():.0f} % busy before the start, Python {platform.python_version()}; "
        f"clients and servers share the cores; medians of {RUNS} runs of {SECONDS:g} s or a fixed number of calls",
        flush=True,
    )
    figures = []
    for question in sys.argv[1:] or QUESTIONS:
        print(f"measuring {question} ...", file=sys.stderr, flush=True)
        figures += known[question]()
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
