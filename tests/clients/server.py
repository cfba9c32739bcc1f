"""A real server for a test: started by the command that people use, killed and started again at will."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests import transcripts
from tests.patience import PATIENCE_SECONDS

from .lines import Lines

READY = re.compile(r"convexpy is serving (http://\S+) \(site (http://\S+)\)")

# Below the range the kernel gives to outgoing connections: between a kill and the next start nobody may take the port.
PORTS = range(20_000, 32_000, 2)
_ports = itertools.count(os.getpid() * 14 % len(PORTS))
_reserved: list[socket.socket] = []


def free_port_pair() -> int:
    """A port for the API whose successor is free too, for the site. No other test process of this machine gets it while
    this one lives: a server binds it a second later, and again after each restart, so that it is free now says little.

    The reservation is a name that the kernel gives to one socket at a time and takes back with the process.
    """
    for _ in PORTS:
        port = PORTS[next(_ports) % len(PORTS)]
        reservation = socket.socket(socket.AF_UNIX)
        with socket.socket() as api, socket.socket() as site, contextlib.suppress(OSError):
            reservation.bind(f"\0convexpy tests: port {port}")
            api.bind(("127.0.0.1", port))
            site.bind(("127.0.0.1", port + 1))
            _reserved.append(reservation)
            return port
        reservation.close()
    raise AssertionError(f"no free pair of ports between {PORTS.start} and {PORTS.stop}")


class Server:
    """`convexpy dev` (or `serve`) on one folder, one data folder and one pair of ports, over any number of lives."""

    def __init__(
        self, app: Path, data: Path, mode: str = "dev", options: tuple[str, ...] = (), *, is_watching: bool = False
    ) -> None:
        port = free_port_pair()
        self.port = port
        self.data = data
        self.url = f"http://127.0.0.1:{port}"
        self.site_url = f"http://127.0.0.1:{port + 1}"
        self._command = [
            str(Path(sys.executable).with_name("convexpy")),
            mode,
            str(app),
            *("--port", str(port), "--site-port", str(port + 1), "--data", str(data)),
            *(("--no-watch",) if mode == "dev" and not is_watching else ()),
            *options,
        ]
        self._process: subprocess.Popen[str] | None = None
        self._pipes: list[Lines] = []

    @property
    def pid(self) -> int:
        """Of the server process; its children are in the session that it leads."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> Lines:
        """What it prints, from after the line that says it serves."""
        return self._pipes[0]

    @property
    def complaints(self) -> Lines:
        """What it prints to stderr."""
        return self._pipes[1]

    def wait_for_exit(self) -> int:
        """Wait until it ends by itself; its exit status. `kill` or `stop` is still due."""
        assert self._process is not None
        return self._process.wait(PATIENCE_SECONDS)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it says that it serves."""
        assert self._process is None
        process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        output, complaints = self._pipes = [Lines(process.stdout), Lines(process.stderr)]
        transcripts.keep(f"convexpy on {self.url}", process, stdout=output, stderr=complaints)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (line := output.next(max(0.0, deadline - time.monotonic()))) is not None:
            if found := READY.search(line):
                assert found.groups() == (self.url, self.site_url), line
                return
        said = output.so_far() + complaints.so_far()
        self.kill()
        raise AssertionError(f"the server did not come up; it said:\n{said}")

    def kill(self) -> None:
        """kill -9, of the server process alone: that its children follow it is its own business."""
        assert self._process is not None
        self._process.kill()
        self._let_go()

    def stop(self) -> None:
        """SIGTERM, as a service manager does it; nothing happens if it is not running."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_SECONDS)
        finally:
            self._let_go()

    def restart(self) -> None:
        """kill -9 and start again on the same data and ports."""
        self.kill()
        self.start()

    def _let_go(self) -> None:
        assert self._process is not None
        self._process.wait()
        with contextlib.suppress(ProcessLookupError):  # what is left of its session keeps our pipes open
            os.killpg(self._process.pid, signal.SIGKILL)
        for pipe in self._pipes:
            pipe.close()
        self._process, self._pipes = None, []
