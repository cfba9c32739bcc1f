"""`convexpy doctor` on the data of a server that was killed while it was written to."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from convexpy.storage.lmdb_store import LmdbStore
from tests.clients.server import Server
from tests.faults.conftest import APP
from tests.faults.convex_client import http
from tests.patience import PATIENCE_SECONDS


def doctor(data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("convexpy")), "doctor", "--data", str(data), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)


def report(data: Path, *options: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(doctor(data, "--json", *options).stdout)
    return result


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What a killed server has left behind."""
    server = Server(APP, tmp_path / "data")
    server.start()

    async def write() -> None:
        async with http(server.port) as connection:
            for number in range(50):
                await connection.value("mutation", "rows:add", {"round": "x" * 2000, "name": str(number)})

    asyncio.run(write())
    refused = doctor(server.data)
    assert refused.returncode == 1
    assert "stopped server" in refused.stderr and "Traceback" not in refused.stderr
    server.kill()
    return server.data


def test_a_killed_servers_database_is_healthy_and_its_sizes_are_shown(data: Path) -> None:
    result = doctor(data)

    assert result.returncode == 0, result.stdout + result.stderr
    assert "Healthy." in result.stdout
    tables = {table["name"]: table["rows"] for table in report(data)["tables"]}
    assert (tables["rows"], tables["rows.by_round"]) == (50, 50)


def test_compacting_gives_space_back_and_loses_nothing(data: Path) -> None:
    store = LmdbStore(data, readonly=False)
    with store.environment.begin(write=True) as transaction:
        for number in range(200):
            transaction.put(b"filler %d" % number, b"x" * 50_000, db=store.meta)
    with store.environment.begin(write=True) as transaction:
        for number in range(200):
            transaction.delete(b"filler %d" % number, db=store.meta)
    store.close()
    before = report(data)

    after = report(data, "--compact")

    assert after["file_bytes_compacted"] < before["file_bytes"] - 5_000_000
    assert report(data)["tables"] == before["tables"]
    server = Server(APP, data)
    server.start()
    server.stop()


def test_problems_make_the_exit_status_1_and_nothing_is_compacted(data: Path) -> None:
    store = LmdbStore(data, readonly=False)
    with store.environment.begin(write=True) as transaction:
        (key, *_) = (key for key, _ in transaction.cursor(db=store.indexes) if key[:4] >= b"\x80\x00\x04\x00")
        transaction.delete(key, db=store.indexes)
    store.close()

    result = doctor(data, "--compact")

    assert result.returncode == 1
    assert "PROBLEM: Document" in result.stdout and "1 problems." in result.stdout
    assert "compacted" not in result.stdout


def test_a_folder_without_a_database_is_a_sentence(tmp_path: Path) -> None:
    result = doctor(tmp_path)

    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "holds no database" in result.stderr
