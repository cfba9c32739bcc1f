"""What a function pool and an action pool have in common: generations of workers, their templates, and the end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from convexpy.errors import WorkerLost
from convexpy.processes.generations import Generations, Group
from convexpy.processes.template_process import TemplateProcess


class WorkerGroup(Group, Protocol):
    """The workers of one generation, as a pool handles them."""

    ready: asyncio.Future[None]

    @property
    def pids(self) -> list[int]: ...

    def use_template(self, template: TemplateProcess) -> None:
        """Start workers from this one from now on."""

    def break_down(self, reason: str) -> None:
        """There is no template any more: calls are errors."""


G = TypeVar("G", bound=WorkerGroup)


class WorkerPool(ABC, Generic[G]):
    """Pushes stage a group of workers, switch to it or drop it; calls go to the current one.

    Args:
        report: takes a sentence for the server's log.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self.report = report
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._generations: Generations[G] = Generations(self._group_ended)

    @abstractmethod
    def _new_group(self, template: TemplateProcess) -> G:
        """Start the workers of a generation."""

    async def stage(self, template: TemplateProcess) -> None:
        """Start workers of a new generation beside the current one; returns when they are ready.

        Raises:
            WorkerLost: they do not start; `discard_staged` is due then.
        """
        group = self._new_group(template)
        self._generations.stage(group)
        try:
            await asyncio.shield(group.ready)
        except asyncio.CancelledError:
            if group.ready.cancelled():
                raise WorkerLost("The push was dropped before its workers had started.") from None
            raise

    def switch(self) -> None:
        """Give new and waiting calls to the staged generation; the old one finishes what it runs, and ends."""
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
        """`template` died and there is no other for its generation: its calls are errors until a push."""
        for group in self._generations.all():
            if group.template is template:
                group.break_down(reason)

    async def close(self) -> None:
        """End all workers and wait until they are gone; calls that were not answered are errors."""
        self._is_closed = True
        self._generations.stop("the server is stopping")
        self._group_ended()
        await asyncio.shield(self._closed)

    def group_drained(self, group: G) -> None:
        """Called by groups."""
        self._generations.drained(group)

    def _group_ended(self) -> None:
        if self._is_closed and self._generations.is_empty and not self._closed.done():
            self._closed.set_result(None)

    @property
    def pids(self) -> list[int]:
        """Processes of the current generation by slot; 0 where one is being started."""
        return self._generations.current.pids if self._generations.current is not None else []
