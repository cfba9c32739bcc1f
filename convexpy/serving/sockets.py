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
    except (OSError, TypeError) as error:  # TypeError: a name that no host can have
        sock.close()
        raise _unusable(host, port, error) from error
    return sock


def listen(sock: socket.socket) -> None:
    """Let clients connect to a port that was taken.

    Raises:
        ConvexpyError: another server that took it at the same time was faster.
    """
    try:
        sock.listen(BACKLOG)
    except OSError as error:  # SO_REUSEADDR lets several bind a port as long as none listens
        host, port = sock.getsockname()[:2]
        raise _unusable(host, port, error) from error


def _unusable(host: str, port: int, error: OSError | TypeError) -> ConvexpyError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ConvexpyError(
        f"Port {port} on {host} cannot be used: {reason}. Stop what uses it, or choose another with --port "
        f"and --site-port."
    )


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
