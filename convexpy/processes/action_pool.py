"""The action pool: runs each action at most once, many side by side, and serves what they ask of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from convexpy.limits import ACTION_WORKERS, ACTIONS_IN_FLIGHT_MAX, SOFT_TO_HARD_SECONDS, FunctionLimits
from convexpy.processes.action_group import ActionGroup, ActionJob, HandleOperation
from convexpy.processes.template_process import TemplateProcess
from convexpy.processes.worker_pool import WorkerPool
from convexpy.runtime.messages import Call, Reply


class ActionPool(WorkerPool[ActionGroup]):
    """Workers for actions and HTTP actions.

    Every future gets a Reply. An action whose worker dies is an error with `loss`, and is not run again. Cancelling a
    future cancels the action.

    Args:
        handle_operation: awaited in a task for each operation of a running action: `(call, kind, payload) -> result`.
            A ConvexpyError becomes the operation's error text; anything else is reported and an internal error.
        report: takes a sentence for the server's log.
    """

    def __init__(
        self,
        limits: FunctionLimits,
        handle_operation: HandleOperation,
        report: Callable[[str], None],
        *,
        workers: int = ACTION_WORKERS,
        hard_after_seconds: float = SOFT_TO_HARD_SECONDS,
    ) -> None:
        super().__init__(report)
        self.handle_operation = handle_operation
        self._workers = workers
        self._limit_seconds = limits.action_timeout_seconds
        self._hard_seconds = limits.action_timeout_seconds + hard_after_seconds

    def submit(self, call: Call) -> asyncio.Future[Reply]:
        """Run one action on the current generation. With ACTIONS_IN_FLIGHT_MAX running it is refused, not queued: an
        action that waits for the one it has called would otherwise wait for ever."""
        future: asyncio.Future[Reply] = self._loop.create_future()
        job = ActionJob(call, future)
        group = self._generations.current
        if group is None:
            job.fail("No code is deployed." if not self._is_closed else "The server is stopping.", "died")
        elif self.in_flight_count >= ACTIONS_IN_FLIGHT_MAX:
            text = f"Too many concurrent requests: {ACTIONS_IN_FLIGHT_MAX} actions are running. Try again later."
            job.fail(text, "overloaded")
        else:
            group.put(job)
        return future

    @property
    def in_flight_count(self) -> int:
        """Actions that are waiting or running, draining generations included."""
        return sum(group.count for group in self._generations.all())

    def _new_group(self, template: TemplateProcess) -> ActionGroup:
        return ActionGroup(template, self._workers, self._limit_seconds, self._hard_seconds, self)

    def requeue(self, jobs: list[ActionJob]) -> None:
        """Called by groups: actions that were never begun."""
        group = self._generations.current
        for job in jobs:
            if group is None:
                job.fail("The server is stopping.", "died")
            else:
                group.put(job)
