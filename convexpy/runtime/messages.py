"""What server, committer and workers say to one another: msgpack arrays, passed on undecoded where possible.

Every Struct is `array_like`, so fields are positional on the wire; all processes of a server run the same code.
A frame on a socket is a 4-byte big-endian length and one msgpack value.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct

from convexpy.transactions.commit_messages import Reads

NO_COMMIT = Raw(b"\xc0")  # msgpack's nil; msgspec knows no optional Raw
Loss = Literal["", "killed", "died", "overloaded", "too old", "beyond bound"]
CallKind = Literal["query", "mutation", "action", "httpAction", "job", "system"]
Format = Literal["convex_encoded_json", "json", "export_json"]


class Call(Struct, array_like=True, kw_only=True):
    """One execution asked of a worker."""

    id: int  # chosen by the server, unique while it lives
    kind: CallKind
    component: str  # path of the component instance, "" is the app
    path: str  # "module:name"; a system function's name for kind "system"; the row's id for kind "job"
    args: bytes  # convex-encoded JSON of one object; for kind "system" msgpack
    format: Format = "convex_encoded_json"  # of the result
    identity: bytes | None = None  # JSON of the user's identity
    is_internal_allowed: bool = False  # admin, scheduler, server code
    generation: int = 0
    min_ts: int = 0  # the snapshot must not be older
    at_ts: int | None = None  # queries: read the database as it was at this commit
    seed: bytes = b""  # 16 bytes; ids and randomness of the call come from it
    now_ns: int = 0  # the call's one instant
    request_id: str = ""
    session: tuple[str, int] | None = None  # mutations: (session id, request number), answered once
    journal: str | None = None
    is_redacted: bool = False  # production: texts of ordinary errors stay here
    preset_outcome: bytes | None = None  # kind "job" after a hard kill: skip the function, complete with this outcome
    is_completion_deferred: bool = False  # kind "job" after another one: its on_complete becomes a row of its own
    job_id: str | None = None  # the scheduled function that this call runs for
    more_jobs: list[str] = []  # kind "job": further rows of the same lane, to be run in the same transaction
    is_alone: bool = False  # after a conflict or a hard kill: no further function in the same transaction


class JobHint(Struct, array_like=True):
    """A scheduled function that the call wrote: enough to start it without reading the row."""

    id: str
    due_ns: int
    is_action: bool
    lane: str | None
    queue: str  # "": none
    completes_together: bool = False  # with others of its lane that are due


class Reply(Struct, array_like=True, kw_only=True):
    """What came of a call."""

    id: int
    is_ok: bool
    value: bytes = b"null"  # JSON in the asked format; for kind "system" msgpack
    error: str = ""
    error_data: bytes | None = None  # JSON, only for a ConvexError
    log_lines: list[str] = []
    snapshot_ts: int = 0
    reads: Reads | None = None  # queries only
    commit: Raw = NO_COMMIT  # a CommitRequest, for the committer
    jobs: list[JobHint] = []
    canceled_jobs: list[str] = []
    recorded_ts: int | None = None  # answered from the session's record: the original commit timestamp
    journal: str | None = None
    used_time: bool = False
    used_identity: bool = False
    is_system_error: bool = False  # not the function's fault: may be retried, never shown
    user_seconds: float = 0.0
    kind: str = ""  # the function's own kind, "" where it was not found
    # Set by the pool when no worker answered. "killed": it was killed at the hard limit, or two workers died in it;
    # that is the function's fault, so it is not repeated, and a job runs again with preset_outcome. "died": there was
    # no worker for it, or an action's worker died. "overloaded": too many calls wait. Set by the worker, "too old": its
    # `at_ts` can no longer be read. Set by the server, "beyond bound": its commit was refused for a bound of the whole
    # deployment; the function has failed, as with "killed".
    loss: Loss = ""
    deleted_files: list[str] = []  # names of stored files that may have no row any more once this is committed

    @property
    def has_commit(self) -> bool:
        """Whether there is anything to commit."""
        return memoryview(self.commit).nbytes > 1
