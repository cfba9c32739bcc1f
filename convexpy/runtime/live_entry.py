"""One query's latest outcome, as the query cache keeps it, and what makes two requests the same query."""

from __future__ import annotations

from collections import Counter

import msgspec

from convexpy.runtime.interface import FunctionRequest, Listener, Outcome

Key = tuple[str, str, bytes, str, bytes | None, bool, str | None]
Question = tuple[str, str, bytes, str, bool, str | None]
"""All that a run can depend on but the identity: who looks at none gets the same answer as everybody."""


def key_of(request: FunctionRequest) -> Key:
    """Who asks what."""
    return (
        request.component,
        request.path,
        request.args,
        request.format,
        request.identity,
        request.is_admin,
        request.journal,
    )


class LiveEntry:
    """One query's latest outcome and who waits on it; see `interface.Entry`."""

    __slots__ = (
        "answers",
        "expires_at",
        "followers",
        "is_running",
        "journal",
        "key",
        "leads",
        "listeners",
        "outcome",
        "request",
        "size",
        "snapshot_ts",
        "valid_until_ts",
    )

    def __init__(self, key: Key, request: FunctionRequest) -> None:
        self.key = key
        self.request = request
        self.journal = request.journal
        self.outcome: Outcome | None = None
        self.snapshot_ts = 0
        self.valid_until_ts: int | None = None
        self.is_running = False  # or another entry's run is going to answer it
        self.expires_at: float | None = None
        self.listeners: Counter[Listener] = Counter()
        self.size = 0
        self.answers: Question | None = None  # its outcome is anybody's who asks this
        self.leads: Question | None = None  # its run is to answer the followers too
        self.followers: list[LiveEntry] = []

    @property
    def question(self) -> Question:
        """What its next run asks."""
        request = self.request
        return request.component, request.path, request.args, request.format, request.is_admin, self.journal

    def next_request(self) -> FunctionRequest:
        """Its next run: of the same page as the last one."""
        if self.journal == self.request.journal:
            return self.request
        return msgspec.structs.replace(self.request, journal=self.journal)

    def covers(self, ts: int) -> bool:
        """Whether the outcome is one of `ts` or later."""
        if self.outcome is None:
            return False
        return self.snapshot_ts >= ts or self.valid_until_ts is None or self.valid_until_ts > ts
