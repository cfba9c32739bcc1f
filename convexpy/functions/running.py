"""The run that a piece of code belongs to, for helpers that get no ctx: `create_function_handle`, `function_kind`,
`validate`.

Per context, so that actions which run side by side in one process each find their own.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Protocol

from convexpy.errors import NotAllowed
from convexpy.values import Validator


class RunningCall(Protocol):
    """What such helpers may ask."""

    def create_handle(self, reference: Any) -> str:
        """A handle for a function, as the running call's component sees it."""

    def kind_of(self, reference: Any) -> str:
        """The kind of a function, as the running call's component sees it."""

    def check_value(self, value: Any, validator: Validator) -> None:
        """Refuse a value that does not fit; `v.id(…)` means a table of the running call's component."""


_current: ContextVar[RunningCall | None] = ContextVar("convexpy_running_call", default=None)


class running:  # noqa: N801  (used like a function)
    """Make `call` the running one for the body."""

    # A class and no generator: it is on the path of every call.
    __slots__ = ("_call", "_token")

    def __init__(self, call: RunningCall) -> None:
        self._call = call
        self._token: Token[RunningCall | None]

    def __enter__(self) -> None:
        self._token = _current.set(self._call)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)


def create_function_handle(function: Any) -> str:
    """A string that names a function across components: storable, passable, callable with `run_*` and the scheduler.

    Raises:
        NotAllowed: outside a function's run.
        FunctionNotFound: no such function.
    """
    call = _current.get()
    if call is None:
        raise NotAllowed("create_function_handle() works inside a query, mutation or action, not at import time.")
    return call.create_handle(function)


def function_kind(function: Any) -> str:
    """Tell what a function is: "query", "mutation" or "action". For helpers that take references from others.

    Raises:
        NotAllowed: outside a function's run.
        FunctionNotFound: no such function.
    """
    call = _current.get()
    if call is None:
        raise NotAllowed("function_kind() works inside a query, mutation or action, not at import time.")
    return call.kind_of(function)


def validate(value: Any, validator: Validator) -> None:
    """Check a value that came some other way than as an argument, for helpers that take values for others.

    Outside a function's run, as in a test, no tables are known: there `v.id(…)` takes a document id of any table.

    Raises:
        ValidationFailed: it does not fit; the text says what, where, and what was expected.
    """
    call = _current.get()
    if call is None:
        validator.check(value, None)
    else:
        call.check_value(value, validator)
