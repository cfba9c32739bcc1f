"""The seam between processes and what runs in them: a template loads a host, its workers run the host's runners.

The real host is `app_host.py`. Tests bring their own, with real processes and small handlers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, Protocol, TypeVar, cast

from convexpy.limits import FunctionLimits
from convexpy.processes.cpu_limit import CpuLimit
from convexpy.processes.messages import Load
from convexpy.runtime.messages import Call, Reply

T = TypeVar("T")
OUT_OF_MEMORY = "Python execution ran out of memory"


class FunctionRunner(Protocol):
    """What a function worker runs calls with; made in the worker's own process."""

    def snapshot(self) -> AbstractContextManager[Any]:
        """Open what the calls read: an LMDB read transaction at the latest commit."""

    def execute(self, call: Call, snapshot: Any) -> Reply:
        """Run one call. MemoryError and FunctionTimedOut may escape; the worker makes them errors of the call."""

    def close(self) -> None:
        """The worker is leaving; frees its slot in LMDB's reader table."""


class ActionHost(Protocol):
    """What an action may ask of its worker."""

    async def operation(self, call_id: int, kind: str, payload: bytes) -> bytes:
        """Let the server do something for a call and wait for the result.

        Raises:
            ConvexpyError: the server could not do it; the text is the server's.
        """

    def operation_blocking(self, call_id: int, kind: str, payload: bytes) -> bytes:
        """The same for a thread of `in_thread`."""

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Run a `def` action; it keeps the context variables. When its time is up it is left behind, not stopped."""


RunAction = Callable[[Call, ActionHost], Awaitable[Reply]]


class WorkerHost(Protocol):
    """A loaded app. Made in the template, before any fork, so it must not have opened LMDB or started threads."""

    def describe(self) -> Any:
        """Plain data for the server: functions, schemas, component tree."""

    def function_runner(self, cpu_limit: CpuLimit) -> FunctionRunner:
        """Called once in each function worker, after the fork."""

    def action_runner(self) -> RunAction:
        """Called once in each action worker, after the fork."""


def load_host(load: Load) -> WorkerHost:
    """Import the app; whatever the user's code raises comes out as it is."""
    return cast(Callable[[Load], WorkerHost], resolve(load.host))(load)


def resolve(name: str) -> Any:
    """The object that `module:attribute` names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def limits_of(load: Load) -> FunctionLimits:
    return FunctionLimits().override(load.limits)
