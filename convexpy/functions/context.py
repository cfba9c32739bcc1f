"""The `ctx` of queries and mutations: what they may do, each in its own class; that of actions is in `action_context`.

A ctx is a thin face on its host, the run that it belongs to; the runtime implements the host. Everything returns at
once.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from convexpy.functions.database import DatabaseHost, DatabaseReader, DatabaseWriter
from convexpy.functions.identity import Auth
from convexpy.functions.scheduling import Scheduler, SchedulingHost
from convexpy.functions.storage import StorageHost, StorageReader, StorageWriter

T = TypeVar("T")
Args = dict[str, Any]


class FunctionHost(DatabaseHost, SchedulingHost, StorageHost, Protocol):
    """The run of a query or mutation, as its ctx sees it."""

    @property
    def identity(self) -> Mapping[str, Any] | None: ...

    def call_nested(
        self,
        kind: str,
        reference: Any,
        args: Args | None,
        transaction_limits: Mapping[str, int] | None = None,
        *,
        stale_snapshot: bool = False,
    ) -> Any:
        """Run another query or mutation in this transaction."""

    def transaction_metrics(self) -> dict[str, dict[str, int]]:
        """What the whole transaction has used of each bound, by wire name: `{"used", "remaining"}`."""

    def function_metadata(self) -> dict[str, str]:
        """The running function: name, componentPath, type, visibility."""

    def request_metadata(self) -> dict[str, str | None]:
        """The call: requestId, and scheduledFunctionId where a scheduled function has caused it."""

    def read_clock_ms(self) -> int:
        """The run's instant; marks the run as dependent on time."""

    def random_source(self) -> random.Random:
        """The run's own random numbers, the same in every replay of the same attempt."""

    def note_identity_read(self) -> None:
        """Mark the run as dependent on who called."""


class first_use(Generic[T]):  # noqa: N801  (a decorator)
    """An attribute that is made when it is first asked for: most calls need one part of their ctx."""

    # functools.cached_property holds a lock in Python 3.11.

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, ctx: Any, owner: type | None = None) -> T:
        made = ctx.__dict__[self._name] = self._make(ctx)
        return made


class _FunctionCtx:
    """What queries and mutations have in common."""

    def __init__(self, host: FunctionHost) -> None:
        self._host = host

    @first_use
    def auth(self) -> Auth:
        """Who called."""
        host = self._host
        return Auth(host.note_identity_read, lambda: host.identity)

    def now_ms(self) -> int:
        """Milliseconds since the epoch; one instant for the whole run, nested calls included."""
        return self._host.read_clock_ms()

    def now(self) -> datetime:
        """The same instant as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)

    @property
    def random(self) -> random.Random:
        """Random numbers of this run."""
        return self._host.random_source()

    def uuid(self) -> str:
        """A random UUID (version 4) of this run."""
        return str(uuid.UUID(bytes=self.random.randbytes(16), version=4))

    def run_query(
        self,
        function: Any,
        args: Args | None = None,
        *,
        transaction_limits: Mapping[str, int] | None = None,
        stale_snapshot: bool = False,
    ) -> Any:
        """Run another query at the same snapshot; in a mutation it sees the pending writes.

        Args:
            transaction_limits: what the query may use at most, by names of limits (`documents_read`, `bytes_read`, …);
                never more than this function has left.
            stale_snapshot: in a mutation: without the pending writes, with bounds of its own for what it reads, and
                without a conflict if that changes before the commit.
        """
        return self._host.call_nested("query", function, args, transaction_limits, stale_snapshot=stale_snapshot)


class FunctionMeta:
    """`ctx.meta` of queries: what runs, and what it has used."""

    def __init__(self, host: FunctionHost) -> None:
        self._host = host

    def function_metadata(self) -> dict[str, str]:
        """The running function: name, componentPath, type, visibility."""
        return self._host.function_metadata()

    def transaction_metrics(self) -> dict[str, dict[str, int]]:
        """`{"used", "remaining"}` of each bound of the whole transaction, in Convex's names (`documentsRead`, …).

        Under `transaction_limits` what remains is of the nested call's own bounds.
        """
        return self._host.transaction_metrics()


class MutationMeta(FunctionMeta):
    """`ctx.meta` of mutations; queries do not have the request, since callers share their results."""

    def request_metadata(self) -> dict[str, str | None]:
        """The call: requestId, and scheduledFunctionId where a scheduled function has caused it."""
        return self._host.request_metadata()


class QueryCtx(_FunctionCtx):
    """Reads at one snapshot."""

    @first_use
    def meta(self) -> FunctionMeta:
        """What runs, and what it has used."""
        return FunctionMeta(self._host)

    @first_use
    def db(self) -> DatabaseReader:
        """The tables of this component."""
        return DatabaseReader(self._host)

    @first_use
    def storage(self) -> StorageReader:
        """Stored files."""
        return StorageReader(self._host)


class MutationCtx(_FunctionCtx):
    """Reads and writes in one serializable transaction."""

    @first_use
    def meta(self) -> MutationMeta:
        """What runs, for which call, and what it has used."""
        return MutationMeta(self._host)

    @first_use
    def db(self) -> DatabaseWriter:
        """The tables of this component."""
        return DatabaseWriter(self._host)

    @first_use
    def storage(self) -> StorageWriter:
        """Stored files."""
        return StorageWriter(self._host)

    @first_use
    def scheduler(self) -> Scheduler:
        """Functions that run later."""
        return Scheduler(self._host)

    def run_mutation(
        self, function: Any, args: Args | None = None, *, transaction_limits: Mapping[str, int] | None = None
    ) -> Any:
        """Run another mutation as a sub-transaction: if it raises its writes are gone, and this one may go on.

        Args:
            transaction_limits: see `run_query`. A mutation that is rolled back gives back its writes, not its reads.
        """
        return self._host.call_nested("mutation", function, args, transaction_limits)
