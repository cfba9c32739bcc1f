"""One run of a query or mutation: the frames of its nested calls, and what they observe and leave behind.

A `Run` is the whole transaction; a `Frame` is one function in it, in one component, and is what its ctx talks to.
Nested calls share the transaction, the instant and the log; each has its own random numbers. Arguments and results are
copied at the border, so neither side can change the other's values.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec

from convexpy.errors import (
    ArgumentsInvalid,
    FunctionNotFound,
    InvalidRequest,
    InvalidValue,
    LimitExceeded,
    QueryError,
    ReturnsInvalid,
    ValidationFailed,
    WrongFunctionKind,
)
from convexpy.functions import guard
from convexpy.functions.application import ComponentInstance
from convexpy.functions.context import MutationCtx, QueryCtx
from convexpy.functions.database import NamespaceTables
from convexpy.functions.definitions import Function
from convexpy.functions.query_builder import Query
from convexpy.functions.running import running
from convexpy.functions.scheduled_rows import Row, Target
from convexpy.functions.scheduling import ScheduledUsage
from convexpy.limits import CALL_DEPTH_MAX
from convexpy.runtime.failures import too_large
from convexpy.runtime.generation import Generation
from convexpy.runtime.job_hints import job_hint
from convexpy.runtime.log_capture import LogSink
from convexpy.runtime.messages import Call, JobHint
from convexpy.runtime.resolution import Located
from convexpy.runtime.transaction_limits import capped, metrics_of
from convexpy.transactions.transaction import Transaction
from convexpy.values import Validator, normalize, size_beyond

KIND_NAMES = {"query": "Query", "mutation": "Mutation", "action": "Action", "httpAction": "HttpAction"}


class Room(Protocol):
    """What lets a function of a transaction run others in it that would otherwise be scheduled."""

    def run_here(self, located: Located, args: dict[str, Any], apart_from: str | None) -> dict[str, Any] | None:
        """See `scheduler.run_here`."""


class Run:
    """A transaction and everything that its functions share."""

    def __init__(self, call: Call, generation: Generation, transaction: Transaction, cursor_secret: bytes) -> None:
        self.call = call
        self.generation = generation
        self.transaction = transaction
        self.cursor_secret = cursor_secret
        self.resolver = generation.resolver_at(transaction.catalog)
        self.sink = LogSink()
        self.now_ms = call.now_ns // 1_000_000
        self.used_time = False
        self.used_identity = False
        self.journal: str | None = None
        self.jobs: list[JobHint] = []
        self.canceled_jobs: list[str] = []
        self.deleted_files: list[str] = []  # those of nested calls that were rolled back too: whoever removes asks
        self.job_id = call.job_id
        self.scheduled = ScheduledUsage()
        self.finished_jobs: set[str] = set()  # whose functions this transaction has run, and whose rows it will delete
        self.new_generation: int | None = None  # set by a push
        self.new_namespaces: dict[str, int] = {}
        self.depth = 0
        self.entered: set[str] = set()  # component instances whose functions have run
        self.room: Room | None = None  # only while scheduled functions run
        self._streams = 0
        self.identity: dict[str, Any] | None = None if call.identity is None else msgspec.json.decode(call.identity)

    def namespaces(self) -> dict[str, int]:
        """Namespaces by component path, those that this run has made included."""
        return {**self.transaction.catalog.namespaces, **self.new_namespaces}

    def next_stream(self) -> bytes:
        """The seed of random numbers that no other frame of this run has."""
        self._streams += 1
        return self.call.seed + self._streams.to_bytes(4, "big")

    @contextmanager
    def at_stale_snapshot(self) -> Iterator[None]:
        """Let frames of the body read the snapshot without this run's writes, and depend on nothing that they read."""
        transaction, stale = self.transaction, self.transaction.without_writes()
        self.transaction = stale
        try:
            yield
        finally:
            self.transaction = transaction
            stale.end()

    def invoke(self, located: Located, args: dict[str, Any], *, is_top: bool) -> Any:
        """Validate, run and validate again one function of this transaction; the result is a copy."""
        if self.depth >= CALL_DEPTH_MAX:
            raise LimitExceeded(f"Cross component call depth limit exceeded (limit: {CALL_DEPTH_MAX})")
        frame = Frame(self, located.instance, located.namespace, located.function, is_top=is_top)
        function = located.function
        frame.check_args(args)
        kwargs = function.bind(args)
        ctx = QueryCtx(frame) if function.kind == "query" else MutationCtx(frame)
        slot = _FrameEnvironment(frame)
        self.entered.add(located.instance.path)
        self.depth += 1
        try:
            with guard.call(slot), running(frame):
                result = function.handler(ctx, **kwargs)
        finally:
            self.depth -= 1
            self.used_time = self.used_time or slot.used_time
        return frame.check_result(result)


class _FrameEnvironment(guard.CallEnvironment):
    """What the guard shows of a frame: its instant, and its random numbers when they are asked for."""

    __slots__ = ("_frame",)

    def __init__(self, frame: Frame) -> None:
        self.kind = frame.function.kind
        self.now_ms = frame.now_ms
        self.used_time = False
        self._frame = frame

    @property
    def random(self) -> random.Random:  # type: ignore[override]
        return self._frame.random_source()


class Frame:
    """One function's run: the host of its ctx, its database and its scheduler."""

    def __init__(
        self, run: Run, instance: ComponentInstance, namespace: int, function: Function, *, is_top: bool
    ) -> None:
        self.run = run
        self.instance = instance
        self.namespace = namespace
        self.function = function
        self.transaction = run.transaction
        self.cursor_secret = run.cursor_secret
        self.query_journal = run.call.journal if is_top else None
        self.now_ms = run.now_ms
        self.job_id = run.job_id
        self.scheduled = run.scheduled
        self.finished_jobs = run.finished_jobs
        self._is_top = is_top
        self._has_paginated = False
        self._stream = run.next_stream()
        self._random: random.Random | None = None

    # --- identity, time, randomness

    @property
    def identity(self) -> Mapping[str, Any] | None:
        return self.run.identity if self.instance.path == "" else None

    def note_identity_read(self) -> None:
        if self.instance.path == "":
            self.run.used_identity = True

    def read_clock_ms(self) -> int:
        self.run.used_time = True
        return self.run.now_ms

    def random_source(self) -> random.Random:
        """See `FunctionHost`. Made when first asked for: seeding costs more than many a function."""
        if self._random is None:
            self._random = random.Random(self._stream)
        return self._random

    def transaction_metrics(self) -> dict[str, dict[str, int]]:
        """See `FunctionHost`."""
        return {
            metric.wire_name: {"used": metric.used, "remaining": metric.limit - metric.used}
            for metric in metrics_of(self.run)
        }

    def function_metadata(self) -> dict[str, str]:
        """See `FunctionHost`."""
        function = self.function
        return {
            "name": function.path,
            "componentPath": self.instance.path,
            "type": function.kind,
            "visibility": function.visibility,
        }

    def request_metadata(self) -> dict[str, str | None]:
        """See `FunctionHost`."""
        return {"requestId": self.run.call.request_id, "scheduledFunctionId": self.run.job_id}

    # --- arguments and results

    def check_args(self, args: dict[str, Any]) -> None:
        """Refuse what the function's validator, or the size bound, refuses."""
        limit = self.run.generation.limits.args_bytes
        if (size := size_beyond(args, limit)) is not None:
            raise too_large(f"Arguments for {self.function.path} are", size, limit)
        validator: Validator | None = self.function.args
        if validator is not None:
            try:
                validator.check(args, NamespaceTables(self))
            except ValidationFailed as error:
                raise ArgumentsInvalid(f"ArgumentValidationError: {error}") from None

    def check_result(self, result: Any) -> Any:
        """Refuse what is no value, too large, or not what `returns` says; gives a copy."""
        if isinstance(result, Query):
            raise QueryError(
                f"{self.function.path} returned a Query. Consume it with .collect(), .take(n), .first(), .unique() or "
                f"list(…) and return that."
            )
        try:
            value = normalize(self.function.result(result))
        except InvalidValue as error:
            raise InvalidValue(f"The return value of {self.function.path} is no Convex value: {error}") from None
        limit = self.run.generation.limits.result_bytes
        if (size := size_beyond(value, limit)) is not None:
            raise too_large(f"The result of {self.function.path} is", size, limit)
        validator: Validator | None = self.function.returns
        if validator is not None:
            try:
                validator.check(value, NamespaceTables(self))
            except ValidationFailed as error:
                raise ReturnsInvalid(f"ReturnsValidationError: {error}") from None
        return value

    def schema_of(self, table: str) -> Validator | None:
        """See `DatabaseHost`."""
        schema = self.instance.schema
        return None if schema is None else schema.enforced_validator(table)

    # --- nested calls and references

    def call_nested(
        self,
        kind: str,
        reference: Any,
        args: dict[str, Any] | None,
        transaction_limits: Mapping[str, int] | None = None,
        *,
        stale_snapshot: bool = False,
    ) -> Any:
        """See `FunctionHost`: a sub-transaction; an error takes its writes along, not its reads."""
        located = self.run.resolver.locate(self.instance, reference)
        if located.function.kind != kind:
            raise wrong_kind(located.function, kind)
        arguments = normalize({} if args is None else args)
        run = self.run
        if stale_snapshot:
            if self.function.kind != "mutation":
                raise QueryError("stale_snapshot=True is only supported in mutations.")
            with run.at_stale_snapshot(), capped(run, transaction_limits):
                return run.invoke(located, arguments, is_top=False)
        savepoint = self.transaction.savepoint()
        marks = len(self.run.jobs), len(self.run.canceled_jobs)
        try:
            if transaction_limits is None:
                return run.invoke(located, arguments, is_top=False)
            with capped(run, transaction_limits):
                return run.invoke(located, arguments, is_top=False)
        except BaseException:  # SystemExit too, and the time limit: whoever swallows them does not get the writes
            self.transaction.rollback(savepoint)
            del self.run.jobs[marks[0] :]
            del self.run.canceled_jobs[marks[1] :]
            raise

    def create_handle(self, reference: Any) -> str:
        """See `RunningCall`."""
        return self.run.resolver.locate(self.instance, reference).handle

    def kind_of(self, reference: Any) -> str:
        """See `RunningCall`."""
        return self.run.resolver.locate(self.instance, reference).function.kind

    def check_value(self, value: Any, validator: Validator) -> None:
        """See `RunningCall`."""
        validator.check(value, NamespaceTables(self))

    def resolve_target(self, reference: Any, purpose: str) -> Target:
        """See `SchedulingHost`."""
        try:
            located = self.run.resolver.locate(self.instance, reference)
        except FunctionNotFound as error:
            raise FunctionNotFound(f"Attempted to {purpose} function at nonexistent path: {error}") from None
        if located.function.kind not in ("mutation", "action"):
            raise InvalidRequest(
                f"Unsupported function type: {located.function.path} is a {located.function.kind}; only mutations and "
                f"actions can be scheduled."
            )
        return Target(located.namespace, located.function.path, located.function.kind == "action")

    # --- scheduled functions

    def run_here(
        self, reference: Any, args: dict[str, Any] | None, kind: str, apart_from: Any
    ) -> dict[str, Any] | None:
        """See `SchedulingHost`."""
        run = self.run
        if run.room is None:
            return None
        located = run.resolver.locate(self.instance, reference)
        if located.function.kind != kind:
            raise wrong_kind(located.function, kind)
        avoided = None if apart_from is None else run.resolver.locate(self.instance, apart_from).instance.path
        return run.room.run_here(located, normalize({} if args is None else args), avoided)

    def warn(self, text: str) -> None:
        """See `SchedulingHost`."""
        self.run.sink.add("WARN", text)

    def note_job(self, job_id: str, row: Row) -> None:
        """See `SchedulingHost`."""
        self.run.jobs.append(job_hint(job_id, row))

    def note_canceled(self, job_id: str) -> None:
        """See `SchedulingHost`."""
        self.run.canceled_jobs.append(job_id)

    # --- stored files

    @property
    def api_origin(self) -> str:
        """See `StorageHost`."""
        return self.run.generation.api_origin

    def draw_nonce(self) -> str:
        """See `StorageHost`."""
        return self.run.next_stream().hex()

    def note_deleted_file(self, uuid: str) -> None:
        """See `StorageHost`."""
        self.run.deleted_files.append(uuid)

    # --- pagination

    def begin_pagination(self) -> None:
        """See `PaginationHost`."""
        if self.instance.path != "":
            raise QueryError("paginate() is only supported in the app.")
        if self._has_paginated:
            raise QueryError(
                "This query or mutation function ran multiple paginated queries. Convex only supports a single "
                "paginated query in each function."
            )
        self._has_paginated = True

    def end_pagination(self, journal: str) -> None:
        """See `PaginationHost`."""
        if self._is_top:
            self.run.journal = journal


def wrong_kind(function: Function, asked: str) -> WrongFunctionKind:
    """A function called as another kind than it is."""
    module, _, name = function.path.partition(":")
    return WrongFunctionKind(
        f"Trying to execute {module}.js:{name} as {KIND_NAMES[asked]}, but it is defined as "
        f"{KIND_NAMES[function.kind]}."
    )
