"""The clock and the random numbers of the call that runs in this thread: one slot a thread, used like a stack.

Per thread and not per context: asyncio copies contexts, a workflow handler runs in many, and a function's call never
leaves its thread.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from functools import wraps
from types import MethodType, ModuleType, TracebackType
from typing import Any


class CallEnvironment:
    """What one call of a query or mutation sees in place of the machine's clock and randomness.

    Args:
        kind: "query", "mutation", or "deterministic" (a workflow handler): what a refusal speaks of. "debugged" is a
            handler whose files and sockets are its developer's debugger's, which are not refused.
        now_ms: milliseconds since the Unix epoch; stands still.
        random: source of everything random; owned by the call.
    """

    __slots__ = ("kind", "now_ms", "random", "used_time")

    def __init__(self, kind: str, now_ms: int, random: random.Random) -> None:
        self.kind = kind
        self.now_ms = now_ms
        self.random = random
        self.used_time = False

    def read_clock_ms(self) -> int:
        """The instant; from now on `used_time` says that it was asked for."""
        self.used_time = True
        return self.now_ms


class Slot(threading.local):
    """Where this thread's call is found; None outside calls, and while our own code or an import runs inside one."""

    environment: CallEnvironment | None = None


slot = Slot()


class Entered:
    """Puts an environment into the slot for the body, and the one before it back."""

    # A class and no generator: it is on the path of every call, and no signal can come between storing and returning.
    __slots__ = ("_environment", "_outer")

    def __init__(self, environment: CallEnvironment | None) -> None:
        self._environment = environment
        self._outer: CallEnvironment | None = None

    def __enter__(self) -> None:
        self._outer = slot.environment
        slot.environment = self._environment

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        slot.environment = self._outer


def call(environment: CallEnvironment) -> Entered:
    """Run the body as a call that sees `environment`; a call inside it has its own, and afterwards this one is back."""
    return Entered(environment)


def deterministic(now_ms: int, random: random.Random, *, is_debugged: bool = False) -> Entered:
    """Give the body a clock of its own, which stands at `now_ms`, and random numbers of its own.

    Inside a query or mutation: that it reads this clock is not counted as a read of the call's. Works only where the
    guard is installed: in function workers, and in tests that run functions.

    Args:
        now_ms: milliseconds since the Unix epoch.
        is_debugged: files and sockets are not refused, so that a debugger can do its work inside the body.
    """
    return Entered(CallEnvironment("debugged" if is_debugged else "deterministic", now_ms, random))


def suspended() -> Entered:
    """Let the body, our own code that a call runs, see the real clock, randomness and files."""
    return Entered(None)


def suspending(real: Callable[..., Any]) -> Callable[..., Any]:
    """A function that does what `real` does, with the slot empty meanwhile."""

    @wraps(real)
    def run_suspended(*args: Any, **kwargs: Any) -> Any:
        outer = slot.environment
        if outer is None:
            return real(*args, **kwargs)
        slot.environment = None
        try:
            return real(*args, **kwargs)
        finally:
            slot.environment = outer

    return run_suspended


def replace(module: ModuleType, name: str, in_call: Callable[..., Any]) -> None:
    """Replace a function for good; in a call, `in_call` gets the call's environment and the arguments."""
    real = getattr(module, name)

    def dispatch(real: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        environment = slot.environment
        if environment is None:
            return real(*args, **kwargs)
        return in_call(environment, *args, **kwargs)

    # Bound, as `random.random` always was: a function in a class body (`converter = time.gmtime`) would get `self`.
    setattr(module, name, MethodType(wraps(real)(dispatch), real))


def reset() -> None:
    """Empty this thread's slot, for a worker between two calls.

    FunctionTimedOut comes from a signal; one that comes just when a call is being left keeps it from being left.
    """
    slot.environment = None
