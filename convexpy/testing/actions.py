"""Action workers without processes: actions are tasks of the loop, `def` actions run in threads."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from convexpy.errors import ConvexpyError
from convexpy.runtime.action_operations import ActionOperations
from convexpy.runtime.actions import ActionRunner
from convexpy.runtime.messages import Call, Reply


class InProcessActions:
    """Implements `parts.Actions`, and `actions.Operations` for those that run."""

    def __init__(self, operations: ActionOperations, timeout_seconds: float) -> None:
        self._operations = operations
        self._timeout_seconds = timeout_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = ThreadPoolExecutor(thread_name_prefix="action")
        self._threads_running = 0
        self._calls: dict[int, Call] = {}
        self._tasks: dict[int, asyncio.Task[Reply]] = {}
        self.current: ActionRunner | None = None
        self.staged: ActionRunner | None = None

    @property
    def running_count(self) -> int:
        """Actions that have begun and not ended."""
        return len(self._tasks)

    def submit(self, call: Call) -> asyncio.Future[Reply]:
        """See `parts.Actions`."""
        assert self.current is not None, "actions come after the first push"
        self._loop = asyncio.get_running_loop()
        self._calls[call.id] = call
        task = self._loop.create_task(self._reply(self.current, call), name=f"action {call.path}")
        self._tasks[call.id] = task
        task.add_done_callback(lambda _: self._end(call.id))
        return task

    def switch(self) -> None:
        """Run new actions on the staged generation; those that run go on with the old one."""
        self.current, self.staged = self.staged, None

    async def stop(self) -> None:
        """End every action where it is, as the death of its worker does."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def waits_for_thread(self) -> bool:
        """Whether a `def` action runs."""
        return self._threads_running > 0

    async def operation(self, call_id: int, kind: str, payload: bytes) -> bytes:
        """See `actions.Operations`."""
        call = self._calls.get(call_id)
        if call is None:
            raise ConvexpyError("The action that asks for this has ended; await everything that it starts.")
        try:
            return await self._operations.handle(call, kind, payload)
        except ConvexpyError as error:
            raise ConvexpyError(str(error)) from None  # only the text crosses between processes

    def operation_blocking(self, call_id: int, kind: str, payload: bytes) -> bytes:
        """See `actions.Operations`."""
        assert self._loop is not None, "operations come from actions that were submitted"
        return asyncio.run_coroutine_threadsafe(self.operation(call_id, kind, payload), self._loop).result()

    async def in_thread(self, function: Callable[[], Any]) -> Any:
        """See `actions.Operations`."""
        self._threads_running += 1
        try:
            work = self._threads.submit(contextvars.copy_context().run, function)
            return await asyncio.wrap_future(work)
        finally:
            self._threads_running -= 1

    def _end(self, call_id: int) -> None:
        del self._tasks[call_id], self._calls[call_id]

    async def _reply(self, runner: ActionRunner, call: Call) -> Reply:
        limit = asyncio.timeout(self._timeout_seconds)
        try:
            async with limit:
                return await runner.run(call, self)
        except TimeoutError:
            if not limit.expired():
                raise
            error = f"Function execution timed out (maximum duration: {self._timeout_seconds:g}s)"
            return Reply(id=call.id, is_ok=False, error=error)
