"""Tells when Python files of a project have changed, from the moment on that it was asked to look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

DEBOUNCE_MS = 50
STEP_MS = 20


class PythonFilter(DefaultFilter):
    """Changes of Python files, without those of data, web pages and tools."""

    ignore_dirs = (*DefaultFilter.ignore_dirs, ".convexpy", "web", "node_modules", "__pycache__", ".venv")

    def __call__(self, change: Change, path: str) -> bool:
        return path.endswith(".py") and super().__call__(change, path)


class ProjectWatcher:
    """Changes of a folder, several at once told as one.

    It looks before the code is imported for the first time: a file that is saved during the import is not lost.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look from now on."""
        self._task = asyncio.get_running_loop().create_task(self._look())
        await asyncio.sleep(0)  # its first step asks the kernel; what changes after that is told

    async def changes(self) -> AsyncIterator[None]:
        """Once for all that has changed since the last time; ends with the watcher.

        Raises:
            OSError: the folder can no longer be watched.
        """
        assert self._task is not None, "start() comes first"
        while True:
            changed = asyncio.get_running_loop().create_task(self._changed.wait())
            await asyncio.wait((changed, self._task), return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if self._changed.is_set():
                self._changed.clear()
                yield
            elif self._task.done():
                self._task.result()
                return

    async def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        found = awatch(
            self._folder, watch_filter=PythonFilter(), debounce=DEBOUNCE_MS, step=STEP_MS, stop_event=self._stop
        )
        async for _ in found:
            self._changed.set()
