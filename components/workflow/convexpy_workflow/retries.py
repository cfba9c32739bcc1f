"""How often an action step is tried again, and after how long."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

DURATION_MS_MAX = 2**53  # the journal keeps it as a number, and beyond this float64 has gaps
BACK_OFF_MS_MAX = 365 * 86_400_000  # a year: waits that double come to it after some thirty; the scheduler takes five


def to_milliseconds(duration: timedelta | float, what: str = "duration") -> int:
    """Turn a `timedelta` or seconds into whole milliseconds.

    Raises:
        TypeError: no `timedelta` and no number.
        ValueError: negative, not finite, or longer than `DURATION_MS_MAX`.
    """
    if isinstance(duration, timedelta):
        seconds = duration.total_seconds()
    elif isinstance(duration, (int, float)) and not isinstance(duration, bool):
        seconds = float(duration)
    else:
        raise TypeError(f"{what} must be a timedelta or a number of seconds, not {duration!r}.")
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{what} must be finite and not negative, not {duration!r}.")
    if (milliseconds := round(seconds * 1000)) > DURATION_MS_MAX:
        raise ValueError(f"{what} must be at most {DURATION_MS_MAX // 1000} seconds, not {duration!r}.")
    return milliseconds


@dataclass(frozen=True)
class Retry:
    """A policy for failed actions.

    Args:
        attempts: runs in all; 2 means one retry.
        initial: wait after the first failure, `timedelta` or seconds.
        base: each further wait is this many times longer.

    Raises:
        ValueError: attempts below 1, or a base below 1.
    """

    attempts: int = 5
    initial: timedelta | float = 0.5
    base: float = 2.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"Retry(attempts={self.attempts}): at least one attempt is needed.")
        if not math.isfinite(self.base) or self.base < 1:
            raise ValueError(f"Retry(base={self.base}): a base below 1 would make each wait shorter.")
        to_milliseconds(self.initial, "Retry(initial=…)")

    def delay_ms(self, failures: int, uniform: float) -> int:
        """Wait after so many failed attempts.

        Args:
            failures: failed attempts so far, from 1.
            uniform: a random number in [0, 1); it spreads the wait over half to one and a half times its middle, so
                that steps that failed together do not come back together.

        Returns:
            milliseconds: `initial × base^(failures − 1) × (0.5 + uniform)`, at most `BACK_OFF_MS_MAX`.
        """
        try:
            growth = self.base ** (failures - 1)
        except OverflowError:
            growth = sys.float_info.max
        return round(min(to_milliseconds(self.initial) * growth * (0.5 + uniform), BACK_OFF_MS_MAX))

    def to_fields(self) -> dict[str, Any]:
        """Give the policy as a value that a document can hold."""
        return {"maxAttempts": self.attempts, "initialBackoffMs": to_milliseconds(self.initial), "base": self.base}

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Retry:
        """Read back what `to_fields` gave."""
        return cls(
            attempts=int(fields["maxAttempts"]),
            initial=timedelta(milliseconds=fields["initialBackoffMs"]),
            base=float(fields["base"]),
        )


def choose_retry(choice: bool | Retry | None, default: Retry, is_default_on: bool) -> Retry | None:
    """Settle what a step's `retry=` means.

    Args:
        choice: True the default policy, False none, a policy itself, None whatever the manager was told.
        default: the manager's policy.
        is_default_on: whether the manager retries actions that say nothing.
    """
    if isinstance(choice, Retry):
        return choice
    if choice is None:
        choice = is_default_on
    return default if choice else None
