"""The action pool: runs each action at most once, many side by side, and serves what they ask of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from convexpy.errors import WorkerLost
from convexpy.limits import ACTION_WORKERS, ACTIONS_IN_FLIGHT_MAX, SOFT_TO_HARD_SECONDS, FunctionLimits
from convexpy.processes.action_group import ActionGroup, ActionJob, HandleOperation
from convexpy.processes.generations import Generations
from convexpy.processes.template_process import TemplateProcess
from convexpy.runtime.messages import Call, Reply


class ActionPool:
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
        self.report = report
        self.handle_operation = handle_operation
        self._workers = workers
        self._limit_seconds = limits.action_timeout_seconds
        self._hard_seconds = limits.action_timeout_seconds + hard_after_seconds
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._generations: Generations[ActionGroup] = Generations(self._group_ended)

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

    @property
    def pids(self) -> list[int]:
        """Processes of the current generation; 0 where one is being started."""
        return self._generations.current.pids if self._generations.current is not None else []

    async def stage(self, template: TemplateProcess) -> None:
        """Start workers of a new generation beside the current one; returns when they are ready.

        Raises:
            WorkerLost: they do not start; `discard_staged` is due then.
        """
        group = ActionGroup(template, self._workers, self._limit_seconds, self._hard_seconds, self)
        self._generations.stage(group)
        try:
            await asyncio.shield(group.ready)
        except asyncio.CancelledError:
            if group.ready.cancelled():
                raise WorkerLost("The push was dropped before its workers had started.") from None
            raise

    def switch(self) -> None:
        """Start new actions on the staged generation; those that run finish on the old one."""
        self._generations.switch()

    def discard_staged(self) -> None:
        """The push failed: end the staged generation."""
        self._generations.discard_staged("the push failed")

    def replace_template(self, old: TemplateProcess, new: TemplateProcess) -> None:
        """`old` died; start its generation's workers from `new`, which has loaded the same code."""
        for group in self._generations.all():
            if group.template is old:
                new.retain()
                group.use_template(new)

    def template_failed(self, template: TemplateProcess, reason: str) -> None:
        """`template` died and there is no other for its generation: its actions are errors until a push."""
        for group in self._generations.all():
            if group.template is template:
                group.break_down(reason)

    async def close(self) -> None:
        """End all workers and wait until they are gone; actions that were running are errors."""
        self._is_closed = True
        self._generations.stop("the server is stopping")
        self._group_ended()
        await asyncio.shield(self._closed)

    def requeue(self, jobs: list[ActionJob]) -> None:
        """Called by groups: actions that were never begun."""
        group = self._generations.current
        for job in jobs:
            if group is None:
                job.fail("The server is stopping.", "died")
            else:
                group.put(job)

    def group_drained(self, group: ActionGroup) -> None:
        """Called by groups."""
        self._generations.drained(group)

    def _group_ended(self) -> None:
        if self._is_closed and self._generations.is_empty and not self._closed.done():
            self._closed.set_result(None)
