"""The event loop that a workflow handler runs on: asyncio without sockets, threads or a clock of its own.

What it promises: the order in which callbacks run depends only on what was fed into it, never on addresses, hashes,
the wall clock or the garbage collector. So the same handler fed with the same resolutions does the same again, in
another process or after a restart.

  1. Ready callbacks run first in, first out, until none is left.
  2. Time stands still during a drain; `advance` moves it, and never back.
  3. A timer runs only through `fire_timer`, never because time has passed its deadline: in the recorded run a step
     may have been resolved first.
  4. Tasks and futures hash to their creation number, so sets of them (asyncio.wait, TaskGroup) iterate in an order
     that follows from history.
  5. The collector does not run during a drain, so no finaliser can act in the middle of one.

Source: which methods the standard primitives call, CPython 3.11 to 3.13 Lib/asyncio.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import sys
from asyncio import tasks as asyncio_tasks
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from typing import Any, NoReturn, TypeVarTuple

from convexpy_workflow import ordered_asyncio
from convexpy_workflow.errors import DeadlockError, NotAllowedInWorkflow

# A bound on one drain. A gather of 10,000 steps needs some 40,000 turns; a busy loop needs more than any number.
DRAIN_CALLBACKS_MAX = 250_000
TIMER_DUE_SECONDS_MAX = 253_402_300_800  # the end of the year 9999, since the epoch: the last that `datetime` knows

_Ts = TypeVarTuple("_Ts")


class WorkflowFuture(asyncio.Future[Any]):
    """A future that hashes to its creation number."""

    def __init__(self, number: int, loop: WorkflowLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class WorkflowTask(asyncio.Task[Any]):
    """A task that hashes to its creation number."""

    def __init__(self, number: int, coroutine: Any, loop: WorkflowLoop, name: str, context: Context | None) -> None:
        self._number = number  # before the base class, which puts the task in a set
        super().__init__(coroutine, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        return self._number


class WorkflowTimer(asyncio.TimerHandle):
    """A timer with its number in the run and its deadline, milliseconds since the Unix epoch."""

    __slots__ = ("deadline_ms", "number")

    def __init__(
        self, number: int, when: float, callback: Any, args: Any, loop: WorkflowLoop, context: Context | None
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.number = number
        self.deadline_ms = round(when * 1000)


class WorkflowLoop(asyncio.AbstractEventLoop):
    """A loop that its owner drains by hand; see the module's promises.

    Args:
        report: takes one line for each exception that nobody retrieved.
    """

    def __init__(self, report: Callable[[str], None] | None = None) -> None:
        self.now_ms = 0
        self.is_evicting = False
        self.is_finalizing = False  # a forgotten generator's `finally` is running
        self._report = report
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: dict[int, WorkflowTimer] = {}
        self._deadlines: list[tuple[int, int]] = []  # heap; entries of canceled timers are dropped when met
        self._timers_made = 0
        self._objects_made = 0
        self._tasks: dict[int, WorkflowTask] = {}  # live ones by number
        self._exception_handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        ordered_asyncio.install()

    # What the owner calls.

    def advance(self, now_ms: int) -> None:
        """Set the time of what follows; an earlier one than the last is an error of the caller."""
        assert now_ms >= self.now_ms, f"time went back from {self.now_ms} to {now_ms}"
        self.now_ms = now_ms

    def drain(self, until: Callable[[], bool]) -> None:
        """Run ready callbacks until none is left or `until` says so.

        Raises:
            DeadlockError: the callbacks kept producing others beyond DRAIN_CALLBACKS_MAX.
        """
        with self._running():
            for _ in range(DRAIN_CALLBACKS_MAX):
                if not self._ready or until():
                    return
                handle = self._ready.popleft()
                # What `sys.exit()` raises in user code is recorded in its task like any other exception: we go on.
                with suppress(SystemExit, KeyboardInterrupt):
                    handle._run()
        raise DeadlockError(DRAIN_CALLBACKS_MAX)

    def fire_timer(self, number: int) -> None:
        """Make a pending timer's callback ready.

        Raises:
            KeyError: no such timer is pending.
        """
        self._ready.append(self._timers.pop(number))

    def next_timer(self) -> WorkflowTimer | None:
        """Find the pending timer that is due first; of equal deadlines the one made first."""
        while self._deadlines:
            timer = self._timers.get(self._deadlines[0][1])
            if timer is not None:
                return timer
            heapq.heappop(self._deadlines)
        return None

    def timer(self, number: int) -> WorkflowTimer | None:
        """Find a pending timer by its number."""
        return self._timers.get(number)

    @property
    def has_ready(self) -> bool:
        """Whether callbacks wait to be run."""
        return bool(self._ready)

    def live_tasks(self) -> list[WorkflowTask]:
        """List the tasks that are not done, oldest first."""
        return [task for task in self._tasks.values() if not task.done()]

    def evict(self) -> None:
        """Close every coroutine, newest first, and forget all work. The loop is of no use afterwards.

        `finally` blocks run, but their step calls raise `Evicted`, and nothing that they do is recorded.
        """
        self.is_evicting = True
        self._ready.clear()
        with self._running():
            for _ in range(DRAIN_CALLBACKS_MAX):  # a `finally` block may make further tasks
                if not self._tasks:
                    break
                _, task = self._tasks.popitem()
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                # Whatever a handler does with its own closing, the run goes on from the journal.
                with suppress(BaseException):
                    task.get_coro().close()
        self._ready.clear()
        self._timers.clear()
        self._deadlines.clear()

    @contextmanager
    def _running(self) -> Iterator[None]:
        outer = asyncio._get_running_loop()
        # From CPython 3.14 the current task is kept per thread: leave the host's task while ours run.
        outer_task = None if outer is None else asyncio.current_task(outer)
        if outer is not None and outer_task is not None:
            asyncio_tasks._leave_task(outer, outer_task)
        hooks = sys.get_asyncgen_hooks()
        was_collecting = gc.isenabled()
        gc.disable()
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._close_generator)
        try:
            yield
        finally:
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(outer)
            if outer is not None and outer_task is not None:
                asyncio_tasks._enter_task(outer, outer_task)
            if was_collecting:
                gc.enable()

    def _close_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        # A forgotten async generator. When it is forgotten may depend on the collector, so its `finally` must not
        # reach the journal: it runs up to its first await, outside any task, where step calls are refused.
        closing: Coroutine[Any, Any, None] = generator.aclose()
        self.is_finalizing = True
        try:
            with suppress(BaseException):
                closing.send(None)
            with suppress(BaseException):
                closing.close()
        finally:
            self.is_finalizing = False

    def next_number(self) -> int:
        """Give the next creation number of a task or future."""
        self._objects_made += 1
        return self._objects_made

    # What asyncio's own primitives call.

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if not 0 <= when <= TIMER_DUE_SECONDS_MAX:  # NaN is neither
            raise ValueError(
                f"A timer of a workflow is due before the year 10000, not in {when - self.time():g} seconds. To wait "
                f"without an end, wait for an event: step.await_event(…)."
            )
        timer = WorkflowTimer(self._timers_made, when, callback, args, self, context)
        self._timers_made += 1
        self._timers[timer.number] = timer
        heapq.heappush(self._deadlines, (timer.deadline_ms, timer.number))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        assert isinstance(handle, WorkflowTimer)
        self._timers.pop(handle.number, None)

    def time(self) -> float:
        return self.now_ms / 1000

    def create_future(self) -> asyncio.Future[Any]:
        return WorkflowFuture(self.next_number(), self)

    def create_task(
        self, coro: Any, *, name: object = None, context: Context | None = None, **_ignored: Any
    ) -> asyncio.Task[Any]:
        # `eager_start` (3.14) is ignored: it would issue steps before the line after create_task.
        number = self.next_number()
        task = WorkflowTask(number, coro, self, f"Task-{number}" if name is None else str(name), context)
        self._tasks[number] = task
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        assert isinstance(task, WorkflowTask)
        self._tasks.pop(task._number, None)

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """Ignored: debug mode reads the clock."""

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def get_task_factory(self) -> None:
        return None

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: forgotten generators are closed when they are forgotten."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing to do: there is no executor."""

    def get_exception_handler(self) -> Any:
        return self._exception_handler

    def set_exception_handler(self, handler: Any) -> None:
        self._exception_handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        if self._report is None or self.is_evicting:
            return
        exception = context.get("exception")
        text = "" if exception is None else f": {type(exception).__name__}: {exception}"
        self._report(f"{context.get('message', 'Unhandled exception')}{text}")

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._exception_handler is not None and not self.is_evicting:
            self._exception_handler(self, context)
        else:
            self.default_exception_handler(context)


_INSTEAD = {
    "step.run_action": "Do it in an action and call that with `step.run_action`.",
    "its own tasks": "A handler runs in one thread: use `asyncio.create_task`, and `step.run_action` for outside work.",
    "return": "The loop belongs to the workflow engine: return from the handler to end it.",
}

_REFUSED = {
    "step.run_action": (
        "getaddrinfo getnameinfo create_connection create_server create_unix_connection create_unix_server "
        "create_datagram_endpoint connect_accepted_socket start_tls sendfile sock_recv sock_recv_into sock_recvfrom "
        "sock_recvfrom_into sock_sendall sock_sendto sock_connect sock_accept sock_sendfile connect_read_pipe "
        "connect_write_pipe subprocess_shell subprocess_exec add_reader remove_reader add_writer remove_writer "
        "run_in_executor set_default_executor add_signal_handler remove_signal_handler"
    ),
    "its own tasks": "call_soon_threadsafe set_task_factory",
    "return": "run_forever run_until_complete stop close",
}


def _refusal(method: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(self: WorkflowLoop, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotAllowedInWorkflow(f"`loop.{method}` is not allowed in a workflow handler. {_INSTEAD[instead]}")

    refuse.__name__ = method
    return refuse


for _instead, _methods in _REFUSED.items():
    for _method in _methods.split():
        setattr(WorkflowLoop, _method, _refusal(_method, _instead))
