"""How many functions of a queue run at once, as apps give it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from convexpy import MutationCtx
from convexpy_workflow.arguments import checked_text, checked_whole, shown

PARALLELISM_MAX = 1000  # the scheduler itself runs 64 mutations and 256 actions at once


def checked_parallelism(limit: Any) -> int:
    """Check a number of functions that may run at once; 0 pauses.

    Raises:
        ValueError: no whole number, negative, or above `PARALLELISM_MAX`.
    """
    try:
        return checked_whole(limit, "max_parallelism", 0, PARALLELISM_MAX)
    except ValueError:
        text = f"max_parallelism is a whole number from 0 (paused) to {PARALLELISM_MAX}, not {shown(limit)}."
        raise ValueError(text) from None


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
        """Give the queue of a manager.

        Raises:
            TypeError, ValueError: no name, or no number that a queue can have.
        """
        if queue is not None:
            checked_text(queue, "queue")
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
