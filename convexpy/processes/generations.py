"""Which workers get new calls: those of the current generation; a staged one waits, a draining one finishes.

At most one of each. A pool that is switched while an older generation still drains stops waiting for that one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from convexpy.processes.template_process import TemplateProcess


class Group(Protocol):
    """The workers of one generation in one pool."""

    template: TemplateProcess

    def drain(self) -> None:
        """Take no new call, close each worker when it has answered; then `Generations.drained` is called."""

    def stop(self, reason: str) -> None:
        """Kill what still runs; then `Generations.drained` is called."""


G = TypeVar("G", bound=Group)


class Generations(Generic[G]):
    """The groups of one pool; a template ends when the groups of all pools that used it have ended.

    Args:
        on_change: called when a group has ended.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.current: G | None = None
        self.staged: G | None = None
        self._ending: list[G] = []
        self._on_change = on_change

    @property
    def is_empty(self) -> bool:
        return self.current is None and self.staged is None and not self._ending

    def stage(self, group: G) -> None:
        """Hold a new generation ready beside the current one; one staged before is dropped."""
        self.discard_staged("another push came")
        group.template.retain()
        self.staged = group

    def switch(self) -> G | None:
        """Make the staged generation the current one; returns the one that now drains."""
        assert self.staged is not None, "switch needs a staged generation"
        before, self.current, self.staged = self.current, self.staged, None
        for group in self._ending:
            group.stop("was stopped: a second push came before it had finished")
        if before is not None:
            self._ending.append(before)
            before.drain()
        return before

    def discard_staged(self, reason: str) -> None:
        """The push failed: stop the staged generation, if there is one."""
        if self.staged is not None:
            group, self.staged = self.staged, None
            self._ending.append(group)
            group.stop(f"was stopped: {reason}")

    def stop(self, reason: str) -> None:
        """End all groups."""
        self.discard_staged(reason)
        if self.current is not None:
            self._ending.append(self.current)
            self.current = None
        for group in list(self._ending):
            group.stop(f"was stopped: {reason}")

    def all(self) -> list[G]:
        return [group for group in (self.current, self.staged, *self._ending) if group is not None]

    def drained(self, group: G) -> None:
        """A group that was to end has no process any more."""
        self._ending.remove(group)
        group.template.release()
        self._on_change()
