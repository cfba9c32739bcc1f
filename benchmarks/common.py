"""What every benchmark needs: figures and their table, a server in a process of its own, the machine's state."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import uvloop

T = TypeVar("T")

APP = Path(__file__).parent / "app"
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 15
MEASURE_SECONDS_MAX = 600
OPEN_FILES = 8192  # 1,000 connections take a descriptor at either end, and more where a worker sees them


@dataclass(frozen=True)
class Figure:
    """One measured quantity over several runs."""

    name: str
    runs: Sequence[float]
    unit: str
    beside: Sequence[Figure] = ()  # of the same runs: what ours is compared with
    goal: str = ""  # of the figure, or where it is beside another one of the ratio

    def ratios(self, other: Figure) -> list[float]:
        """This figure divided by `other`, run by run: what slowed both down in one of them drops out."""
        return [ours / theirs for ours, theirs in zip(self.runs, other.runs, strict=True)]

    def __str__(self) -> str:
        return _spread(self.runs, self.unit)


class Part(NamedTuple):
    """Something that `in_turns` measures."""

    name: str
    measure: Callable[[], float]  # one run
    goal: str = ""


def _spread(values: Sequence[float], unit: str = "") -> str:
    """The middle run, which one that something else disturbed does not move, between the lowest and the highest."""
    median, low, high = (_number(value) for value in (statistics.median(values), min(values), max(values)))
    return " ".join(filter(None, (median, unit, f"[{low} - {high}]")))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def each_run() -> Iterator[int]:
    """Count the runs, and tell who waits for them."""
    for number in range(RUNS):
        print(f"run {number + 1} of {RUNS} ...", file=sys.stderr, flush=True)
        yield number


def in_turns(unit: str, ours: Part, *others: Part) -> Figure:
    """Measure ours and what stands beside it once a run, so that what else the machine does falls on all alike."""
    runs = [[part.measure() for part in (ours, *others)] for _ in each_run()]
    figures = [
        Figure(part.name, [found[place] for found in runs], unit, goal=part.goal)
        for place, part in enumerate((ours, *others))
    ]
    return replace(figures[0], beside=figures[1:])


def table(figures: Sequence[Figure]) -> str:
    """In Markdown: one line a figure and one for each beside it, with the ratio of the two."""
    lines: list[tuple[str, ...]] = [("measure", "median [min - max]", "ours / that", "goal")]
    for figure in figures:
        lines.append((figure.name, str(figure), "", figure.goal))
        lines += [
            (f"beside: {other.name}", str(other), _spread(figure.ratios(other)), other.goal) for other in figure.beside
        ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    )


def allow_many_connections() -> None:
    """Raise this process's limit of open files, which the servers it starts inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def busy_percent(seconds: float = 1.0) -> float:
    """How busy all cores together are while this process does nothing: what else runs disturbs every figure."""

    def busy_ticks() -> tuple[int, int]:
        ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

    busy_before, all_before = busy_ticks()
    time.sleep(seconds)
    busy_after, all_after = busy_ticks()
    return 100 * (busy_after - busy_before) / max(1, all_after - all_before)


def free_ports(count: int) -> range:
    """So many neighbouring ports that nobody listens on; at random, so that others who look get others."""
    for _ in range(100):
        first = random.randrange(20_000, 32_000)  # below those that clients' ends get
        with contextlib.ExitStack() as sockets, contextlib.suppress(OSError):
            ports = range(first, first + count)
            for port in ports:
                sockets.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return ports
    raise RuntimeError(f"no {count} neighbouring ports between 20000 and 32000 seem to be free")


def run(measure: Coroutine[Any, Any, T], seconds_max: float = MEASURE_SECONDS_MAX) -> T:
    """Run a measure in a loop of its own; one that hangs becomes a TimeoutError."""
    return uvloop.run(asyncio.wait_for(measure, seconds_max))


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that is gone afterwards; `BENCH_TMP` says on which disk, and a disk in memory would flatter us."""
    with tempfile.TemporaryDirectory(prefix="convexpy-bench-", dir=os.environ.get("BENCH_TMP")) as folder:
        yield Path(folder)


@contextlib.contextmanager
def server_process(command: Sequence[str], ready: str) -> Iterator[int]:
    """A server that runs until the end of the block, entered when a line of its output contains `ready`; its pid."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        for line in process.stdout:
            if ready in line:
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} was not ready after {START_SECONDS_MAX} s")
        else:
            raise RuntimeError(f"{command[0]} ended before it was ready")
        # Read on to the end: a full pipe would stop the server at its next line.
        reader = threading.Thread(target=process.stdout.read, daemon=True)
        reader.start()
        try:
            yield process.pid
        finally:
            process.terminate()
            reader.join(STOP_SECONDS_MAX)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@dataclass(frozen=True)
class Server:
    """A running `convexpy serve`: where it listens, and its process."""

    url: str
    pid: int


@contextlib.contextmanager
def convexpy_server(data: Path, *options: str) -> Iterator[str]:
    """`convexpy serve` on the benchmark app, durable as it is by default; gives its address."""
    with convexpy_processes(data, *options) as server:
        yield server.url


@contextlib.contextmanager
def convexpy_processes(data: Path, *options: str) -> Iterator[Server]:
    """The same, for those who measure the processes themselves."""
    with started("serve", APP, data, *options) as server:
        yield server


@contextlib.contextmanager
def started(command: str, project: Path, data: Path, *options: str) -> Iterator[Server]:
    """`convexpy dev` or `convexpy serve` on a project's folder."""
    port, site_port = free_ports(2)
    line = [str(Path(sys.executable).with_name("convexpy")), command, str(project), *options]
    with server_process(
        [*line, "--port", str(port), "--site-port", str(site_port), "--data", str(data)], "convexpy is serving"
    ) as pid:
        yield Server(f"http://127.0.0.1:{port}", pid)
