"""What a server runs out of: room in its database, on its disk, descriptors. It refuses with a sentence, serves what it
still can, loses nothing that it acknowledged, and is whole again when there is room."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shutil
from pathlib import Path
from typing import Any

from convexpy.storage.lmdb_store import LmdbStore
from convexpy.transactions.checkup import Checkup
from tests.clients.server import Server
from tests.faults.conftest import APP
from tests.faults.convex_client import http, sync_client
from tests.faults.processes import processes_of
from tests.patience import PATIENCE_SECONDS

ROUND = "full"


def call(server: Server, kind: str, path: str, **args: Any) -> dict[str, Any]:
    async def call() -> dict[str, Any]:
        async with http(server.port) as connection:
            return await connection.call(kind, path, {"round": ROUND, **args})

    return asyncio.run(call())


def fill_up(server: Server, chars: int) -> tuple[int, str]:
    """Insert until it is refused: how many were acknowledged, and the refusal."""
    for number in range(10_000):
        outcome = call(server, "mutation", "rows:fill", name=str(number), chars=chars)
        if outcome["status"] == "error":
            return number, outcome["errorMessage"]
    raise AssertionError("it never became full")


def examine(server: Server) -> None:
    """Stop the server and hold every index against its documents."""
    server.stop()
    store = LmdbStore(server.data, readonly=True)
    assert [problem.text for problem in Checkup(store).problems()] == []
    store.close()


def test_a_full_map_is_emptied_by_deletes_and_filled_again(tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(APP, app, ignore=shutil.ignore_patterns("__pycache__"))
    (app / "pyproject.toml").write_text("[tool.convexpy]\nmap-bytes = 8388608\n")
    server = Server(app, tmp_path / "data")
    server.start()
    kept, refusal = fill_up(server, 100_000)
    assert kept > 5
    assert "The database file has reached its maximum size. Nothing of this mutation was stored." in refusal

    assert call(server, "query", "rows:count")["value"] == kept
    server.restart()
    assert call(server, "query", "rows:count")["value"] == kept
    for _ in range(kept):
        assert call(server, "mutation", "rows:remove_one")["value"] is True
    assert call(server, "query", "rows:count")["value"] == 0
    assert call(server, "mutation", "rows:fill", name="again", chars=100_000)["status"] == "success"

    examine(server)


def test_a_disk_that_takes_no_more_refuses_writes_and_serves_reads(tmp_path: Path) -> None:
    """The kernel lets the committer's files grow no further, as a full disk does; then there is room again."""
    server = Server(APP, tmp_path / "data")
    server.start()
    (committer,) = processes_of(server.pid)["cvx-committer"]
    assert call(server, "mutation", "rows:fill", name="first", chars=10)["status"] == "success"
    size = (server.data / "data.mdb").stat().st_size
    resource.prlimit(committer, resource.RLIMIT_FSIZE, (size + 300_000, resource.RLIM_INFINITY))

    kept, refusal = fill_up(server, 50_000)
    assert "The disk is full. Nothing of this mutation was stored." in refusal
    assert call(server, "query", "rows:count")["value"] == kept + 1
    assert processes_of(server.pid)["cvx-committer"] == [committer]

    resource.prlimit(committer, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert call(server, "mutation", "rows:fill", name="last", chars=50_000)["status"] == "success"
    server.restart()
    assert call(server, "query", "rows:count")["value"] == kept + 2
    examine(server)


async def names_once_served(server: Server) -> Any:
    """The server closes connections that it has no descriptor for until it has noticed that others have gone."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(OSError, EOFError):
                async with http(server.port) as connection:
                    return await connection.value("query", "rows:names", {"round": ROUND})


def test_without_descriptors_connections_wait_or_are_refused_and_those_that_are_there_go_on(tmp_path: Path) -> None:
    server = Server(APP, tmp_path / "data")
    server.start()

    async def scenario() -> None:
        async with sync_client(server.port) as client:
            await client.subscribe(0, "rows:names", {"round": ROUND})
            await client.value(0, lambda names: names == [])
            used = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
            _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used + 5, hard))
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(40):
                    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                    stack.callback(writer.close)
                await client.mutate(0, "rows:add", {"round": ROUND, "name": "meanwhile"})
                assert (await client.response(0))["success"]
                await client.value(0, lambda names: names == ["meanwhile"])
            assert await names_once_served(server) == ["meanwhile"]

    asyncio.run(scenario())
    assert server.is_running
    server.stop()
