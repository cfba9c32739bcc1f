"""The two ports of a deployment, served by uvicorn in the loop that runs everything else."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from convexpy.errors import ConvexpyError
from convexpy.server import UVICORN_SETTINGS

BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """Take a port.

    Raises:
        ConvexpyError: it is taken, or not ours to take.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise ConvexpyError(
            f"Port {port} on {host} cannot be used: {error.strerror}. Stop what uses it, or choose another with --port "
            f"and --site-port."
        ) from error
    return sock


class PortServer(uvicorn.Server):
    """One port. Signals are the caller's business, since two of these share a process."""

    def __init__(self, app: Any, sock: socket.socket) -> None:
        self._socket = sock
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                log_level="warning",
                access_log=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=2,
                **UVICORN_SETTINGS,
            )
        )

    async def serve_port(self) -> None:
        """Serve until `should_exit`."""
        await self.serve([self._socket])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield
