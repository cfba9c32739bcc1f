"""Refuses files, sockets, processes, threads and waiting inside a call, mostly through one audit hook.

The hook sees what CPython reports: os.stat and reads of open descriptors are not reported and pass.
Source: CPython, Doc/library/audit_events.rst.
"""

from __future__ import annotations

import _thread
import importlib.util
import os
import select
import signal
import sys
import threading
import time
import zoneinfo
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

from convexpy.errors import NotAllowed
from convexpy.functions.call_environment import CallEnvironment, replace, slot

# Events that are named like the function that raises them.
_FUNCTION_EVENTS = """
os.chdir os.chflags os.chmod os.chown os.exec os.fork os.forkpty os.fwalk os.getxattr os.kill os.killpg os.link
os.listdir os.listdrives os.listmounts os.listvolumes os.listxattr os.lockf os.mkdir os.posix_spawn os.putenv os.remove
os.removexattr os.rename os.rmdir os.scandir os.setxattr os.spawn os.startfile os.startfile/2 os.symlink os.system
os.truncate os.unsetenv os.utime os.walk
shutil.chown shutil.copyfile shutil.copymode shutil.copystat shutil.copytree shutil.make_archive shutil.move
shutil.rmtree shutil.unpack_archive
pathlib.Path.glob pathlib.Path.rglob glob.glob glob.glob/2 tempfile.mkdtemp tempfile.mkstemp
fcntl.fcntl fcntl.flock fcntl.ioctl fcntl.lockf
subprocess.Popen pty.spawn
socket.bind socket.connect socket.getaddrinfo socket.gethostbyaddr socket.gethostbyname socket.gethostname
socket.getnameinfo socket.getservbyname socket.getservbyport socket.sendmsg socket.sendto socket.sethostname
ftplib.connect ftplib.sendcmd http.client.connect http.client.send imaplib.open imaplib.send nntplib.connect
nntplib.putline poplib.connect poplib.putline smtplib.connect smtplib.send telnetlib.Telnet.open telnetlib.Telnet.write
sqlite3.connect syslog.openlog syslog.syslog webbrowser.open signal.pthread_kill
"""

# Events with another name than what the user has written.
_THINGS = {
    **{event: f"{event.partition('/')[0]}()" for event in _FUNCTION_EVENTS.split()},
    "open": "open()",
    "mmap.__new__": "mmap.mmap()",
    "socket.__new__": "socket.socket()",
    "urllib.Request": "urllib.request",
    "builtins.input": "input()",
    "_thread.start_joinable_thread": "threads",
}

# What raises no event in all versions (time.sleep before Python 3.13, threads before 3.12), or in none.
_REPLACED: tuple[tuple[ModuleType, str, str], ...] = (
    (time, "sleep", "time.sleep()"),
    (_thread, "start_new_thread", "threads"),
    (threading, "_start_new_thread", "threads"),
    (select, "select", "select.select()"),
    (select, "poll", "select.poll()"),
    (signal, "alarm", "signal.alarm()"),
)
_real_wait = threading.Condition.wait
# A workflow handler has other means than a query: whatever it does in a step is done once.
_IN_HANDLER = {
    "time.sleep()": "Pause with step.sleep(…).",
    "waits for threads": "Wait for tasks, events and queues of asyncio instead.",
}
_zone_packages: list[str] = []


def install() -> None:
    """Add the hook; once a process, for it cannot be taken away."""
    for module, name, thing in _REPLACED:
        if hasattr(module, name):
            replace(module, name, _refusing(thing))
    _refuse_waits()
    spec = importlib.util.find_spec("tzdata")  # tables of time zones for machines that have none, a package of PyPI's
    _zone_packages.extend((spec and spec.submodule_search_locations) or ())
    sys.addaudithook(_refuse_in_call)


def _refusal(environment: CallEnvironment, thing: str) -> NotAllowed:
    """The error for something that code of this kind may not do."""
    if environment.kind in ("deterministic", "debugged"):
        instead = _IN_HANDLER.get(thing, "Do it in a step: step.run_action(…).")
        return NotAllowed(f"Can't use {thing} in a workflow handler. {instead}")
    return NotAllowed(f"Can't use {thing} in queries and mutations. Please consider using an action.")


def _refusing(thing: str) -> Callable[..., Any]:
    def refuse(environment: CallEnvironment, *args: Any, **kwargs: Any) -> None:
        raise _refusal(environment, thing)

    return refuse


def _refuse_waits() -> None:
    """Events, queues and futures of threads wait here. No other thread can have been started that would end it."""

    @wraps(_real_wait)
    def wait(self: threading.Condition, timeout: float | None = None) -> bool:
        environment = slot.environment
        is_wait = timeout is None or timeout > 0
        if is_wait and environment is not None and environment.kind != "debugged":
            raise _refusal(environment, "waits for threads")
        return _real_wait(self, timeout)

    threading.Condition.wait = wait  # type: ignore[method-assign]


def _refuse_in_call(event: str, arguments: tuple[Any, ...]) -> None:
    thing = _THINGS.get(event)
    if thing is None or (environment := slot.environment) is None:
        return
    if environment.kind == "debugged":
        return
    if event == "open" and _is_time_zone(*arguments[:2]):
        return
    raise _refusal(environment, thing)


def _is_time_zone(path: Any, mode: Any) -> bool:
    # The first use of a time zone reads its table, which is part of the Python installation, like a module.
    if not isinstance(path, str) or mode not in ("r", "rb"):
        return False
    places = tuple(f"{place}{os.sep}" for place in (*zoneinfo.TZPATH, *_zone_packages))
    return os.path.normpath(path).startswith(places)
