"""When a scheduled function is to run, as an app says it: a delay or an instant, checked and in milliseconds."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from convexpy.errors import InvalidRequest
from convexpy.limits import SCHEDULE_HORIZON_SECONDS


def delay_ms(delay: float | timedelta) -> float:
    """Check a delay and turn it into milliseconds."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
        raise InvalidRequest(f"A delay is a timedelta or a finite, non-negative number of seconds, not {delay!r}.")
    if seconds > SCHEDULE_HORIZON_SECONDS:
        raise InvalidRequest(
            f"A delay of {seconds:.0f} seconds is more than 5 years. Delays are in seconds, not milliseconds."
        )
    return float(seconds * 1000)


def instant_ms(when: float | datetime, now_ms: int) -> float:
    """Check an instant and turn it into epoch milliseconds."""
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise InvalidRequest("run_at() needs an aware datetime: add tzinfo, for example datetime.now(UTC).")
        seconds = when.timestamp()
    elif isinstance(when, bool) or not isinstance(when, int | float) or not math.isfinite(when):
        raise InvalidRequest(f"run_at() takes an aware datetime or epoch seconds, not {when!r}.")
    else:
        seconds = float(when)
    if abs(seconds - now_ms / 1000) > SCHEDULE_HORIZON_SECONDS:
        raise InvalidRequest(
            f"{when!r} is more than 5 years away from now. run_at() takes epoch seconds, not milliseconds "
            f"(divide _creationTime by 1000)."
        )
    return seconds * 1000
