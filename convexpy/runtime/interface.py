"""What sync and HTTP may ask of the runtime: requests, outcomes, and live queries.

Arguments and results are JSON bytes on both sides. They come from the client and go back to it; whoever is in between
routes them and never decodes them.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from msgspec import Struct

from convexpy.runtime.messages import Format


class FunctionRequest(Struct, frozen=True, kw_only=True):
    """One function and what to call it with. Two equal requests (but for `request_id` and `caller`) may share a run."""

    path: str  # canonical "module:name"
    args: bytes  # convex-encoded JSON of one object. Anything else is the function's error, worded by the worker
    component: str = ""  # path of the component instance, "" is the app
    identity: bytes | None = None  # JSON of the user's identity, keys sorted
    is_admin: bool = False  # may call internal and system functions
    format: Format = "convex_encoded_json"  # of value and error data
    request_id: str = ""  # "": the backend draws 16 hex digits
    is_nested: bool = False  # called by an action of ours: errors come back whole, production or not
    caller: str = "HttpApi"  # for logs: "SyncWorker", "HttpApi", "Cron", …
    journal: str | None = None  # of an earlier run of this query; pins the end of its page


class Outcome(Struct, kw_only=True):
    """What came of a call. Texts are final: redaction and the `[Request ID: …]` frame are in them."""

    ok: bool
    value: bytes = b"null"  # JSON in the request's format
    error: str = ""
    error_data: bytes | None = None  # JSON in the request's format, iff the function raised a ConvexError
    log_lines: list[str] = []
    ts: int = (
        0  # query: snapshot; mutation: commit (the original one when answered again); action: published_ts at its end
    )
    journal: str | None = None


class Listener(Protocol):
    """Who waits on entries."""

    def entry_changed(self) -> None:
        """An entry got a new outcome. Called in a loop step; must return at once and not call back.

        Of an entry that becomes stale nobody is told: it runs, and there is nothing to show before it has.
        """


class Entry(Protocol):
    """The state of one live query, shared by all who subscribe to an equal request.

    The outcome holds in [snapshot_ts, valid_until_ts). A stale entry with a listener is always running or about to
    (`is_running` is set in the step that makes it stale), so its listeners can count on another `entry_changed`. A run
    that starts after staleness has a snapshot at or after it. Re-runs pass on the journal of the last outcome.
    """

    @property
    def request(self) -> FunctionRequest: ...

    @property
    def outcome(self) -> Outcome | None:
        """The newest one; a new run makes a new object. None before the first."""

    @property
    def snapshot_ts(self) -> int:
        """Of `outcome`; never above `published_ts`."""

    @property
    def valid_until_ts(self) -> int | None:
        """First later commit that touches what the outcome was read from; None: holds as of `published_ts`."""

    @property
    def is_running(self) -> bool: ...


class LiveQueries(Protocol):
    """The query cache, and who is to be told when a result no longer holds."""

    def subscribe(self, request: FunctionRequest, listener: Listener) -> Entry:
        """Share the entry of equal requests, or make one; starts a run if it has no outcome that holds.

        Never calls `listener` before it returns. One listener may subscribe to one entry several times, and must
        unsubscribe as often.
        """

    def unsubscribe(self, entry: Entry, listener: Listener) -> None: ...

    async def run_together(self, requests: list[FunctionRequest]) -> tuple[int, list[Outcome]]:
        """Run all at one snapshot, at or after the `published_ts` of the call's moment and published by its end.

        Raises:
            Overloaded, WorkerLost: it could not be run; nothing of it was.
        """


class Backend(Protocol):
    """What serves functions.

    Errors of functions are outcomes; it raises only for itself: `Overloaded`, `WorkerLost`, `Conflict`.
    """

    @property
    def live(self) -> LiveQueries: ...

    @property
    def published_ts(self) -> int:
        """The newest commit that anyone outside may know of, nanoseconds; the only "now" of sync and HTTP."""

    async def query(self, request: FunctionRequest) -> Outcome: ...

    async def query_at(self, request: FunctionRequest, ts: int) -> Outcome:
        """What the query gave at `ts`, with the code of now.

        Args:
            ts: a commit's; at most `published_ts`.

        Raises:
            OutOfRetention: the database can no longer be read as it was then.
        """

    def mutation(self, request: FunctionRequest, session: tuple[str, int] | None = None) -> Awaitable[Outcome]:
        """Commit, publish, answer. Begins at once, or when awaited first.

        Args:
            session: (session id, request number). Seen before with success: the recorded outcome, nothing runs.
        """

    async def action(self, request: FunctionRequest) -> Outcome:
        """Run at most once; a worker that dies on the way is an error outcome, as raising makes clients send again."""

    async def any_function(self, request: FunctionRequest) -> Outcome:
        """Run a function of any kind; its definition decides which. Internal ones only with `is_admin`."""
