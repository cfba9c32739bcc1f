"""A server that is told to stop ends in order, whoever still waits for an answer."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from tests.clients.server import Server
from tests.faults.conftest import APP
from tests.faults.convex_client import http, sync_client


def test_a_call_that_the_end_of_the_server_cuts_off_is_answered_so(tmp_path: Path) -> None:
    """And nobody who reads the server's output takes it for a crash."""
    server = Server(APP, tmp_path / "data")
    server.start()

    async def stop_while_an_action_runs() -> None:
        async with http(server.port) as connection, sync_client(server.port) as client:
            await client.hello()
            await client.subscribe(0, "counters:read", {"name": "held"})
            body = b'{"path": "runaway:count_and_wait", "args": {"name": "held"}, "format": "json"}'
            held = asyncio.create_task(connection.post("/api/action", body))
            await client.value(0, lambda value: value == 1)

            os.kill(server.pid, signal.SIGTERM)
            answer = await held

            assert answer.status == 503
            assert answer.json() == {
                "code": "ServerStopping",
                "message": "The server was stopped before this call was done.",
            }

    asyncio.run(stop_while_an_action_runs())

    assert server.wait_for_exit() == 0
    assert server.complaints.to_the_end() == (
        "ERROR:    Cancel 1 running task(s), timeout graceful shutdown exceeded\n"
    )
    server.stop()
