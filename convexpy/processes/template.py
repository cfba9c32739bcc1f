"""The template process: imports the app once, then forks a worker in some milliseconds whenever the server asks.

It lives as long as its generation: workers of running code never import a folder that may be broken by then. It runs no
calls and opens no database, so nothing is in it that a fork could not carry over.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from convexpy.errors import DefinitionError
from convexpy.processes.child import close_descriptors, enter_child, leave
from convexpy.processes.frames import READ_BYTES, FrameParser, pack_frame
from convexpy.processes.host import WorkerHost, load_host
from convexpy.processes.messages import Exited, Fork, Forked, Kill, Load, Loaded, LoadFailed, Output
from convexpy.processes.worker_entry import fork_worker, spawn_worker

DESCRIPTORS_PER_FORK = 2
_DESCRIPTORS_PER_READ = 64
_commands = msgspec.msgpack.Decoder(Load | Fork | Kill)


def main(settings: dict[str, Any]) -> None:
    """Entry of the process; `socket` is the descriptor of the server's end."""
    enter_child("cvx-template", settings["parent_pid"])
    Template(socket.socket(fileno=settings["socket"])).serve()
    leave(0)


class _Child:
    """A worker that this process has started and not yet buried."""

    def __init__(self, worker_id: int, pid: int, spawned: subprocess.Popen[bytes] | None) -> None:
        self.worker_id, self.pid, self._spawned = worker_id, pid, spawned

    def wait(self) -> int:
        if self._spawned is not None:
            return self._spawned.wait()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Template:
    """Serves one server over `sock`, until that closes it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._parser = FrameParser()
        self._descriptors: deque[int] = deque()
        self._children: dict[int, _Child] = {}  # by pidfd
        self._load: Load
        self._host: WorkerHost
        self._is_spawning = False
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def serve(self) -> None:
        """Obey until the server's end is closed, in whatever way."""
        with contextlib.suppress(ConnectionError):  # a killed server leaves reports unread, and reads no others
            while True:
                for descriptor, _ in self._poll.poll():
                    if descriptor == self._socket.fileno():
                        if not self._receive():
                            return
                    elif descriptor in self._children:
                        self._bury(descriptor)

    def _receive(self) -> bool:
        # The descriptors of a command arrive with its first byte, so their order is that of the commands.
        data, descriptors, _, _ = socket.recv_fds(self._socket, READ_BYTES, _DESCRIPTORS_PER_READ)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
            self._descriptors.append(descriptor)
        for frame in self._parser.feed(data):
            match _commands.decode(frame):
                case Load() as load:
                    self._import(load)
                case Fork() as order:
                    self._fork(order)
                case Kill(worker_id):
                    self._kill(worker_id)
        return bool(data)

    def _send(self, message: Any) -> None:
        with self._sending:  # the app's import may print from threads
            self._socket.sendall(pack_frame(message))

    def _import(self, load: Load) -> None:
        self._load = load
        began = time.monotonic()
        out, err = _Lines("LOG", self._send), _Lines("ERROR", self._send)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                self._host = load_host(load)
                description = self._host.describe()
        except BaseException as error:  # SystemExit and the like too: the app's import must not end us unheard
            self._send(_describe_failure(error, load.project_folder))
            return
        finally:
            out.finish()
            err.finish()
        threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        if threads:
            self._is_spawning = True
            warning = (
                f"Importing the app started threads ({', '.join(threads)}), so workers cannot be forked "
                f"and take longer to start. Start threads inside actions instead."
            )
            self._send(Output("WARN", warning))
        gc.collect()
        gc.freeze()  # the collector must not touch, and so copy, the pages that workers share
        self._send(Loaded(description, time.monotonic() - began, self._is_spawning))

    def _fork(self, order: Fork) -> None:
        sock, page = (self._descriptors.popleft() for _ in range(DESCRIPTORS_PER_FORK))
        began = time.monotonic()
        spawned = None
        try:
            if self._is_spawning:
                spawned = spawn_worker(order, self._load, sock, page)
                pid = spawned.pid
            else:
                for stream in (sys.stdout, sys.stderr):
                    stream.flush()
                private = [self._socket.fileno(), *self._children, *self._descriptors]
                pid = fork_worker(order, self._load, self._host, sock, page, private)
        except OSError as error:
            self._send(Exited(order.worker_id, None, f"cannot start a worker: {error}"))
            return
        finally:
            close_descriptors((sock, page))
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = _Child(order.worker_id, pid, spawned)
        self._poll.register(pidfd, select.POLLIN)
        self._send(Forked(order.worker_id, pid, time.monotonic() - began))

    def _kill(self, worker_id: int) -> None:
        for pidfd, child in self._children.items():
            if child.worker_id == worker_id:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def _bury(self, pidfd: int) -> None:
        self._poll.unregister(pidfd)
        os.close(pidfd)
        child = self._children.pop(pidfd)
        self._send(Exited(child.worker_id, child.wait()))


class _Lines(io.TextIOBase):
    """Stands in for stdout or stderr while the app is imported: each whole line goes to the server at once.

    Handlers of `logging` that the app makes meanwhile keep this object for ever, so afterwards it passes everything on
    to the stream of the moment.
    """

    def __init__(self, level: Literal["LOG", "ERROR"], send: Callable[[Any], None]) -> None:
        self._level: Literal["LOG", "ERROR"] = level
        self._send: Callable[[Any], None] | None = send
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self._send is None:
            return (sys.stdout if self._level == "LOG" else sys.stderr).write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._send(Output(self._level, line))
        return len(text)

    def finish(self) -> None:
        """The import is over: send the last line, if it did not end, and pass on what comes."""
        if self._rest:
            self.write("\n")
        self._send = None


def _describe_failure(error: BaseException, project_folder: str) -> LoadFailed:
    """Say what went wrong, and where in the user's own files."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, DefinitionError):
        return LoadFailed(error.text, error.file, error.line, trace)
    if isinstance(error, SyntaxError):
        return LoadFailed(f"{type(error).__name__}: {error.msg}", error.filename, error.lineno, trace)
    file, line = None, None
    folder = Path(project_folder).resolve()
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).resolve().is_relative_to(folder):
            file, line = frame.filename, frame.lineno
    return LoadFailed(f"{type(error).__name__}: {error}", file, line, trace)
