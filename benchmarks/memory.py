"""How much memory do all processes of a server take together after it has run thousands of workflow steps?

The proportional set size: pages that processes share are counted once, and those of the mapped database are left out.
The load is that of `workflows`; beside the figure after it is that of the same server before it.
"""

from __future__ import annotations

from collections import Counter

from benchmarks.common import Figure, convexpy_processes, each_run, run, scratch_folder
from benchmarks.processes import memory_kib
from benchmarks.workflows import COUNTS, KINDS, rates_and_latency


def measure() -> list[Figure]:
    """Server, committer and all workers together, then each."""
    before: list[Counter[str]] = []
    after: list[Counter[str]] = []
    for _ in each_run():
        with scratch_folder() as folder, convexpy_processes(folder) as server:
            before.append(memory_kib(server.pid))
            run(rates_and_latency(server.url))
            after.append(memory_kib(server.pid))
    steps = sum(COUNTS[kind] * steps for kind, (_, steps) in KINDS.items())
    beside = Figure("the same server before", [each.total() / 1024 for each in before], "MiB")
    name = f"memory of all processes after {steps:,} workflow steps"
    return [
        Figure(name, [each.total() / 1024 for each in after], "MiB", (beside,), goal="≤ 200 MiB"),
        *(Figure(f"of it: {role}", [each[role] / 1024 for each in after], "MiB") for role in sorted(after[0])),
    ]
