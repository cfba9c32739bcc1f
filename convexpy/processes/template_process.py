"""The server's handle of a template process: load the app, fork workers, hear of their end."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from convexpy.errors import DefinitionError, WorkerLost
from convexpy.limits import APP_LOAD_SECONDS_MAX, PROCESS_STOP_SECONDS_MAX
from convexpy.processes.frames import FrameConnection, pack_frame
from convexpy.processes.launch import ChildProcess, start_python
from convexpy.processes.messages import Exited, Fork, Forked, Kill, Load, Loaded, LoadFailed, Output, Role

_from_template = msgspec.msgpack.Decoder(Loaded | LoadFailed | Output | Forked | Exited)


class ForkListener(Protocol):
    """Who wants to know about one worker process."""

    def forked(self, pid: int, fork_seconds: float) -> None:
        """The process exists."""

    def exited(self, status: int | None, text: str) -> None:
        """It is gone, or could not be started; called once. `status` is None where no exit status is known."""


class TemplateProcess:
    """One template and, through it, the workers of one generation.

    Args:
        on_output: lines that the app printed while it was imported, and warnings.
        on_lost: called once if the process ends without `close()`; its workers have ended with it.
    """

    def __init__(
        self, on_output: Callable[[Output], None], on_lost: Callable[[TemplateProcess], None] | None = None
    ) -> None:
        self._on_output = on_output
        self._on_lost = on_lost
        self._listeners: dict[int, ForkListener] = {}
        self._worker_ids = itertools.count(1)
        self._loaded: asyncio.Future[Loaded | LoadFailed] = asyncio.get_running_loop().create_future()
        self._is_closing = False
        self._users = 0
        self._connection: FrameConnection
        self._commands: socket.socket
        self.process: ChildProcess
        self.load_message: Load | None = None

    async def start(self) -> None:
        """Start the process; call it on the main thread."""
        ours, theirs = socket.socketpair()
        with theirs:
            popen = start_python("convexpy.processes.template", {"socket": theirs.fileno()}, (theirs.fileno(),))
        self.process = ChildProcess(popen, lambda _: None)
        # Descriptors travel with the commands, which transports cannot do: commands have a handle of their own.
        self._commands = ours.dup()
        self._commands.setblocking(False)
        self._connection = await FrameConnection.open(ours, self._take, self._closed)

    @property
    def is_alive(self) -> bool:
        return self._connection.is_open and not self._is_closing

    @property
    def has_loaded(self) -> bool:
        """Whether the app was imported, so that there may be workers of it."""
        return self._loaded.done() and self._loaded.exception() is None and isinstance(self._loaded.result(), Loaded)

    @property
    def pid(self) -> int:
        return self.process.pid

    async def load(self, load: Load) -> Loaded:
        """Import the app; once a template.

        Raises:
            DefinitionError: the app cannot be imported; file, line and text, the traceback as a note.
            WorkerLost: the process died over it, or it took longer than APP_LOAD_SECONDS_MAX.
        """
        self.load_message = load
        self._command(load)
        try:
            async with asyncio.timeout(APP_LOAD_SECONDS_MAX):
                answer = await asyncio.shield(self._loaded)
        except TimeoutError:
            self.process.kill()
            raise WorkerLost(f"Importing the app took longer than {APP_LOAD_SECONDS_MAX:g} s.") from None
        if isinstance(answer, LoadFailed):
            error = DefinitionError(answer.text, answer.file, answer.line)
            error.add_note(answer.traceback)
            raise error
        return answer

    def fork(self, role: Role, descriptors: Sequence[int], listener: ForkListener) -> int:
        """Ask for a worker; returns the number it goes by here. The descriptors may be closed afterwards."""
        worker_id = next(self._worker_ids)
        self._listeners[worker_id] = listener
        if not self.is_alive or not self._command(Fork(worker_id, role), descriptors):
            asyncio.get_running_loop().call_soon(self._exited, worker_id, None, "its template is gone")
        return worker_id

    def kill(self, worker_id: int) -> None:
        """SIGKILL a worker, if it still runs; `exited` follows."""
        if worker_id in self._listeners and self._connection.is_open:
            self._command(Kill(worker_id))

    def retain(self) -> None:
        """One more pool needs this template."""
        self._users += 1

    def release(self) -> None:
        """A pool has closed its workers; after the last one the template ends by itself."""
        self._users -= 1
        if self._users == 0:
            self._begin_close()

    async def close(self) -> None:
        """End it and wait until it is gone; workers that still run are killed by the kernel."""
        self._begin_close()
        await self.process.wait(PROCESS_STOP_SECONDS_MAX)

    def _begin_close(self) -> None:
        self._is_closing = True
        self._connection.close()

    def _command(self, message: Load | Fork | Kill, descriptors: Sequence[int] = ()) -> bool:
        frame = pack_frame(message)
        try:
            if socket.send_fds(self._commands, [frame], descriptors) == len(frame):
                return True
        except OSError:
            if not self._connection.is_open:
                return False
        # Hundreds of commands wait unread: the process hangs, which only foreign threads in it can cause.
        self.process.kill()
        return False

    def _take(self, frame: bytes) -> None:
        match _from_template.decode(frame):
            case Loaded() | LoadFailed() as answer:
                if not self._loaded.done():
                    self._loaded.set_result(answer)
            case Output() as output:
                self._on_output(output)
            case Forked(worker_id, pid, fork_seconds):
                if worker_id in self._listeners:
                    self._listeners[worker_id].forked(pid, fork_seconds)
            case Exited(worker_id, status, text):
                self._exited(worker_id, status, text)

    def _exited(self, worker_id: int, status: int | None, text: str) -> None:
        listener = self._listeners.pop(worker_id, None)
        if listener is not None:
            listener.exited(status, text)

    def _closed(self) -> None:
        self._commands.close()
        self.process.kill()  # without its socket it is of no use
        if not self._loaded.done():
            self._loaded.set_exception(WorkerLost("The process that imports the app died while it did so."))
            self._loaded.exception()  # marked as seen: where nobody is loading, nobody needs to be told
        for worker_id in list(self._listeners):
            self._exited(worker_id, None, "its template is gone")
        if not self._is_closing and self._on_lost is not None:
            self._on_lost(self)
