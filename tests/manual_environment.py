"""A clock that stands still until a test moves it, and entropy that a seed decides."""

from __future__ import annotations

import random

SECOND_NS = 10**9


class ManualEnvironment:
    """The seam `convexpy.environment.Environment`, in a test's hands."""

    def __init__(self, now_ns: int = 1_750_000_000 * SECOND_NS, seed: int = 0) -> None:
        self.time_ns = now_ns
        self._random = random.Random(seed)

    def advance(self, seconds: float) -> None:
        """Move the clock; backwards too, as an operator's clock may."""
        self.time_ns += int(seconds * SECOND_NS)

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic(self) -> float:
        return self.time_ns / SECOND_NS

    def entropy(self, size: int) -> bytes:
        return self._random.randbytes(size)
