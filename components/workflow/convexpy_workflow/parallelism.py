"""How many functions of a queue run at once, as apps give it."""

from __future__ import annotations

from typing import Any

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
