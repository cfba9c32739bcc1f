"""A server whose bound to pending scheduled functions is ten, before and after `kill -9`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from convexpy.storage.lmdb_store import LmdbStore
from convexpy.transactions.checkup import Checkup
from tests.clients.server import Server
from tests.faults.convex_client import http

APP = """
from convexpy import MutationCtx, internal_mutation, mutation


@internal_mutation
def ring(ctx: MutationCtx) -> None:
    ctx.db.insert("rings", {})


@mutation
def remind(ctx: MutationCtx, count: float) -> list[str]:
    return [ctx.scheduler.run_after(3600, ring) for _ in range(int(count))]


@mutation
def cancel(ctx: MutationCtx, id: str) -> None:
    ctx.scheduler.cancel(id)
"""


def test_the_bound_holds_over_kills(tmp_path: Path) -> None:
    app = tmp_path / "reminding"
    app.mkdir()
    (app / "alarms.py").write_text(APP)
    server = Server(app, tmp_path / "data", options=("--limit", "functions_pending=10"))

    async def remind(count: int) -> dict[str, Any]:
        async with http(server.port) as connection:
            return await connection.call("mutation", "alarms:remind", {"count": count})

    async def cancel(job: str) -> None:
        async with http(server.port) as connection:
            await connection.value("mutation", "alarms:cancel", {"id": job})

    server.start()
    jobs = asyncio.run(remind(9))["value"]
    refused = asyncio.run(remind(2))
    assert refused["status"] == "error"
    assert "Too many scheduled functions pending (limit: 10): 9 are, and this mutation" in refused["errorMessage"]
    server.kill()

    server.start()
    assert asyncio.run(remind(2))["status"] == "error"
    assert asyncio.run(remind(1))["status"] == "success"
    asyncio.run(cancel(jobs[0]))
    server.kill()

    server.start()
    assert asyncio.run(remind(2))["status"] == "error"
    assert asyncio.run(remind(1))["status"] == "success"
    server.stop()

    store = LmdbStore(tmp_path / "data", readonly=True)
    assert [problem.text for problem in Checkup(store).problems()] == []
    store.close()
