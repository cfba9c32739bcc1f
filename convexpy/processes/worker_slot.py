"""One place for a worker in a pool: keeps a process in it, and starts another when it ends."""

from __future__ import annotations

import asyncio
from typing import Protocol

from convexpy.limits import PROCESS_START_SECONDS_MAX, WORKER_RESTART_DELAY_SECONDS_MAX, WORKER_START_FAILURES_MAX
from convexpy.processes.messages import Role
from convexpy.processes.progress import Progress
from convexpy.processes.template_process import TemplateProcess
from convexpy.processes.worker_process import WorkerProcess


class SlotOwner(Protocol):
    """What a pool is told about its slots."""

    def slot_frame(self, slot: WorkerSlot, frame: bytes) -> None:
        """A frame of the worker; the first one is `Ready` or `StartFailed`."""

    def slot_lost(self, slot: WorkerSlot, reason: str, progress: Progress | None) -> None:
        """The worker is gone; another one follows unless the slot is closing.

        Args:
            reason: a clause, "was killed by SIGSEGV".
            progress: what it was running.
        """

    def slot_closed(self, slot: WorkerSlot) -> None:
        """After `close()`, once: no process is in it any more."""


class WorkerSlot:
    """A worker process and its successors: starting -> ready -> gone -> starting; from anywhere `close()` -> closed.

    Attributes:
        is_ready: the worker has said so, and may be given work.
        last_failure: why the latest worker went before it was ready.
    """

    def __init__(self, role: Role, index: int, template: TemplateProcess, owner: SlotOwner) -> None:
        self.role: Role = role
        self.index = index
        self.is_ready = False
        self.last_failure = ""
        self._template = template
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._process: WorkerProcess | None = None
        self._starting: asyncio.Task[None] | None = None
        self._failures = 0
        self._has_been_ready = False
        self._is_closing = False
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._start()

    @property
    def pid(self) -> int:
        """Of the process now in the slot; 0 between two."""
        return self._process.pid if self._process is not None else 0

    @property
    def fork_seconds(self) -> float:
        """What starting the present process took in the template."""
        return self._process.fork_seconds if self._process is not None else 0.0

    @property
    def is_failing(self) -> bool:
        """So many workers in a row could not start that there is no use in waiting for the next."""
        return self._failures >= WORKER_START_FAILURES_MAX

    def _start(self) -> None:
        self._cancel_timer()
        if self._process is None and not self._is_closing and self._template.is_alive:
            self._has_been_ready = False
            self._process = WorkerProcess(self.role, self._take, self._process_ended)
            self._timer = self._loop.call_later(PROCESS_START_SECONDS_MAX, self.kill, "took too long to start")
            self._starting = self._loop.create_task(
                self._process.start(self._template), name=f"start {self.role} worker {self.index}"
            )

    def _take(self, frame: bytes) -> None:
        self._owner.slot_frame(self, frame)

    def use_template(self, template: TemplateProcess) -> None:
        """Start workers from another template of the same generation; the first one has died."""
        self._template = template
        self._failures = 0
        self._start()

    def mark_ready(self, pid: int) -> None:
        """The worker has said `Ready`, which may be before its template reports the fork."""
        self._cancel_timer()
        if self._process is not None:
            self._process.pid = pid
        self._has_been_ready = self.is_ready = True
        self._failures = 0

    def send(self, frame: bytearray) -> None:
        """Write a packed frame to the worker; if it is gone, `slot_lost` tells."""
        if self._process is not None:
            self._process.send(frame)

    def progress(self) -> Progress | None:
        """The call that the worker is in, None between calls."""
        return self._process.progress() if self._process is not None else None

    def kill(self, reason: str) -> None:
        """SIGKILL the worker; `slot_lost` follows with this reason, and then another worker."""
        self.is_ready = False
        if self._process is not None:
            self._process.kill(reason)

    def replace(self) -> None:
        """Let an idle worker end in good order; another one follows."""
        self.is_ready = False
        if self._process is not None:
            self._process.end()

    def close(self) -> None:
        """Let the worker end in good order and start no other; `slot_closed` follows."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._process is not None:
            self.replace()
        else:
            self._cancel_timer()
            self._loop.call_soon(self._finish_close)

    def _process_ended(self, reason: str, progress: Progress | None) -> None:
        self._cancel_timer()
        self._process = None
        self.is_ready = False
        if not self._has_been_ready and not self._is_closing:
            self._failures += 1
            self.last_failure = reason
        self._owner.slot_lost(self, reason, progress)
        if self._is_closing:
            self._finish_close()
        elif self._failures:
            delay_seconds = min(0.05 * 2**self._failures, WORKER_RESTART_DELAY_SECONDS_MAX)
            self._timer = self._loop.call_later(delay_seconds, self._start)
        else:
            self._start()

    def _finish_close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._owner.slot_closed(self)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
