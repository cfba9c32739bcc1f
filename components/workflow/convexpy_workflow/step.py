"""The `step` object: what a handler calls.

Its methods are coroutine functions: a step is issued, and its position assigned, when the coroutine first runs, so in
`asyncio.gather` in the order of its arguments and with `create_task` in the order of creation.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from convexpy_workflow.arguments import checked_aware, checked_flag, checked_object, checked_text, shown
from convexpy_workflow.commands import StartStep, StepKind
from convexpy_workflow.engine import Engine
from convexpy_workflow.events import Event, address_event
from convexpy_workflow.retries import Retry, checked_choice_of_retry, choose_retry, to_milliseconds


class StepHost(Protocol):
    """What a step object needs to know about the app around it."""

    def function_name(self, function: Any) -> str:
        """Resolve a reference to the text that the journal keeps: "module:name", or a handle."""

    def copy_args(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Copy arguments as a document would keep them, so that later changes to the original do not count."""

    def check_event(self, event: Event, value: Any) -> None:
        """Refuse a value that does not fit the event's validator, with an `EventError`."""


class Step:
    """Durable effects, one method each. Every call is journaled; its outcome is the same in every replay.

    Args:
        workflow_id: the run's id.
        randomness: the run's own stream of random numbers, the same in every replay.
        version: of the workflow when the run was started.
        default_retry: what `retry=True` means for actions.
        is_retry_default: whether actions that say nothing are retried.
    """

    def __init__(
        self,
        engine: Engine,
        host: StepHost,
        workflow_id: str,
        randomness: random.Random,
        default_retry: Retry | None = None,
        is_retry_default: bool = False,
        version: int = 1,
    ) -> None:
        self._engine = engine
        self._host = host
        self._workflow_id = workflow_id
        self._randomness = randomness
        self._default_retry = default_retry or Retry()
        self._is_retry_default = is_retry_default
        self._version = version
        self._unstable_args = False
        self._retry: bool | Retry | None = None

    @property
    def workflow_id(self) -> str:
        """The id that `start` returned."""
        return self._workflow_id

    @property
    def random(self) -> random.Random:
        """The run's random numbers: the same stream in every replay, another one for each run."""
        return self._randomness

    @property
    def version(self) -> int:
        """The `version=` that the workflow had when this run was started."""
        return self._version

    def patched(self, name: str) -> bool:
        """Tell whether this run takes a change of the code: put the new code under it, the old one under `else`.

        True for runs that come here for the first time, and in all their replays; False for those that passed here
        with the old code. The first answer holds for the whole run. Once no such run is left, replace it by
        `deprecate_patch`; once all runs that were `patched` have ended, remove that too.

        Args:
            name: of the change, never used for another one in this workflow.
        """
        self._engine.check_inside()
        checked_text(name, "The name of a patch")
        return self._engine.patches.ask(name, self._engine.resolutions_fed)

    def deprecate_patch(self, name: str) -> None:
        """Stand where `patched` stood, now that only the new branch is left: runs are still marked with the change."""
        self._engine.check_inside()
        checked_text(name, "The name of a patch")
        self._engine.patches.take(name, self._engine.resolutions_fed)

    def now(self) -> datetime:
        """The run's present instant, UTC. It stands still between two awaits, and is the same in every replay."""
        return datetime.fromtimestamp(self._engine.now_ms / 1000, tz=UTC)

    def uuid4(self) -> uuid.UUID:
        """A random UUID from the run's own stream."""
        return uuid.UUID(int=self._randomness.getrandbits(128), version=4)

    def with_options(self, *, unstable_args: bool | None = None, retry: bool | Retry | None = None) -> Step:
        """Derive a step object with other defaults; this one stays as it is. Options of a call win over both.

        Args:
            unstable_args: do not compare arguments with the journal.
            retry: policy for actions that say nothing themselves.
        """
        if unstable_args is not None:
            checked_flag(unstable_args, "unstable_args")
        if retry is not None:
            checked_choice_of_retry(retry)
        derived = Step.__new__(Step)
        derived.__dict__.update(self.__dict__)
        if unstable_args is not None:
            derived._unstable_args = unstable_args
        if retry is not None:
            derived._retry = retry
        return derived

    async def run_query(
        self,
        function: Any,
        args: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        inline: bool = False,
        unstable_args: bool | None = None,
        run_after: timedelta | float | None = None,
        run_at: datetime | None = None,
        transaction_limits: Mapping[str, int] | None = None,
    ) -> Any:
        """Run a query; see `run_mutation` for the arguments."""
        return await self._run(
            *("query", function, args, name, inline, unstable_args, run_after, run_at, None),
            transaction_limits=transaction_limits,
        )

    async def run_mutation(
        self,
        function: Any,
        args: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        inline: bool = False,
        unstable_args: bool | None = None,
        run_after: timedelta | float | None = None,
        run_at: datetime | None = None,
        transaction_limits: Mapping[str, int] | None = None,
    ) -> Any:
        """Run a mutation exactly once: its writes, its journal entry and what the handler does next are one commit.

        Args:
            function: the function, a reference to it, or "module:name".
            name: keeps the journal readable after the function has moved; the path is not compared then.
            inline: run it inside the handler's own transaction instead of as a job of its own.
            unstable_args: do not compare the arguments with the journal in a replay.
            run_after: wait this long (`timedelta` or seconds) before it runs.
            run_at: run it at this instant (aware).
            transaction_limits: how much of the handler's transaction it may use, where it is inline; see
                `ctx.run_query`.

        Returns:
            what the function returned, `None` if nothing.

        Raises:
            StepFailed: the function raised.
            StepCanceled: it was withdrawn before it ran.
        """
        return await self._run(
            *("mutation", function, args, name, inline, unstable_args, run_after, run_at, None),
            transaction_limits=transaction_limits,
        )

    async def run_action(
        self,
        function: Any,
        args: Mapping[str, Any] | None = None,
        *,
        retry: bool | Retry | None = None,
        name: str | None = None,
        unstable_args: bool | None = None,
        run_after: timedelta | float | None = None,
        run_at: datetime | None = None,
    ) -> Any:
        """Run an action: at most once an attempt, and once in all without `retry`.

        Args:
            retry: True for the manager's policy, False for none, or a policy. A failed attempt is repeated after its
                back-off; the handler sees the last one only.

        Other arguments, result and errors: as `run_mutation`.
        """
        chosen = choose_retry(self._retry if retry is None else retry, self._default_retry, self._is_retry_default)
        return await self._run("action", function, args, name, False, unstable_args, run_after, run_at, chosen)

    async def run_workflow(
        self,
        workflow: Any,
        args: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        unstable_args: bool | None = None,
        run_after: timedelta | float | None = None,
        run_at: datetime | None = None,
        on_parent_cancel: Literal["cancel", "abandon"] = "cancel",
    ) -> Any:
        """Run another workflow as a step. It is a run of its own, with a journal, status and steps of its own.

        A child that this handler gives up (a timeout, a lost race) is canceled, with its own children. A child that is
        canceled or fails does not touch this run but by what it raises here.

        Args:
            workflow: what `define` made, a reference to it, or a function handle of one of another component.
            on_parent_cancel: what becomes of the child if this run ends first: "cancel", or "abandon" to let it go on.

        Returns:
            what its handler returned.

        Raises:
            StepFailed: it failed; the text is its failure's.
            StepCanceled: it was canceled.

        Other arguments: as `run_mutation`.
        """
        if on_parent_cancel not in ("cancel", "abandon"):
            raise ValueError(f'on_parent_cancel is "cancel" or "abandon", not {shown(on_parent_cancel)}.')
        return await self._run(
            *("workflow", workflow, args, name, False, unstable_args, run_after, run_at, None),
            on_parent_cancel=None if on_parent_cancel == "cancel" else on_parent_cancel,
        )

    async def sleep(self, duration: timedelta | float, *, name: str = "sleep") -> None:
        """Wait, over restarts too. Unlike `asyncio.sleep` it is a step, so the timeline shows it.

        Args:
            duration: `timedelta` or seconds.
        """
        duration_ms = to_milliseconds(duration, "The duration of step.sleep")
        checked_text(name, "name")
        await self._engine.run_step(
            lambda position: StartStep(
                position, "sleep", name, None, {}, is_named=name != "sleep", duration_ms=duration_ms
            )
        )

    async def sleep_until(self, instant: datetime, *, name: str = "sleep") -> None:
        """Wait until an instant (aware); one that has passed is no wait, but still a step."""
        await self.sleep(self._delay_until(instant, "The instant of step.sleep_until") / 1000, name=name)

    def _delay_until(self, instant: datetime, what: str) -> int:
        return max(0, round(checked_aware(instant, what).timestamp() * 1000) - self._engine.now_ms)

    async def await_event(
        self, event: Event | str | None = None, *, event_id: str | None = None, name: str | None = None
    ) -> Any:
        """Wait for an event that `send_event` sends to this run; one that was sent before is taken at once.

        An `asyncio.timeout` around it ends the wait; what is sent later goes to the next await of the name.

        Args:
            event: what `define_event` made (then the value is checked), or the name.
            event_id: wait for this event only, which `create_event` made.
            name: of the step; by default the event's name, else its id.

        Returns:
            the value that was sent.

        Raises:
            StepFailed: an error was sent, or there is no such event, or it is awaited or consumed already.
            EventError: the value does not fit the validator.
        """
        self._engine.check_inside()
        address = address_event(event, event_id)
        if name is not None:
            checked_text(name, "name")
        value = await self._engine.run_step(
            lambda position: StartStep(
                position,
                "event",
                name or address.name or address.event_id or "event",
                None,
                address.to_args(),
                is_named=name is not None,
            )
        )
        if address.definition is not None:
            self._host.check_event(address.definition, value)
        return value

    async def _run(
        self,
        kind: StepKind,
        function: Any,
        args: Mapping[str, Any] | None,
        name: str | None,
        is_inline: bool,
        unstable_args: bool | None,
        run_after: timedelta | float | None,
        run_at: datetime | None,
        retry: Retry | None,
        on_parent_cancel: str | None = None,
        transaction_limits: Mapping[str, int] | None = None,
    ) -> Any:
        self._engine.check_inside()
        if run_after is not None and run_at is not None:
            raise ValueError("run_after and run_at exclude each other.")
        if name is not None:
            checked_text(name, "name")
        checked_flag(is_inline, "inline")
        if unstable_args is not None:
            checked_flag(unstable_args, "unstable_args")
        if is_inline and (run_after is not None or run_at is not None):
            raise ValueError("Cannot combine `inline` with `run_at` or `run_after`.")
        if transaction_limits is not None and not is_inline:
            raise ValueError("Cannot set transaction limits for non-inline functions.")
        delay_ms = 0
        if run_after is not None:
            delay_ms = to_milliseconds(run_after, "run_after")
        elif run_at is not None:
            delay_ms = self._delay_until(run_at, "run_at")
        path = self._host.function_name(function)
        copied = self._host.copy_args({} if args is None else checked_object(args, "args"))

        def make(position: int) -> StartStep:
            return StartStep(
                position=position,
                kind=kind,
                name=path if name is None else name,
                function=path,
                args=copied,
                is_named=name is not None,
                is_inline=is_inline,
                has_unstable_args=self._unstable_args if unstable_args is None else unstable_args,
                delay_ms=delay_ms,
                retry=None if retry is None else retry.to_fields(),
                on_parent_cancel=on_parent_cancel,
                transaction_limits=transaction_limits,
            )

        return await self._engine.run_step(make)
