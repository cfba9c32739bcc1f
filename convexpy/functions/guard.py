"""Keeps queries, mutations and workflow handlers deterministic: their clock stands still, their randomness is seeded,
and files, sockets, processes and threads are refused.

    guard.install()                                    once a process, before the app is imported
    slot = guard.CallEnvironment(kind="query", now_ms=now_ms, random=random.Random(seed))
    with guard.call(slot):
        ...                                            time.time() is now_ms / 1000, open() raises NotAllowed
    slot.used_time                                     whether a clock was read

It catches mistakes. It is no security boundary: the app is its operator's own code, and code that wants to get around
it can. Outside calls everything is as Python has it: so in the test backend's process, and in action workers, which are
forked from the same imported app as function workers and never enter a call. The server does not install it.

Three things pass inside a call: imports, which read files and see the real clock, since what they make outlives the
call; source lines for tracebacks; tables of time zones.
"""

from __future__ import annotations

import builtins
import importlib
import linecache
from types import ModuleType

from convexpy.functions import deterministic_datetime, deterministic_modules, refusals
from convexpy.functions.call_environment import CallEnvironment, call, deterministic, reset, suspended, suspending

__all__ = ["CallEnvironment", "call", "deterministic", "install", "reset", "suspended"]

_PASSING: tuple[tuple[ModuleType, str], ...] = (
    (builtins, "__import__"),
    (importlib, "import_module"),
    (linecache, "updatecache"),
)
_is_installed = False


def install() -> None:
    """Guard this process from now on, and those that it forks; a second time does nothing.

    Modules that took a function or class by name before this (`from time import time`) keep the real one.
    """
    global _is_installed
    if _is_installed:
        return
    _is_installed = True
    deterministic_modules.install()
    deterministic_datetime.install()
    for module, name in _PASSING:
        setattr(module, name, suspending(getattr(module, name)))
    refusals.install()
