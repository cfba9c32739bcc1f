"""Turns requests into calls for workers, and their replies into outcomes."""

from __future__ import annotations

import itertools

from convexpy.environment import Environment
from convexpy.errors import Overloaded
from convexpy.runtime.interface import FunctionRequest, Outcome
from convexpy.runtime.messages import Call, CallKind, Reply
from convexpy.runtime.publishing import Publisher


class CallMaker:
    """Gives every call what only the server knows: an id, a seed, an instant, the least snapshot, the code in force.

    Attributes:
        generation: of the code that new calls run on.

    Args:
        is_redacted: production: see `failures`.
    """

    def __init__(self, publisher: Publisher, environment: Environment, *, is_redacted: bool) -> None:
        self.generation = 0
        self.is_redacted = is_redacted
        self._publisher = publisher
        self._environment = environment
        self._ids = itertools.count(1)

    def mark(self) -> int:
        """A number that no call has. Between two marks lie as many calls as their difference, less one."""
        return next(self._ids)

    def call(self, kind: CallKind, request: FunctionRequest) -> Call:
        """For a function of the app."""
        environment = self._environment
        return Call(
            id=next(self._ids),
            kind=kind,
            component=request.component,
            path=request.path,
            args=request.args,
            format=request.format,
            identity=request.identity,
            is_internal_allowed=request.is_admin,
            generation=self.generation,
            min_ts=self._publisher.published_ts,
            seed=environment.entropy(16),
            now_ns=environment.now_ns(),
            request_id=request.request_id or environment.entropy(8).hex(),
            journal=request.journal,
            is_redacted=self.is_redacted and not request.is_nested,
        )

    def own_call(self, kind: CallKind, path: str, args: bytes) -> Call:
        """For what the server itself wants: a system function, a scheduled one."""
        return Call(
            id=next(self._ids),
            kind=kind,
            component="",
            path=path,
            args=args,
            is_internal_allowed=True,
            generation=self.generation,
            min_ts=self._publisher.published_ts,
            seed=self._environment.entropy(16),
            now_ns=self._environment.now_ns(),
        )

    def outcome(self, request: FunctionRequest, reply: Reply, ts: int) -> Outcome:
        """What its caller is told.

        Args:
            ts: at which the effect or the result is there.

        Raises:
            Overloaded: it was not run.
        """
        if reply.is_ok:
            return Outcome(ok=True, value=reply.value, log_lines=reply.log_lines, ts=ts, journal=reply.journal)
        if reply.loss == "overloaded":
            raise Overloaded(reply.error)
        error = reply.error
        if reply.loss or reply.is_system_error:
            head = f"[Request ID: {request.request_id or self._environment.entropy(8).hex()}] Server Error"
            error = head if self.is_redacted else f"{head}\n{reply.error}\n"
        return Outcome(
            ok=False,
            error=error,
            error_data=reply.error_data,
            log_lines=reply.log_lines,
            ts=ts,
            journal=reply.journal,
        )
