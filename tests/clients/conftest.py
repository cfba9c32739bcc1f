"""Fixtures of the client tests: servers, and drivers of every official client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .driver import Driver
from .server import Server

APP = Path(__file__).parent / "app"
READING_ROOM = Path(__file__).parents[2] / "examples" / "app"

Connect = Callable[..., Driver]
StartServer = Callable[..., Server]


@pytest.fixture(scope="module")
def dev_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A `convexpy dev` that the tests of one module share; each of them uses names of its own."""
    server = Server(APP, tmp_path_factory.mktemp("data"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Servers of one test, for those that kill them or want another mode or app."""
    servers: list[Server] = []

    def start(app: Path = APP, mode: str = "dev") -> Server:
        server = Server(app, tmp_path / f"data-{len(servers)}", mode)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Clients of one test, by kind and address."""
    drivers: list[Driver] = []

    def connect(kind: str, url: str) -> Driver:
        driver = Driver(kind, url)
        drivers.append(driver)
        return driver

    yield connect
    for driver in drivers:
        driver.close()
