"""The words between the engine and whoever drives it: what came in, what the handler asks for, how things ended.

A *resolution* is one piece of news for the handler. It carries the instant at which it was consumed, because time
stands still for the handler between two of them. A *command* is what the handler asked for while it took the news.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

StepKind: TypeAlias = Literal["query", "mutation", "action", "sleep", "event", "workflow"]


@dataclass(frozen=True, slots=True)
class Success:
    """A function returned `value`, or the handler did."""

    value: Any = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A function raised, or the handler did.

    Args:
        error: class and message, as one text.
        data: the data of a `ConvexError`, else None.
        traceback: the user's frames as text, where they are known.
    """

    error: str
    data: Any = None
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Canceled:
    """A step was withdrawn, or the run was canceled."""


Outcome: TypeAlias = Success | Failure | Canceled


@dataclass(frozen=True, slots=True)
class Started:
    """The run begins; always resolution 0."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class StepResolved:
    """Step `position` has its outcome."""

    now_ms: int
    position: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer of the handler's loop (`asyncio.sleep`, `asyncio.timeout`) is due.

    `number` counts the timers of the run from 0 in the order of their creation.
    """

    now_ms: int
    number: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """The run shall end; the handler gets `asyncio.CancelledError` at its await and may still run steps."""

    now_ms: int


Resolution: TypeAlias = Started | StepResolved | TimerFired | CancelRequested


@dataclass(frozen=True, slots=True)
class StartStep:
    """Start a step.

    Args:
        position: its number in the run: dense, from 0, in the order in which the handler issued them.
        function: path ("module:name") or handle; None for sleeps and events.
        args: a copy of the arguments, taken when the step was issued.
        is_named: `name` was given by the user; then a moved function (another path) still fits the journal.
        delay_ms: wait before the function starts.
        duration_ms: length of a sleep, None for others.
        transaction_limits: of an inline step, see `ctx.run_query`; None for those of its wave.
        on_parent_cancel: "abandon" for a child run that outlives this one, else None.
        retry: the policy of an action in plain data, None without.
    """

    position: int
    kind: StepKind
    name: str
    function: str | None
    args: dict[str, Any]
    is_named: bool = False
    is_inline: bool = False
    has_unstable_args: bool = False
    delay_ms: int = 0
    duration_ms: int | None = None
    retry: dict[str, Any] | None = None
    on_parent_cancel: str | None = None
    transaction_limits: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class CancelStep:
    """Withdraw a step that was started: nobody in the handler waits for it any more.

    Args:
        at_end: the handler did not give it up but ended.
    """

    position: int
    at_end: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """The handler has ended. Always the last command of a run."""

    outcome: Outcome


Command: TypeAlias = StartStep | CancelStep | Finish
