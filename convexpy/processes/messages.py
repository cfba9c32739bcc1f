"""What the processes of one server say to one another about their own life; calls and commits ride inside.

Tagged arrays: the first item of a frame is its kind. The committer's outcome frames are plain BatchOutcomes.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from convexpy.runtime.messages import Call, Reply

Role = Literal["function", "action"]


class Ready(Struct, array_like=True, tag="ready"):
    """First frame of a committer or worker: it can take work."""

    pid: int


class StartFailed(Struct, array_like=True, tag="start_failed"):
    """First and last frame of a committer or worker that cannot work."""

    text: str


class Retire(Struct, array_like=True, tag="retire"):
    """A worker asks to be replaced when it has answered what it has: its memory is used up, or its threads hang."""

    reason: str


class Run(Struct, array_like=True, tag="run"):
    """Server to function worker: run these calls in order."""

    is_snapshot_shared: bool  # one LMDB read transaction for all of them
    calls: list[Call]


class Answers(Struct, array_like=True, tag="answers"):
    """Function worker to server: in the order of the calls, not necessarily all of a `Run` at once."""

    replies: list[Reply]


class RunAction(Struct, array_like=True, tag="run_action"):
    """Server to action worker: begin this call; others go on."""

    call: Call


class CancelAction(Struct, array_like=True, tag="cancel"):
    """Server to action worker: nobody waits for this call any more."""

    call_id: int


class ActionAnswer(Struct, array_like=True, tag="answer"):
    """Action worker to server."""

    reply: Reply


class Operation(Struct, array_like=True, tag="op"):
    """Action worker to server: what only the server can do for an action (run_mutation, schedule, store a file)."""

    call_id: int
    id: int
    kind: str
    payload: bytes


class OperationResult(Struct, array_like=True, tag="result"):
    """Server to action worker; where `is_ok` is False the payload is the error's text."""

    id: int
    is_ok: bool
    payload: bytes


class Load(Struct, array_like=True, tag="load", kw_only=True):
    """Server to template, once: import the app.

    Args:
        host: `module:function`; called with this message it gives the WorkerHost.
        limits: overrides of FunctionLimits by name.
        settings: what the host wants to know besides; plain data.
    """

    host: str
    project_folder: str
    data_folder: str
    generation: int
    limits: dict[str, float] = {}
    settings: dict[str, Any] = {}


class Loaded(Struct, array_like=True, tag="loaded"):
    """Template to server: `description` is the host's `describe()`."""

    description: Any
    seconds: float
    is_spawning: bool  # the import started threads, so workers import the app again instead of being forked


class LoadFailed(Struct, array_like=True, tag="load_failed"):
    """Template to server: the app cannot be loaded; nothing else can be asked of this template."""

    text: str
    file: str | None
    line: int | None
    traceback: str


class Output(Struct, array_like=True, tag="output"):
    """Template to server: a line that the app printed while it was imported, or a warning of ours."""

    level: Literal["LOG", "ERROR", "WARN"]
    line: str


class Fork(Struct, array_like=True, tag="fork"):
    """Server to template: start a worker. Two descriptors come with it: its socket, its progress page."""

    worker_id: int
    role: Role


class Kill(Struct, array_like=True, tag="kill"):
    """Server to template: SIGKILL this worker. Only its parent can be sure that the pid is still this worker's."""

    worker_id: int


class Forked(Struct, array_like=True, tag="forked"):
    """Template to server: the worker's process exists."""

    worker_id: int
    pid: int
    fork_seconds: float


class Exited(Struct, array_like=True, tag="exited"):
    """Template to server: a worker is gone, or never was.

    Args:
        status: exit status, negative for a signal; None with a `text` where it could not be started.
    """

    worker_id: int
    status: int | None
    text: str = ""
