"""The seams to the outside: the clock and fresh entropy, so that tests and simulations can own both."""

from __future__ import annotations

import os
import time
from typing import Protocol


class Environment(Protocol):
    """What the runtime asks for time and randomness; nothing else in the package reads either."""

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since the Unix epoch."""

    def monotonic(self) -> float:
        """Seconds on a clock that never steps."""

    def entropy(self, size: int) -> bytes:
        """Fresh random bytes: seeds of calls, request ids."""


class RealEnvironment:
    """The machine's own clock and randomness."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    def entropy(self, size: int) -> bytes:
        return os.urandom(size)
