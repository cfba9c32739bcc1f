"""A real server in this process: uvicorn on a free port of the loopback, in front of a `FakeBackend`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import uvicorn
from starlette.types import ASGIApp

from convexpy.server import UVICORN_SETTINGS


@contextlib.asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Serve `app`; gives its `host:port`."""
    started = asyncio.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
            await super().startup()
            started.set()

    server = Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off", **UVICORN_SETTINGS))
    with server.capture_signals():
        task = asyncio.create_task(server._serve())
        await started.wait()
        try:
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"127.0.0.1:{port}"
        finally:
            server.should_exit = True
            await task
