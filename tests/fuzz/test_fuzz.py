"""The short form of the fuzzer, and that its judge can say no."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.clients.server import Server
from tests.faults.processes import processes_of, wait_until_gone
from tests.fuzz.run import APP, fuzz
from tests.fuzz.target import Fault, Target
from tests.patience import PATIENCE_SECONDS
from tests.seeds import asked_seed


def test_a_server_takes_whatever_clients_send() -> None:
    """The seed is printed; `python -m tests.fuzz --inputs 3000 --seed N` sends the same again."""
    report = fuzz(3_000, asked_seed("FUZZ_SEED"), print)

    assert report.frames > 1_000
    assert report.requests > 500


def test_the_judge_sees_a_worker_die(tmp_path: Path) -> None:
    server = Server(APP, tmp_path)
    server.start()
    try:
        target = Target(server)
        asyncio.run(target.check())
        (worker, *_) = processes_of(server.pid)["cvx-function"]
        os.kill(worker, signal.SIGKILL)
        wait_until_gone([worker])

        with pytest.raises(Fault, match="its processes were"):
            asyncio.run(target.check())
    finally:
        server.stop()


def test_the_judge_sees_a_request_that_nobody_expected(tmp_path: Path) -> None:
    """Stands in for the server: any connection is answered with status 500."""

    async def scenario() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        server = Server(APP, tmp_path)
        server.start()
        target = Target(server, http_seconds=PATIENCE_SECONDS)  # it answers, and then closes
        server.stop()
        async with await asyncio.start_server(answer, "127.0.0.1", server.port):
            with pytest.raises(Fault, match="status 500"):
                await target.take_request(b"GET / HTTP/1.1\r\n\r\n")

    asyncio.run(scenario())
