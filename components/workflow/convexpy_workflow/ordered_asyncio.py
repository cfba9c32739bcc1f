"""The two places of asyncio that put objects in a set before a workflow's loop can number them.

`asyncio.as_completed` makes a set of bare coroutines, whose order follows their addresses; `asyncio.gather` returns a
future of a class of its own, which hashes by address. Both are replaced by versions that differ only while a
workflow's loop runs, so the rest of the process does not notice.

Source: CPython 3.11 to 3.13 Lib/asyncio/tasks.py, `as_completed`, `_GatheringFuture`.
"""

from __future__ import annotations

import asyncio
import functools
from asyncio import tasks
from collections.abc import Iterable
from typing import Any


def install() -> None:
    """Replace both, once a process."""
    if getattr(tasks.as_completed, "is_ordered_for_workflows", False):
        return
    _replace_as_completed()
    _replace_gathering_future()


def _replace_as_completed() -> None:
    original = tasks.as_completed

    @functools.wraps(original)
    def as_completed(fs: Iterable[Any], **options: Any) -> Any:
        loop = asyncio._get_running_loop()
        if hasattr(loop, "next_number"):
            fs = [asyncio.ensure_future(awaitable, loop=loop) for awaitable in fs]
        return original(fs, **options)

    as_completed.is_ordered_for_workflows = True  # type: ignore[attr-defined]
    tasks.as_completed = as_completed
    asyncio.as_completed = as_completed


def _replace_gathering_future() -> None:
    original: Any = getattr(tasks, "_GatheringFuture", None)
    if original is None:
        return

    class GatheringFuture(original):  # type: ignore[misc]
        """`asyncio.gather`'s future, numbered where its loop numbers futures."""

        def __init__(self, children: Any, *, loop: Any) -> None:
            number = getattr(loop, "next_number", None)
            self._number = object.__hash__(self) if number is None else number()
            super().__init__(children, loop=loop)

        def __hash__(self) -> int:
            return self._number

    tasks._GatheringFuture = GatheringFuture  # type: ignore[attr-defined]
