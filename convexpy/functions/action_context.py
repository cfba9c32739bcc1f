"""The `ctx` of actions: whatever leaves the process is one operation that the server performs.

In an `async def` action it is awaited, in a `def` action it blocks.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from convexpy.errors import NotAllowed
from convexpy.functions.identity import Auth
from convexpy.functions.schedule_times import delay_ms, instant_ms
from convexpy.functions.storage import ActionStorage

Args = dict[str, Any]
Perform = Callable[[str, Any, dict[str, Any]], Any]


class ActionHost(Protocol):
    """The run of an action, as its ctx sees it. `perform` sends one operation to the server."""

    @property
    def identity(self) -> Mapping[str, Any] | None: ...

    def perform(self, operation: str, reference: Any, payload: dict[str, Any]) -> Awaitable[Any]: ...

    def perform_blocking(self, operation: str, reference: Any, payload: dict[str, Any]) -> Any: ...

    def read_clock_ms(self) -> float:
        """Milliseconds since the epoch, now."""


class _ActionCtx:
    """What both kinds of action have in common; `perform` gives an awaitable in one, the answer itself in the other."""

    def __init__(self, host: ActionHost, perform: Perform) -> None:
        self._perform = perform
        self._read_clock_ms = host.read_clock_ms
        self.auth = Auth(lambda: None, lambda: host.identity)
        self.random = random.SystemRandom()
        self.scheduler = ActionScheduler(perform, host.read_clock_ms)
        self.storage = ActionStorage(perform)

    @property
    def db(self) -> Any:
        raise NotAllowed(
            "Actions have no ctx.db. Put the reads into a query and the writes into a mutation, and call them with "
            "ctx.run_query(…) and ctx.run_mutation(…)."
        )

    def now_ms(self) -> int:
        """Milliseconds since the epoch, now."""
        return int(self._read_clock_ms())

    def now(self) -> datetime:
        """Now, as an aware datetime in UTC."""
        return datetime.fromtimestamp(self._read_clock_ms() / 1000, UTC)

    def run_query(self, function: Any, args: Args | None = None) -> Any:
        """Run a query at the latest snapshot."""
        return self._perform("query", function, {"args": args or {}})

    def run_mutation(self, function: Any, args: Args | None = None) -> Any:
        """Run a mutation in a transaction of its own."""
        return self._perform("mutation", function, {"args": args or {}})

    def run_action(self, function: Any, args: Args | None = None) -> Any:
        """Run another action."""
        return self._perform("action", function, {"args": args or {}})


class ActionCtx(_ActionCtx):
    """The ctx of an `async def` action: whatever leaves the process is awaited."""

    def __init__(self, host: ActionHost) -> None:
        super().__init__(host, host.perform)


class BlockingActionCtx(_ActionCtx):
    """The ctx of a `def` action: the same calls, and each blocks its thread until it is answered."""

    def __init__(self, host: ActionHost) -> None:
        super().__init__(host, host.perform_blocking)


class ActionScheduler:
    """`ctx.scheduler` of actions: takes effect at once, whatever becomes of the action. Awaited in `async def` ones."""

    def __init__(self, perform: Perform, read_clock_ms: Callable[[], float]) -> None:
        self._perform = perform
        self._read_clock_ms = read_clock_ms

    def run_after(
        self,
        delay: Any,
        function: Any,
        args: Args | None = None,
        *,
        on_complete: Any = None,
        context: Any = None,
        lane: str | None = None,
        queue: str | None = None,
        completes_together: bool = False,
        on_complete_failed: Any = None,
    ) -> Any:
        """See `Scheduler.run_after`; gives the id of the row."""
        due_ms = self._read_clock_ms() + delay_ms(delay)
        callbacks = (on_complete, on_complete_failed)
        return self._schedule(due_ms, function, args, callbacks, context, lane, queue, completes_together)

    def run_at(
        self,
        when: Any,
        function: Any,
        args: Args | None = None,
        *,
        on_complete: Any = None,
        context: Any = None,
        lane: str | None = None,
        queue: str | None = None,
        completes_together: bool = False,
        on_complete_failed: Any = None,
    ) -> Any:
        """See `Scheduler.run_at`; gives the id of the row."""
        due_ms = instant_ms(when, int(self._read_clock_ms()))
        callbacks = (on_complete, on_complete_failed)
        return self._schedule(due_ms, function, args, callbacks, context, lane, queue, completes_together)

    def cancel(self, job_id: str) -> Any:
        """See `Scheduler.cancel`."""
        return self._perform("cancel", None, {"job_id": job_id})

    def _schedule(
        self,
        due_ms: float,
        function: Any,
        args: Args | None,
        callbacks: tuple[Any, Any],
        context: Any,
        lane: str | None,
        queue: str | None,
        completes_together: bool,
    ) -> Any:
        payload = {
            "due_ms": due_ms,
            "args": args or {},
            "on_complete": callbacks[0],
            "on_complete_failed": callbacks[1],
            "context": context,
            "lane": lane,
            "queue": queue,
            "completes_together": completes_together,
        }
        return self._perform("schedule", function, payload)
