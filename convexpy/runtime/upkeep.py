"""Work on the database that nobody waits for: staged indexes are built, what is left over is deleted.

It runs beside the calls of users, one chunk at a time and never longer than it has rested, and stands still during a
push. Nothing of it is kept here: what there is to do is read from the database, so it goes on after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from convexpy.errors import ConvexpyError
from convexpy.limits import PROGRESS_REPORT_SECONDS, UPKEEP_RETRY_SECONDS


class SystemCalls(Protocol):
    """See `backend.RuntimeBackend`."""

    async def run_system(self, name: str, payload: dict[str, Any]) -> Any: ...


class Progress:
    """Says how far a long piece of work has come, now and then.

    Args:
        text: what is done, such as "Building index messages.by_author".
    """

    def __init__(self, report: Callable[[str], None], text: str) -> None:
        self._report, self._text = report, text
        self._loop = asyncio.get_running_loop()
        self._began = self._reported = self._loop.time()

    def show(self, rows: int) -> None:
        """Report, if the last report is long ago."""
        if self._loop.time() - self._reported >= PROGRESS_REPORT_SECONDS:
            self._reported = self._loop.time()
            self._report(f"{self._text}: {rows:,} documents so far.")

    @property
    def has_reported(self) -> bool:
        return self._reported > self._began

    @property
    def seconds(self) -> float:
        return self._loop.time() - self._began


class Upkeep:
    """The background task of one server. Args: report: takes a sentence for the operator."""

    def __init__(self, backend: SystemCalls, report: Callable[[str], None]) -> None:
        self._backend = backend
        self._report = report
        self._task: asyncio.Task[None] | None = None  # the newest; each begins when the one before has ended
        self._tasks: set[asyncio.Task[None]] = set()
        self._pausing = asyncio.Event()

    def resume(self) -> None:
        """Do what there is to do; called again while it works, it looks once more when it is through."""
        before = self._task
        self._pausing.clear()
        self._task = asyncio.get_running_loop().create_task(self._work(before))
        self._tasks.add(self._task)
        self._task.add_done_callback(self._note_end)

    async def pause(self) -> None:
        """Return once nothing is under way; nothing begins before `resume`."""
        self._pausing.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def stop(self) -> None:
        """End it where it is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(f"Work on indexes has ended, until the next push or start, with {error!r}")

    async def _work(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        while not self._pausing.is_set():
            try:
                for build in await self._backend.run_system("push.unfinished_builds", {}):
                    await self._build(build["index"], build["name"])
                await self._sweep()
            except ConvexpyError as error:
                self._report(f"Work on indexes is tried again in {UPKEEP_RETRY_SECONDS:.0f} s: {error}")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._pausing.wait(), UPKEEP_RETRY_SECONDS)
            else:
                return

    async def _build(self, index: int, name: str) -> None:
        progress = Progress(self._report, f"Building staged index {name}")
        while not self._pausing.is_set():
            done = await self._rested("push.build_index", {"index": index})
            if done["is_done"]:
                self._report(
                    f"Staged index {name} is built ({done['rows']:,} documents). Remove staged=True to use it."
                )
                return
            progress.show(done["rows"])

    async def _sweep(self) -> None:
        keyspace: int | None = 0
        while keyspace is not None and not self._pausing.is_set():
            keyspace = await self._rested("tables.sweep", {"from": keyspace})

    async def _rested(self, name: str, payload: dict[str, Any]) -> Any:
        """Do one chunk, then leave the machine to others for as long as it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        result = await self._backend.run_system(name, payload)
        await asyncio.sleep(loop.time() - began)
        return result
