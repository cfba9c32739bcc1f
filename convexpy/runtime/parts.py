"""What the backend asks of workers, the committer and the scheduler: processes and the in-process runner look alike."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Raw

from convexpy.runtime.messages import Call, JobHint, Reply
from convexpy.transactions.commit_messages import Committed, Conflicted, Refused

CommitOutcome = Committed | Conflicted | Refused


class Functions(Protocol):
    """Function workers."""

    def submit(
        self,
        call: Call,
        *,
        prefer: int | None = None,
        is_urgent: bool = False,
        is_staged: bool = False,
        limit_seconds: float | None = None,
    ) -> asyncio.Future[Reply]: ...

    def submit_together(self, calls: list[Call]) -> asyncio.Future[list[Reply]]: ...


class Actions(Protocol):
    """Action workers."""

    def submit(self, call: Call) -> asyncio.Future[Reply]: ...


class Turn(Protocol):
    """An exclusive turn with the committer."""

    def submit(self, commit: Raw) -> asyncio.Future[CommitOutcome]: ...


class Commits(Protocol):
    """The committer."""

    def submit(self, commit: Raw) -> asyncio.Future[CommitOutcome]: ...

    def exclusive(self) -> AbstractAsyncContextManager[Turn]: ...


class JobSink(Protocol):
    """Who runs scheduled functions."""

    def take_jobs(self, jobs: list[JobHint], canceled: list[str]) -> None: ...


class CallReport(Protocol):
    """Who shows calls to the operator."""

    def __call__(self, kind: str, path: str, caller: str, reply: Reply) -> None: ...
