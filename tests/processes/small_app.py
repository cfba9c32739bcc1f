"""A host with small handlers, in place of an app: what real worker processes run in these tests.

A call's path names a handler below; its args are JSON. Handlers that must be caught in the middle tell so through a
named pipe, and wait at another one.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import json
import mmap
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convexpy.errors import DefinitionError
from convexpy.processes.cpu_limit import CpuLimit
from convexpy.processes.host import ActionHost, RunAction
from convexpy.processes.messages import Load
from convexpy.runtime.messages import Call, Reply


def load(order: Load) -> SmallHost:
    """Called in the template. Settings say how the import shall go."""
    for line in order.settings.get("print", []):
        print(line)
    match order.settings.get("fail"):
        case "definition":
            raise DefinitionError("no such index", "messages.py", 7)
        case "exit":
            raise SystemExit("enough")
        case "syntax":
            compile("def broken(:\n", "messages.py", "exec")
        case "import":
            source = Path(order.project_folder) / "messages.py"
            exec(compile(source.read_text(), str(source), "exec"), {})
        case "death":
            os.kill(os.getpid(), signal.SIGKILL)
    if order.settings.get("threads"):
        threading.Thread(target=threading.Event().wait, name="background", daemon=True).start()
    return SmallHost(order)


class SmallHost:
    """What a template holds after `load`."""

    def __init__(self, order: Load) -> None:
        self.order = order
        self.loaded_in = os.getpid()

    def describe(self) -> Any:
        return {"generation": self.order.generation, "hash seed": os.environ["PYTHONHASHSEED"]}

    def function_runner(self, cpu_limit: CpuLimit) -> SmallRunner:
        if self.order.settings.get("fail_workers"):
            raise RuntimeError("the database is not there")
        return SmallRunner(self)

    def action_runner(self) -> RunAction:
        return run_action


class SmallRunner:
    """Runs calls; a snapshot is the count of snapshots that were opened."""

    def __init__(self, host: SmallHost) -> None:
        self.host = host
        self.snapshots = itertools.count(1)

    @contextmanager
    def snapshot(self) -> Iterator[int]:
        yield next(self.snapshots)

    def execute(self, call: Call, snapshot: int) -> Reply:
        value = FUNCTIONS[call.path](self, json.loads(call.args))
        return Reply(id=call.id, is_ok=True, value=json.dumps(value).encode(), snapshot_ts=snapshot)

    def close(self) -> None:
        if path := self.host.order.settings.get("closed_file"):
            Path(path).write_text("closed")


def _spin(runner: SmallRunner, args: Any) -> None:
    while True:
        pass


def _swallow_once(runner: SmallRunner, args: Any) -> None:
    try:
        _spin(runner, args)
    except BaseException:  # the worst that user code can do to the time limit
        _spin(runner, args)


def _swallow_exceptions(runner: SmallRunner, args: Any) -> None:
    while True:
        try:
            _spin(runner, args)
        except Exception:
            continue


def _hang(runner: SmallRunner, args: Any) -> None:
    collections.deque(itertools.repeat(0), maxlen=0)  # loops inside C, never looks at signals


def _die(runner: SmallRunner, args: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_once(runner: SmallRunner, args: Any) -> str:
    marker = Path(args)
    if not marker.exists():
        marker.touch()
        _die(runner, args)
    return "lived"


def _hold(runner: SmallRunner, args: Any) -> str:
    """Tell at one pipe that it has begun, return when the other one is opened and closed."""
    Path(args["begun"]).write_text(f"{os.getpid()}\n")
    return Path(args["release"]).read_text()


def _fill_memory(runner: SmallRunner, args: Any) -> None:
    kept = []
    while True:
        kept.append(b"x" * 10_000_000)


_kept: list[Any] = []


def _keep_memory(runner: SmallRunner, args: Any) -> None:
    _kept.append(b"x" * 40_000_000)


def _read_map(runner: SmallRunner, args: Any) -> None:
    """Read a file through a map that stays, as the database's does."""
    with Path(args).open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    for position in range(0, len(pages), mmap.PAGESIZE):
        pages[position]
    _kept.append(pages)


FUNCTIONS: dict[str, Callable[[SmallRunner, Any], Any]] = {
    "echo": lambda runner, args: args,
    "pid": lambda runner, args: os.getpid(),
    "loaded_in": lambda runner, args: runner.host.loaded_in,
    "generation": lambda runner, args: runner.host.order.generation,
    "fail": lambda runner, args: 1 / 0,
    "spin": _spin,
    "swallow_once": _swallow_once,
    "swallow_exceptions": _swallow_exceptions,
    "hang": _hang,
    "die": _die,
    "die_once": _die_once,
    "hold": _hold,
    "fill_memory": _fill_memory,
    "keep_memory": _keep_memory,
    "read_map": _read_map,
}


async def run_action(call: Call, host: ActionHost) -> Reply:
    args = json.loads(call.args)
    match call.path:
        case "echo":
            value = args
        case "pid":
            value = os.getpid()
        case "operation":
            value = (await host.operation(call.id, "double", json.dumps(args).encode())).decode()
        case "operations":
            jobs = [host.operation(call.id, "double", json.dumps(each).encode()) for each in args]
            value = [result.decode() for result in await asyncio.gather(*jobs)]
        case "thread":
            value = (await host.in_thread(lambda: host.operation_blocking(call.id, "double", call.args))).decode()
        case "wait_for_ever":
            await host.operation(call.id, "begun", b"")
            await asyncio.Event().wait()
        case "thread_for_ever":
            await host.in_thread(threading.Event().wait)
        case "hang":
            await host.operation(call.id, "begun", b"")
            collections.deque(itertools.repeat(0), maxlen=0)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "fail":
            raise RuntimeError("a bug of the platform")
    return Reply(id=call.id, is_ok=True, value=json.dumps(value).encode(), user_seconds=time.process_time())
