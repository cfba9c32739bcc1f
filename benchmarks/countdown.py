"""Waiting until so many things have arrived, and when the last one did."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple


class Instant(NamedTuple):
    """One instant on two clocks."""

    seconds: float  # time.perf_counter()
    wall_ns: int  # what commit timestamps are compared with


class Countdown:
    """Resolves `last` with the instant of the last of `count` arrivals.

    Raises:
        RuntimeError: by `arrived`, when more arrive than were expected.
    """

    def __init__(self, count: int) -> None:
        self._missing = count
        self.last: asyncio.Future[Instant] = asyncio.get_running_loop().create_future()

    def arrived(self) -> None:
        """One more has come."""
        self._missing -= 1
        if self._missing == 0:
            self.last.set_result(Instant(time.perf_counter(), time.time_ns()))
        elif self._missing < 0:
            raise RuntimeError("more has arrived than was expected")
