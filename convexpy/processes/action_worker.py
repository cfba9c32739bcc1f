"""An action worker: an event loop that runs many actions at once and passes on what they ask of the server.

An action's effects happen outside, so nothing here runs anything twice. A timed-out `async def` action is cancelled.
The thread of a `def` action cannot be, so it is left behind, and a worker with too many of those asks to be replaced.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import os
import socket
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import msgspec
import uvloop

from convexpy.errors import ConvexpyError, FrameTooLarge
from convexpy.limits import (
    ABANDONED_THREADS_MAX,
    ACTION_OPERATIONS_IN_FLIGHT_MAX,
    ACTION_THREADS_MAX,
    ACTION_WORKER_BYTES_MAX,
    FunctionLimits,
)
from convexpy.processes.child import leave, limit_memory
from convexpy.processes.frames import FrameConnection
from convexpy.processes.host import OUT_OF_MEMORY, WorkerHost
from convexpy.processes.host import RunAction as ActionRunner
from convexpy.processes.messages import (
    ActionAnswer,
    CancelAction,
    Operation,
    OperationResult,
    Ready,
    Retire,
    RunAction,
    StartFailed,
)
from convexpy.runtime.messages import Call, Reply

T = TypeVar("T")
_from_server = msgspec.msgpack.Decoder(RunAction | CancelAction | OperationResult)


def run_action_worker(sock: socket.socket, host: WorkerHost, limits: FunctionLimits) -> None:
    """Be an action worker until the server closes the socket; then the process ends, whatever still runs in it."""
    limit_memory(ACTION_WORKER_BYTES_MAX)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(sock, host, limits))


async def _serve(sock: socket.socket, host: WorkerHost, limits: FunctionLimits) -> None:
    closed = asyncio.Event()
    worker = ActionWorker(limits)
    connection = await FrameConnection.open(sock, worker.take, closed.set)
    try:
        run_action = host.action_runner()
    except Exception as error:
        traceback.print_exc()
        connection.send(StartFailed(f"{type(error).__name__}: {error}"))
        connection.close()
    else:
        worker.start(connection, run_action)
    await closed.wait()
    leave(0)  # nobody is left to take results; an orderly end would wait for threads that may never end


class ActionWorker:
    """The actions of one process; it is the ActionHost that they see."""

    def __init__(self, limits: FunctionLimits) -> None:
        self._timeout_seconds = limits.action_timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._threads = ThreadPoolExecutor(ACTION_THREADS_MAX, thread_name_prefix="action")
        self._loop.set_default_executor(self._threads)
        self._operation_ids = itertools.count(1)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._turns: dict[int, asyncio.Semaphore] = {}
        self._results: dict[int, asyncio.Future[bytes]] = {}
        self._abandoned_count = 0
        self._connection: FrameConnection
        self._run_action: ActionRunner

    def start(self, connection: FrameConnection, run_action: ActionRunner) -> None:
        self._connection = connection
        self._run_action = run_action
        connection.send(Ready(os.getpid()))

    def take(self, frame: bytes) -> None:
        """Act on one frame of the server."""
        match _from_server.decode(frame):
            case RunAction(call):
                self._turns[call.id] = asyncio.Semaphore(ACTION_OPERATIONS_IN_FLIGHT_MAX)
                task = self._loop.create_task(self._answer(call), name=f"action {call.path}")
                self._tasks[call.id] = task
            case CancelAction(call_id):
                if call_id in self._tasks:
                    self._tasks[call_id].cancel()
            case OperationResult(operation_id, is_ok, payload):
                result = self._results.pop(operation_id, None)
                if result is None or result.done():
                    return  # its action was cancelled meanwhile
                if is_ok:
                    result.set_result(payload)
                else:
                    result.set_exception(ConvexpyError(payload.decode()))

    async def _answer(self, call: Call) -> None:
        try:
            reply = await self._reply(call)
        finally:
            del self._tasks[call.id], self._turns[call.id]
        try:
            self._connection.send(ActionAnswer(reply))
        except FrameTooLarge as error:
            self._connection.send(ActionAnswer(Reply(id=call.id, is_ok=False, error=str(error))))

    async def _reply(self, call: Call) -> Reply:
        limit = asyncio.timeout(self._timeout_seconds)
        try:
            async with limit:
                return await self._run_action(call, self)
        except TimeoutError:
            if limit.expired():
                error = f"Function execution timed out (maximum duration: {self._timeout_seconds:g}s)"
                return Reply(id=call.id, is_ok=False, error=error)
            return Reply(id=call.id, is_ok=False, error=traceback.format_exc(), is_system_error=True)
        except asyncio.CancelledError:
            return Reply(id=call.id, is_ok=False, error="Function execution was canceled")
        except MemoryError:
            error = OUT_OF_MEMORY
            return Reply(id=call.id, is_ok=False, error=error)
        except Exception:
            return Reply(id=call.id, is_ok=False, error=traceback.format_exc(), is_system_error=True)

    async def operation(self, call_id: int, kind: str, payload: bytes) -> bytes:
        """Let the server do something for a call; at most ACTION_OPERATIONS_IN_FLIGHT_MAX of a call at once, in order.

        Raises:
            ConvexpyError: the server could not do it, or the call has ended already.
        """
        turns = self._turns.get(call_id)
        if turns is None:
            raise ConvexpyError("The action that asks for this has ended; await everything that it starts.")
        async with turns:
            operation_id = next(self._operation_ids)
            result: asyncio.Future[bytes] = self._loop.create_future()
            self._results[operation_id] = result
            try:
                self._connection.send(Operation(call_id, operation_id, kind, payload))
                return await result
            finally:
                self._results.pop(operation_id, None)

    def operation_blocking(self, call_id: int, kind: str, payload: bytes) -> bytes:
        """`operation` for a thread that `in_thread` runs."""
        assert threading.get_ident() != self._loop_thread, "on the event loop this would wait for itself"
        return asyncio.run_coroutine_threadsafe(self.operation(call_id, kind, payload), self._loop).result()

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Run a `def` action with its caller's context variables; cancelled, it is left behind if it runs already."""
        work = self._threads.submit(contextvars.copy_context().run, function)
        try:
            return await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            if work.running():
                self._abandon(work)
            raise

    def _abandon(self, work: Future[T]) -> None:
        self._abandoned_count += 1
        work.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._came_back))
        if self._abandoned_count == ABANDONED_THREADS_MAX:
            self._connection.send(Retire(f"{ABANDONED_THREADS_MAX} timed-out `def` actions are still running in it"))

    def _came_back(self) -> None:
        self._abandoned_count -= 1
