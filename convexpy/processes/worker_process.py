"""The server's handle of one worker process, from the order to start it until it is surely gone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

from convexpy.limits import PROCESS_STOP_SECONDS_MAX
from convexpy.processes.frames import FrameConnection
from convexpy.processes.messages import Role
from convexpy.processes.progress import Progress, ProgressPage
from convexpy.processes.template_process import TemplateProcess

_DRAIN_SECONDS = 0.05  # what it wrote before it ended is read first; a program it started may hold its socket open


class WorkerProcess:
    """One life. The socket's end and the template's report both have to come before it counts as over.

    Args:
        on_frame: each frame of the worker.
        on_end: called once, after the last frame, with a clause that says how it ended and what it was running.
    """

    def __init__(
        self, role: Role, on_frame: Callable[[bytes], None], on_end: Callable[[str, Progress | None], None]
    ) -> None:
        self.pid = 0
        self.fork_seconds = 0.0
        self._role: Role = role
        self._on_frame = on_frame
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._connection: FrameConnection | None = None
        self._page: ProgressPage | None = None
        self._template: TemplateProcess | None = None
        self._worker_id = 0
        self._reason = ""
        self._is_ending = False  # in good order, because we asked
        self._has_exited = False
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, template: TemplateProcess) -> None:
        """Have the template start it. Never raises: what goes wrong is an end."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self.exited(None, f"could not be started: {error}")
            return
        with theirs:
            try:
                self._page, page_descriptor = ProgressPage.create()
            except OSError as error:
                ours.close()
                self.exited(None, f"could not be started: {error}")
                return
            try:
                self._connection = await FrameConnection.open(ours, self._on_frame, self._closed)
                self._template = template
                self._worker_id = template.fork(self._role, (theirs.fileno(), page_descriptor), self)
            finally:
                os.close(page_descriptor)
        if self._reason:
            template.kill(self._worker_id)
        elif self._is_ending:
            self.end()

    def send(self, frame: bytearray) -> None:
        """Write a packed frame."""
        if self._connection is not None:
            self._connection.send_packed(frame)

    def progress(self) -> Progress | None:
        """The call that it is in, None between calls."""
        return self._page.read() if self._page is not None else None

    def kill(self, reason: str) -> None:
        """SIGKILL; the end follows, with this reason."""
        self._reason = self._reason or reason
        if self._template is not None:
            self._template.kill(self._worker_id)
            self._wait(PROCESS_STOP_SECONDS_MAX, self._give_up)

    def end(self) -> None:
        """Close the socket, so that it ends by itself; killed if it does not within PROCESS_STOP_SECONDS_MAX."""
        self._is_ending = True
        if self._connection is not None:
            self._connection.close()
            self._wait(PROCESS_STOP_SECONDS_MAX, lambda: self.kill("did not end when asked to"))

    def forked(self, pid: int, fork_seconds: float) -> None:
        """Called by the template's handle."""
        self.pid, self.fork_seconds = pid, fork_seconds

    def exited(self, status: int | None, text: str) -> None:
        """Called by the template's handle."""
        self._has_exited = True
        self._reason = self._reason or _describe(status, text)
        if self._connection is not None and self._connection.is_open:
            self._wait(_DRAIN_SECONDS, self._connection.abort)
        else:
            self._finish()

    def _closed(self) -> None:
        if self._has_exited:
            self._finish()
        elif not self._is_ending and self._template is not None:
            self._template.kill(self._worker_id)  # it has lost its socket, so it is of no use, dead or not
            self._wait(PROCESS_STOP_SECONDS_MAX, self._give_up)

    def _give_up(self) -> None:
        """Its template has not reported in time, so it hangs: end the worker without it."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.exited(None, "was killed, its template does not answer")

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, then)

    def _finish(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        progress = self.progress()
        if self._page is not None:
            self._page.close()
            self._page = None
        self._on_end(self._reason, progress)


def _describe(status: int | None, text: str) -> str:
    if status is None:
        return text
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
