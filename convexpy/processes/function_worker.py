"""A function worker: reads a frame of calls, runs them one after another, answers; nothing else happens in it.

A call that goes wrong in any way is that call's error. Only a hang or a crash costs the process; the progress page then
tells the server which call it was.
"""

from __future__ import annotations

import gc
import os
import socket
import time
import traceback
from collections.abc import Iterator
from typing import Any

import msgspec

from convexpy.errors import FrameTooLarge, FunctionTimedOut
from convexpy.limits import MEMORY_LOOK_SECONDS, REPLY_DELAY_SECONDS_MAX, FunctionLimits
from convexpy.processes.child import limit_memory, own_bytes
from convexpy.processes.cpu_limit import CpuLimit
from convexpy.processes.frames import FrameSocket
from convexpy.processes.host import OUT_OF_MEMORY, FunctionRunner, WorkerHost
from convexpy.processes.messages import Answers, Ready, Retire, Run, StartFailed
from convexpy.processes.progress import ProgressPage
from convexpy.runtime.messages import Call, Reply


def run_function_worker(sock: socket.socket, page: ProgressPage, host: WorkerHost, limits: FunctionLimits) -> None:
    """Be a function worker until the server closes the socket."""
    frames = FrameSocket(sock)
    cpu_limit = CpuLimit(limits.timeout_seconds)
    try:
        runner = host.function_runner(cpu_limit)
    except Exception as error:
        traceback.print_exc()
        frames.send(StartFailed(f"{type(error).__name__}: {error}"))
        return
    limit_memory(limits.memory_bytes)
    try:
        serve_calls(frames, runner, page, cpu_limit, limits)
    except ConnectionError:
        pass  # the server is gone; there is nobody to answer
    finally:
        runner.close()


def serve_calls(
    frames: FrameSocket, runner: FunctionRunner, page: ProgressPage, cpu_limit: CpuLimit, limits: FunctionLimits
) -> None:
    """Answer frames of calls until the socket ends.

    Raises:
        ConnectionError: the socket broke while answering.
    """
    worker = _FunctionWorker(runner, page, cpu_limit, limits)
    decoder = msgspec.msgpack.Decoder(Run)
    frames.send(Ready(os.getpid()))
    while (frame := frames.read()) is not None:
        # Only now, with the calls in hand, a snapshot is opened: it cannot be older than what their senders have seen.
        run = decoder.decode(frame)
        waiting: list[Reply] = []
        send_at = time.monotonic() + REPLY_DELAY_SECONDS_MAX
        for number, reply in enumerate(worker.replies(run), 1):
            waiting.append(reply)
            # The last one leaves below, after a word of leaving: the server must have that before the frame is done.
            if number < len(run.calls) and time.monotonic() >= send_at:
                _send(frames, waiting)
                waiting = []
        if reason := worker.retire_reason():
            frames.send(Retire(reason))
        if waiting:
            _send(frames, waiting)


def _send(frames: FrameSocket, replies: list[Reply]) -> None:
    try:
        frames.send(Answers(replies))
    except FrameTooLarge as error:
        if len(replies) == 1:
            frames.send(Answers([Reply(id=replies[0].id, is_ok=False, error=str(error))]))
        else:
            for reply in replies:
                _send(frames, [reply])


class _FunctionWorker:
    def __init__(self, runner: FunctionRunner, page: ProgressPage, cpu_limit: CpuLimit, limits: FunctionLimits) -> None:
        self._runner = runner
        self._page = page
        self._cpu_limit = cpu_limit
        self._limits = limits
        self._own_bytes_max = own_bytes() + limits.memory_bytes // 2
        self._next_look = 0.0
        self._needed_much = False

    def retire_reason(self) -> str:
        """Why this process had better be replaced, "" if it need not."""
        # The kernel counts long for the answer, so it is asked now and then.
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + MEMORY_LOOK_SECONDS
            self._needed_much |= own_bytes() > self._own_bytes_max
        # What a function left behind cannot be known; a fresh process, some milliseconds away, has none of it.
        return "a function needed much memory" if self._needed_much else ""

    def replies(self, run: Run) -> Iterator[Reply]:
        if not run.is_snapshot_shared:
            for call in run.calls:
                yield self._guarded(call, None)
            return
        try:
            snapshot_manager = self._runner.snapshot()
            snapshot = snapshot_manager.__enter__()
        except Exception:
            for call in run.calls:
                yield _failed(call, traceback.format_exc())
            return
        try:
            for call in run.calls:
                yield self._guarded(call, snapshot)
        finally:
            snapshot_manager.__exit__(None, None, None)

    def _guarded(self, call: Call, shared_snapshot: Any) -> Reply:
        """Run one call; whatever happens, the answer is a reply."""
        self._page.begin(call.id)
        try:
            try:
                if call.kind != "system":  # our own code; the server's wall clock bounds it
                    self._cpu_limit.start()
                return self._run(call, shared_snapshot)
            finally:
                self._cpu_limit.stop()
        except FunctionTimedOut as error:
            self._cpu_limit.stop()  # the signal may have come while it was being stopped
            return Reply(id=call.id, is_ok=False, error=str(error))
        except MemoryError as error:
            error.__traceback__ = None  # its frames hold what filled the memory
        except Exception:
            return _failed(call, traceback.format_exc())
        finally:
            self._page.end()
        gc.collect()
        self._needed_much = True
        return Reply(id=call.id, is_ok=False, error=OUT_OF_MEMORY)

    def _run(self, call: Call, shared_snapshot: Any) -> Reply:
        if shared_snapshot is not None:
            return self._runner.execute(call, shared_snapshot)
        with self._runner.snapshot() as snapshot:
            return self._runner.execute(call, snapshot)


def _failed(call: Call, text: str) -> Reply:
    return Reply(id=call.id, is_ok=False, error=text, is_system_error=True)
