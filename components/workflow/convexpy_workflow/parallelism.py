"""How many functions of a queue run at once, as apps give it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from convexpy import MutationCtx

PARALLELISM_MAX = 1000  # the scheduler itself runs 64 mutations and 256 actions at once


def checked_parallelism(limit: Any) -> int:
    """Check a number of functions that may run at once; 0 pauses.

    Raises:
        ValueError: no whole number, negative, or above `PARALLELISM_MAX`.
    """
    is_whole = isinstance(limit, int | float) and not isinstance(limit, bool) and limit == int(limit)
    if not is_whole or not 0 <= limit <= PARALLELISM_MAX:
        raise ValueError(f"max_parallelism is a whole number from 0 (paused) to {PARALLELISM_MAX}, not {limit!r}.")
    return int(limit)


@dataclass(frozen=True)
class StepQueue:
    """The queue of the app's scheduler that steps run in.

    Args:
        name: None for no bound but the scheduler's own.
        declared: what the code says how many run at once; None leaves it to `set_queue_limit`.
    """

    name: str | None = None
    declared: int | None = None

    @classmethod
    def chosen(cls, queue: str | None, max_parallelism: int | None, default_name: str) -> StepQueue:
        """Give the queue of a manager."""
        if max_parallelism is None:
            return cls(queue)
        return cls(default_name if queue is None else queue, checked_parallelism(max_parallelism))

    @classmethod
    def of_handler(cls, handler: Callable[..., Any], max_parallelism: int) -> StepQueue:
        """Give a queue of one workflow's own."""
        name = f"{getattr(handler, '__module__', '')}.{getattr(handler, '__qualname__', '')}"
        return cls(name, checked_parallelism(max_parallelism))

    def settled(self, ctx: MutationCtx) -> str | None:
        """Bring in force what the code says, if it says something new; gives the name."""
        if self.name is not None and self.declared is not None:
            ctx.scheduler.declare_queue_limit(self.name, self.declared)
        return self.name
