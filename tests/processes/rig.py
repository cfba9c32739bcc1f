"""Pools with real processes for the tests of this room."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from convexpy.limits import FunctionLimits
from convexpy.processes.action_pool import ActionPool
from convexpy.processes.messages import Load, Output
from convexpy.processes.pool import FunctionPool
from convexpy.processes.template_process import TemplateProcess
from convexpy.runtime.messages import Call, CallKind
from tests.patience import PATIENCE_SECONDS

T = TypeVar("T")
SMALL_APP = "tests.processes.small_app:load"
_call_ids = itertools.count(1)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a test on the server's event loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def call(path: str, args: Any = None, kind: CallKind = "query") -> Call:
    return Call(id=next(_call_ids), kind=kind, component="", path=path, args=json.dumps(args).encode())


def small_load(generation: int = 1, limits: dict[str, float] | None = None, **settings: Any) -> Load:
    return Load(
        host=SMALL_APP,
        project_folder=settings.pop("project_folder", "/nowhere"),
        data_folder="/nowhere",
        generation=generation,
        limits=limits or {},
        settings=settings,
    )


async def started_template(order: Load, output: list[Output] | None = None) -> TemplateProcess:
    template = TemplateProcess((output if output is not None else []).append)
    await template.start()
    await template.load(order)
    return template


class Reports(list[str]):
    """The server's log, as far as these processes write it."""

    def having(self, text: str) -> list[str]:
        return [line for line in self if text in line]


@asynccontextmanager
async def function_pool(
    *, workers: int = 2, hard_after_seconds: float = PATIENCE_SECONDS, timeout_seconds: float = 1.0, **settings: Any
) -> AsyncIterator[tuple[FunctionPool, Reports]]:
    """A pool whose first generation runs."""
    reports = Reports()
    limits = {"timeout_seconds": timeout_seconds, "memory_bytes": 64 * 1024 * 1024}
    pool = FunctionPool(
        FunctionLimits().override(limits), reports.append, workers=workers, hard_after_seconds=hard_after_seconds
    )
    template = await started_template(small_load(limits=limits, **settings))
    try:
        await pool.stage(template)
        pool.switch()
        yield pool, reports
    finally:
        await pool.close()
        await template.close()


@asynccontextmanager
async def action_pool(
    handle: Callable[[Call, str, bytes], Awaitable[bytes]],
    *,
    timeout_seconds: float = PATIENCE_SECONDS,
    hard_after_seconds: float = PATIENCE_SECONDS,
) -> AsyncIterator[tuple[ActionPool, Reports]]:
    """An action pool whose first generation runs."""
    reports = Reports()
    limits = {"action_timeout_seconds": timeout_seconds}
    pool = ActionPool(FunctionLimits().override(limits), handle, reports.append, hard_after_seconds=hard_after_seconds)
    template = await started_template(small_load(limits=limits))
    try:
        await pool.stage(template)
        pool.switch()
        yield pool, reports
    finally:
        await pool.close()
        await template.close()


class Gate:
    """Two named pipes by which a test holds a `hold` call in the middle."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self.begun, self.release_path = folder / f"{name}.begun", folder / f"{name}.release"
        os.mkfifo(self.begun)
        os.mkfifo(self.release_path)

    @property
    def args(self) -> dict[str, str]:
        return {"begun": str(self.begun), "release": str(self.release_path)}

    async def arrival(self) -> int:
        """Wait until the call has begun; returns its process."""
        return int(await asyncio.to_thread(self.begun.read_text))

    async def release(self, text: str = "released") -> None:
        await asyncio.to_thread(self.release_path.write_text, text)


async def gone(pid: int) -> None:
    """Wait until a process, anybody's, has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
