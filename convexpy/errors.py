"""Every error convexpy raises, in one tree.

    ConvexpyError
        ConvexError            raised by app code; its `data` reaches the client as it is
        InvalidRequest         the caller can mend it, so it is never retried
            InvalidValue, InvalidId, ValidationFailed, ArgumentsInvalid, ReturnsInvalid,
            FunctionNotFound, WrongFunctionKind, QueryError, WriteError, LimitExceeded, NotAllowed,
            CallEnded, PushSuperseded
        DefinitionError        the app's own code is wrong in a way that a push can tell
        Conflict               lost a race; the runtime runs the mutation again
        DataFolderError        the data folder is in use, foreign, or damaged
        WorkerLost             a process that is needed died, or could not be started
        CalledFunctionFailed   a function that an action has called failed
        FrameTooLarge          a message between two processes is beyond what a socket frame may hold
        Overloaded             a bound on waiting work was reached; the caller may try again later
        OutOfRetention         the database cannot be read as it was at that timestamp any more
        Unauthenticated        a token or key that proves nothing here
        AuthProviderUnavailable  who could vouch for a token cannot be asked now

    FunctionTimedOut           not in the tree: raised from a signal into user code, see there

Fields hold the facts, for tests and metrics; `__str__` tells a person what happened, where, and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ConvexpyError(Exception):
    """Base of all errors of this package."""


class ConvexError(ConvexpyError):
    """An application's own error: `data`, any Convex value, reaches the client as it is.

    Raised by app code in any function. It is never redacted, and survives nested calls.
    """

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.data = data


class InvalidRequest(ConvexpyError):
    """The caller can mend it; the text is complete and is shown as it is, without a class name."""


class InvalidValue(InvalidRequest):
    """A Python or JSON value that is no Convex value."""


class InvalidId(InvalidRequest):
    """A string that is no document id."""


class ValidationFailed(InvalidRequest):
    """A value that does not match a validator; the text is the validator's, with path, value and validator."""


class PushSuperseded(InvalidRequest):
    """A push gave way to a newer one, which says itself how it ends."""


class ArgumentsInvalid(InvalidRequest):
    """Arguments that the function's validator refuses; the text starts with `ArgumentValidationError: `."""


class ReturnsInvalid(InvalidRequest):
    """A result that the function's `returns` validator refuses; the text starts with `ReturnsValidationError: `."""


class FunctionNotFound(InvalidRequest):
    """No such function, or one that this caller may not see."""


class WrongFunctionKind(InvalidRequest):
    """A function called as another kind than it is, or from a function that may not call it."""


class QueryError(InvalidRequest):
    """A database read that is built or used wrongly."""


class WriteError(InvalidRequest):
    """A database write that cannot be done: missing document, wrong table, schema mismatch."""


class LimitExceeded(InvalidRequest):
    """A bound of `limits.py` was reached; the text names the bound and its value."""


class NotAllowed(InvalidRequest):
    """Something that queries and mutations may not do; the text says what to use instead."""


class CallEnded(InvalidRequest):
    """What belongs to one call, its ctx, a query or an iterator, is used after the call's end."""

    def __str__(self) -> str:
        return (
            "This ctx, or this query or iterator of it, belongs to a call that has ended, and works only while that "
            "call runs. Use the ctx that the running function was given, and keep rows if they are to outlive a call."
        )


class DefinitionError(ConvexpyError):
    """The app's own code is wrong: a decorator, the schema, the config or a module that cannot be imported.

    Args:
        text: what is wrong, and the mend.
        file: source file, as the user would write it; None where no single file is to blame.
        line: 1-based line in `file`.
    """

    def __init__(self, text: str, file: str | None = None, line: int | None = None) -> None:
        super().__init__(text)
        self.text, self.file, self.line = text, file, line

    def __str__(self) -> str:
        if self.file is None:
            return self.text
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.text}"


@dataclass(eq=False)
class Conflict(ConvexpyError):
    """A commit after this transaction's snapshot wrote to a range it had read."""

    code = "OptimisticConcurrencyControlFailure"  # the name Convex clients know

    function: str
    attempts: int
    snapshot_ts: int
    write_ts: int
    written_by: str  # "" where it is not known
    table: str | None = None  # of the document whose write was in the way; None where there is no such one
    document_id: str | None = None

    def __str__(self) -> str:
        in_the_way = "what it had read" if self.table is None else f"document {self.document_id} in it"
        place = "What was" if self.table is None else f'Documents read from or written to the "{self.table}" table'
        verb = " read changed" if self.table is None else " changed"
        writer = f" {self.written_by} wrote {in_the_way} at ts {self.write_ts}." if self.written_by else ""
        return (
            f"{place}{verb} while this mutation was being run and on every subsequent retry. {self.function} read at "
            f"ts {self.snapshot_ts} in the last of {self.attempts} attempts.{writer} Read a narrower index range, or "
            f"spread the writes over more documents. See https://docs.convex.dev/error#1"
        )


class DataFolderError(ConvexpyError):
    """The data folder cannot be used; the text says why and what to do."""


class CalledFunctionFailed(ConvexpyError):
    """A function that an action has called failed; the text is that function's, with its frames under `dev`."""


class WorkerLost(ConvexpyError):
    """A process of the server (committer, template, worker) died, was killed, or could not be started."""


class FrameTooLarge(ConvexpyError):
    """A message between two processes is beyond `FRAME_BYTES_MAX`."""


class FunctionTimedOut(BaseException):
    """The CPU time of a call is used up; a signal handler raises it into the code that runs.

    It derives from BaseException, so that `except Exception` in user code does not swallow it, and comes again while
    user code does. Whoever runs user code turns it into an error of the function, with this text.
    """

    def __init__(self, timeout_seconds: float) -> None:
        super().__init__(f"Function execution timed out (maximum duration: {timeout_seconds:g}s)")


class Overloaded(ConvexpyError):
    """A bound on waiting work was reached; nothing of the request was run, so the caller may try again later.

    Args:
        code: short name that clients choose their back-off by (wire-protocol 1).
    """

    def __init__(self, text: str, code: str = "TooManyConcurrentRequests") -> None:
        super().__init__(text)
        self.code = code


class OutOfRetention(ConvexpyError):
    """What the database was at a timestamp, or what has happened since, is not kept any more."""

    code = "OutOfRetention"


class Unauthenticated(ConvexpyError):
    """A token or key that proves nothing here.

    Args:
        text: for the client; never holds a key or token, nor any part that nobody else may see.
        code: short name for HTTP bodies.
        http_status: 400, 401 or 403.
    """

    def __init__(self, text: str, code: str, http_status: int = 401) -> None:
        super().__init__(text)
        self.code, self.http_status = code, http_status


class AuthProviderUnavailable(ConvexpyError):
    """The keys of an auth provider are not to be had now; the same token may be good later."""

    code = "AuthProviderUnavailable"
