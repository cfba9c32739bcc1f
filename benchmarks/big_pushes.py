"""What does a client notice of a push that goes through 200,000 documents, and how long is that?

One client writes to the same table all the while, each time waiting until its last write is in a transition. Beside
its latencies during a push are those of the same client without one, in the same run on the same server.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from benchmarks.common import Figure, each_run, percentile, run, scratch_folder, started
from benchmarks.sync_client import SyncClient, connect

DOCUMENTS = 200_000
DOCUMENTS_PER_MUTATION = 2_000
QUIET_SECONDS = 5.0

SCHEMA = """
from convexpy import define_schema, define_table, v

schema = define_schema({{"notes": define_table({{"author": {author}, "body": v.string()}}){indexes}}})
"""
NOTES = """
from convexpy import mutation, query

@mutation
def add(ctx, count: int, first: int) -> None:
    for number in range(first, first + count):
        ctx.db.insert("notes", {{"author": f"author {{number % 1000}}", "body": "x" * 100}})

@query
def version(ctx) -> str:
    return "{version}"
"""
NARROW, WIDE = "v.string()", "v.union(v.string(), v.null())"

Latencies = dict[str, list[float]]  # milliseconds, by what went on meanwhile


def measure() -> list[Figure]:
    """Latencies without a push, during an index's build and during a check; then how long both took."""
    with scratch_folder() as folder:
        runs = [run(_one_run(folder / f"run{number}")) for number in each_run()]
    figures = []
    for share, name in ((0.5, "p50"), (0.99, "p99"), (1.0, "longest")):
        quiet = Figure("without a push", [percentile(each["quiet"], share) for each, _ in runs], "ms")
        figures += [
            Figure(f"a write while {what}, {name}", [percentile(each[kind], share) for each, _ in runs], "ms", (quiet,))
            for kind, what in (("build", "an index is built"), ("check", "documents are checked"))
        ]
    return [
        *figures,
        Figure(f"push with an index over {DOCUMENTS:,} documents", [seconds["build"] for _, seconds in runs], "s"),
        Figure(f"push with a check of {DOCUMENTS:,} documents", [seconds["check"] for _, seconds in runs], "s"),
    ]


async def _one_run(folder: Path) -> tuple[Latencies, dict[str, float]]:
    """Fill a table, then write without a push, while one adds an index, and while one narrows the schema."""
    project = folder / "notes_app"
    project.mkdir(parents=True)
    _write(project, "first", WIDE, "")
    with started("dev", project, folder / "data") as server:
        filler, writer, watcher = await connect(server.url, 3)
        for first in range(0, DOCUMENTS, DOCUMENTS_PER_MUTATION):
            await filler.mutation("notes:add", {"count": DOCUMENTS_PER_MUTATION, "first": first})
        quiet = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(QUIET_SECONDS, quiet.set_result, None)
        latencies = {"quiet": await _write_until(writer, quiet)}
        seconds: dict[str, float] = {}
        for kind, author, indexes in (
            ("build", WIDE, '.index("by_author", ["author"])'),
            ("check", NARROW, '.index("by_author", ["author"])'),
        ):
            began = time.perf_counter()
            live = asyncio.ensure_future(watcher.first("notes:version", {}, lambda value, kind=kind: value == kind))  # type: ignore[misc]
            _write(project, kind, author, indexes)
            latencies[kind] = await _write_until(writer, live)
            seconds[kind] = time.perf_counter() - began
        return latencies, seconds


async def _write_until(client: SyncClient, end: asyncio.Future[object]) -> list[float]:
    latencies = []
    while not end.done():
        began = time.perf_counter()
        await client.mutation("notes:add", {"count": 1, "first": 0})
        latencies.append((time.perf_counter() - began) * 1000)
    end.result()
    return latencies


def _write(project: Path, version: str, author: str, indexes: str) -> None:
    for name, text in (
        ("schema.py", SCHEMA.format(author=author, indexes=indexes)),
        ("notes.py", NOTES.format(version=version)),
    ):
        draft = project / f"{name}.draft"
        draft.write_text(text)
        draft.replace(project / name)
