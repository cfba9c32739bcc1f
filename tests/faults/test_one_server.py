"""A second server where one runs already is told so, in a sentence, and harms nobody."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.server import Server, free_port_pair
from tests.faults.conftest import APP
from tests.faults.convex_client import http
from tests.patience import PATIENCE_SECONDS


def start_second(mode: str, data: Path, port: int) -> subprocess.CompletedProcess[str]:
    """A start that is refused; returns when the process has ended."""
    command = [str(Path(sys.executable).with_name("convexpy")), mode, str(APP), "--data", str(data)]
    ports = ["--port", str(port), "--site-port", str(port + 1)]
    return subprocess.run([*command, *ports], capture_output=True, text=True, timeout=PATIENCE_SECONDS)


def read(server: Server) -> float:
    async def call() -> float:
        async with http(server.port) as connection:
            value: float = await connection.value("mutation", "counters:add", {"name": "still here", "by": 0})
            return value

    return asyncio.run(call())


@pytest.mark.parametrize("mode", ["dev", "serve"])
def test_a_second_server_on_the_same_data_is_refused(server: Server, mode: str) -> None:
    """The lock is the kernel's, so it cannot be left behind; it names its holder."""
    second = start_second(mode, server.data, free_port_pair())

    assert second.returncode == 1
    assert second.stderr == (
        f"convexpy: The data folder {server.data} is in use by another convexpy server (process {server.pid}). "
        f"Stop that server, or give this one a folder of its own with --data DIR.\n"
    )
    assert read(server) == 0


def test_a_second_server_on_the_same_port_is_refused(server: Server, tmp_path: Path) -> None:
    """Before it has touched its data folder."""
    second = start_second("dev", tmp_path / "other", server.port)

    assert second.returncode == 1
    assert second.stderr == (
        f"convexpy: Port {server.port} on 127.0.0.1 cannot be used: Address already in use. Stop what uses it, or "
        f"choose another with --port and --site-port.\n"
    )
    assert not (tmp_path / "other").exists()
    assert read(server) == 0


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    """A sentence for that too, not a traceback."""
    (tmp_path / "file").write_text("")

    refused = start_second("dev", tmp_path / "file", free_port_pair())

    assert refused.returncode == 1
    assert refused.stderr == f"convexpy: The data folder {tmp_path / 'file'} cannot be created: File exists.\n"
