"""An event loop in the time of a `ManualClock`: when nothing is left to do now, somebody decides whether time moves on.

Timers fire in the order of their instants, each with the clock at its instant. Only while actions wait for the outside,
threads and sockets, does the loop wait for real.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from convexpy.testing.clock import ManualClock

T = TypeVar("T")
Events = list[tuple[selectors.SelectorKey, int]]
Decide = Callable[[float | None], bool]


class ManualLoop(asyncio.SelectorEventLoop):
    """One a `TestBackend`; it runs only inside the methods below.

    Args:
        waits_outside: whether something that runs may be woken by a thread or a socket.
    """

    def __init__(self, clock: ManualClock, waits_outside: Callable[[], bool]) -> None:
        self._manual_clock = clock
        self._waits_outside = waits_outside
        self._decide: Decide = _never
        self._idle_selector = _IdleSelector(self._idle)
        super().__init__(self._idle_selector)
        # A timer is due where `time() + resolution` is later. Of a float's seconds a nanosecond, as asyncio has it, is
        # lost after half a year, a microsecond after centuries.
        self._clock_resolution = 1e-6

    @property
    def open_files(self) -> int:
        """Sockets and pipes that the loop watches; one is its own."""
        return len(self._idle_selector.get_map())

    def time(self) -> float:
        """Seconds of the manual clock."""
        return self._manual_clock.monotonic()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end of `work`; time moves on to the next timer whenever nothing else is left to do."""
        self._decide = _always
        return self.run_until_complete(work)

    def run_until_idle(self, decide: Decide) -> None:
        """Run until nothing is left to do now.

        Args:
            decide: then asked, with the seconds to the next timer (None: there is none): True moves the clock there.
        """
        self._decide = decide
        self.run_forever()

    def _idle(self, wait: Callable[[float | None], Events], timeout: float | None) -> Events:
        if self._waits_outside():
            events = wait(timeout)
            if events:
                return events
        if not self._decide(timeout):
            self.stop()
        elif timeout is None:
            raise RuntimeError("Nothing that is waited for can ever happen: no timer, no thread, no socket is left.")
        else:
            self._manual_clock.move_to(self._manual_clock.now_ns() + math.ceil(timeout * 1e9))
        return []


def _always(timeout: float | None) -> bool:
    return True


def _never(timeout: float | None) -> bool:
    return False


class _IdleSelector(selectors.DefaultSelector):
    """Asks instead of waiting."""

    def __init__(self, idle: Callable[[Callable[[float | None], Events], float | None], Events]) -> None:
        super().__init__()
        self._ask = idle

    def select(self, timeout: float | None = None) -> Events:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        return self._ask(super().select, timeout)
