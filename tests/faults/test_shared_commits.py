"""Workflow steps on a real server: those that need no commit between them share one, by its worker's own clock."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from convexpy.storage.lmdb_store import LmdbStore
from tests.clients.server import Server
from tests.faults.conftest import APP
from tests.faults.convex_client import http, sync_client

RUNS = 10


def commits_of_runs(data: Path, *options: str) -> list[int]:
    """Let a workflow of three short steps run, again and again; the commits of each run's scheduled functions."""
    server = Server(APP, data, options=options)
    server.start()

    async def run() -> str:
        async with http(server.port) as connection, sync_client(server.port) as client:
            args = {"path": "counters:read_aloud", "name": "three"}
            started = await connection.value("mutation", "runaway:begin_to_stumble", args)
            await client.subscribe(0, "runaway:how_it_stumbled", {"run": started})
            return str(await client.value(0, lambda error: error is not None))

    try:
        for _ in range(RUNS):
            assert "ArgumentValidationError" in asyncio.run(run())  # the query in the midst wants a name
    finally:
        server.stop()
    store = LmdbStore(data, readonly=True)
    with store.snapshot() as snapshot:
        names = [msgspec.msgpack.decode(entry)[0] for _, entry in snapshot.log_entries(0, 2**63 - 1)]
    store.close()
    begun = [place for place, name in enumerate(names) if name == "runaway:begin_to_stumble"]
    return [end - start - 1 for start, end in zip(begun, [*begun[1:], len(names)], strict=True)]


def test_short_steps_in_turn_are_one_commit(tmp_path: Path) -> None:
    """Where they are short: a worker that has taken its time for one, as it may for its first, leaves the next to
    another commit."""
    assert min(commits_of_runs(tmp_path)) == 1


def test_a_deployment_may_want_a_commit_for_each(tmp_path: Path) -> None:
    assert commits_of_runs(tmp_path, "--limit", "functions_together=1") == [3] * RUNS
