"""A clock that stands still until it is moved, and an environment that is wholly decided by it and a seed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

DEFAULT_START = datetime(2025, 1, 1, tzinfo=UTC)


class ManualClock:
    """Wall clock and monotonic clock of a test.

    Args:
        start: an aware datetime, or epoch seconds.
    """

    def __init__(self, start: datetime | float = DEFAULT_START) -> None:
        seconds = start.timestamp() if isinstance(start, datetime) else start
        self._start_ns = self._now_ns = round(seconds * 1000) * 1_000_000

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return self._now_ns

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch; what `ctx.now_ms()` says."""
        return self._now_ns // 1_000_000

    def now(self) -> datetime:
        """The instant as an aware datetime in UTC."""
        return datetime.fromtimestamp(self._now_ns / 1e9, UTC)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return (self._now_ns - self._start_ns) / 1e9

    def advance(self, duration: float | timedelta) -> None:
        """Move on by seconds or a timedelta. Nothing runs by this alone; `TestBackend.advance` moves and runs."""
        seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
        self.move_to(self._now_ns + round(seconds * 1e9))

    def move_to(self, now_ns: int) -> None:
        """Move to an instant, which must not lie in the past."""
        if now_ns < self._now_ns:
            raise ValueError("a ManualClock does not go back")
        self._now_ns = now_ns


class ManualEnvironment:
    """Implements `environment.Environment`: the same clock and seed give the same run.

    While it is `is_held` it says that it is 1970, so that whoever waits for an instant goes on waiting.
    """

    def __init__(self, clock: ManualClock, seed: int) -> None:
        self.clock = clock
        self.is_held = False
        self._random = random.Random(seed)

    def now_ns(self) -> int:
        """See `Environment`."""
        return 0 if self.is_held else self.clock.now_ns()

    def monotonic(self) -> float:
        """See `Environment`."""
        return self.clock.monotonic()

    def entropy(self, size: int) -> bytes:
        """See `Environment`."""
        return self._random.randbytes(size)


class CommitEnvironment(ManualEnvironment):
    """The committer's: every reading is a millisecond after the one before.

    Commits of one instant thereby have timestamps that creation times can tell apart, so documents of mutations that
    follow one another come in that order, as they nearly always do where time passes by itself.
    """

    def __init__(self, clock: ManualClock, seed: int) -> None:
        super().__init__(clock, seed)
        self._latest_ns = 0

    def now_ns(self) -> int:
        """See `Environment`."""
        self._latest_ns = max(self.clock.now_ns(), self._latest_ns + 1_000_000)
        return self._latest_ns
