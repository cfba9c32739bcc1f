"""How often an action step is tried again, and after how long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from convexpy_workflow.arguments import checked_whole, shown

DURATION_SECONDS_MAX = 5 * 365 * 86_400  # the scheduler takes no more
ATTEMPTS_MAX = 1_000_000
BASE_MAX = 1_000
BACK_OFF_MS_MAX = 365 * 86_400_000  # a year: waits that double come to it after some thirty; the scheduler takes five


def to_milliseconds(duration: timedelta | float, what: str = "duration") -> int:
    """Turn a `timedelta` or seconds into whole milliseconds.

    Raises:
        TypeError: no `timedelta` and no number.
        ValueError: negative, not finite, or longer than `DURATION_SECONDS_MAX`.
    """
    if isinstance(duration, timedelta):
        seconds = duration.total_seconds()
    elif isinstance(duration, (int, float)) and not isinstance(duration, bool):
        seconds = duration
    else:
        raise TypeError(f"{what} must be a timedelta or a number of seconds, not {shown(duration)}.")
    if not 0 <= seconds < math.inf:  # NaN is neither
        raise ValueError(f"{what} must be finite and not negative, not {shown(duration)}.")
    if seconds > DURATION_SECONDS_MAX:
        raise ValueError(f"{what} must be at most 5 years, {DURATION_SECONDS_MAX} seconds, not {shown(duration)}.")
    return round(seconds * 1000)


@dataclass(frozen=True)
class Retry:
    """A policy for failed actions.

    Args:
        attempts: runs in all; 2 means one retry.
        initial: wait after the first failure, `timedelta` or seconds.
        base: each further wait is this many times longer.

    Raises:
        TypeError, ValueError: attempts or a base below 1, what is no number of the kind, or more than a policy can say.
    """

    attempts: int = 5
    initial: timedelta | float = 0.5
    base: float = 2.0

    def __post_init__(self) -> None:
        checked_whole(self.attempts, "Retry(attempts=…)", 1, ATTEMPTS_MAX)
        is_number = isinstance(self.base, int | float) and not isinstance(self.base, bool)
        if not is_number or not 1 <= self.base <= BASE_MAX:
            raise ValueError(
                f"Retry(base=…) is a number from 1 (each wait as long as the first) to {BASE_MAX}, not "
                f"{shown(self.base)}."
            )
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
        initial_ms = to_milliseconds(self.initial)
        try:
            middle_ms = min(initial_ms * float(self.base) ** (failures - 1), BACK_OFF_MS_MAX)
        except OverflowError:
            middle_ms = BACK_OFF_MS_MAX if initial_ms else 0
        return min(round(middle_ms * (0.5 + uniform)), BACK_OFF_MS_MAX)

    def to_fields(self) -> dict[str, Any]:
        """Give the policy as a value that a document can hold."""
        return {"maxAttempts": int(self.attempts), "initialBackoffMs": to_milliseconds(self.initial), "base": self.base}

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

    Raises:
        TypeError: the choice is none of these.
    """
    if isinstance(choice, Retry):
        return choice
    if choice is None:
        choice = is_default_on
    return default if checked_choice_of_retry(choice) else None


def checked_choice_of_retry(choice: Any) -> bool | Retry:
    """True, False or a policy.

    Raises:
        TypeError: the text says what it takes.
    """
    if isinstance(choice, bool | Retry):
        return choice
    raise TypeError(f"retry is True, False or a policy such as Retry(attempts=3), not {shown(choice)}.")


def checked_policy(policy: Retry | None, what: str) -> Retry | None:
    """A policy, or None.

    Raises:
        TypeError: it is neither.
    """
    if policy is None or isinstance(policy, Retry):
        return policy
    raise TypeError(f"{what} is a policy such as Retry(attempts=3), not {shown(policy)}.")
