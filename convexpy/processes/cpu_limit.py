"""The soft limit of a call: after so much CPU time a signal raises FunctionTimedOut in the code that runs.

CPU time, because a call that waits for its turn on a busy machine has done nothing wrong. The hard limit, in wall
clock, is the server's: it kills the worker (code inside C that never returns to the interpreter cannot be interrupted).
"""

from __future__ import annotations

import signal
from types import FrameType

from convexpy.errors import FunctionTimedOut
from convexpy.limits import SOFT_LIMIT_REPEAT_SECONDS


class CpuLimit:
    """One a process, on its main thread.

    Args:
        seconds: CPU time from `start()` on, of all threads; `FunctionLimits.timeout_seconds`.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._is_running = False
        signal.signal(signal.SIGPROF, self._raise)

    def start(self) -> None:
        """Give the full time from now on, also when it is running already."""
        self._is_running = True
        # The interval raises again what user code has swallowed.
        signal.setitimer(signal.ITIMER_PROF, self.seconds, SOFT_LIMIT_REPEAT_SECONDS)

    def stop(self) -> None:
        """After this nothing is raised any more, a signal already on its way included."""
        self._is_running = False
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self._is_running:
            raise FunctionTimedOut(self.seconds)
