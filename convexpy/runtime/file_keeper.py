"""Removes the files that no row names: after a commit that deleted rows, and what a crash has left, at the start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from convexpy.errors import ConvexpyError
from convexpy.limits import SWEEP_FILES_PER_CALL
from convexpy.runtime.stored_files import names_in


class SystemCalls(Protocol):
    """See `backend.RuntimeBackend`."""

    async def run_system(self, name: str, payload: dict[str, Any]) -> Any: ...


class FileKeeper:
    """One a server.

    Args:
        folder: `files/` of the data folder.
    """

    def __init__(self, backend: SystemCalls, folder: Path, report: Callable[[str], None]) -> None:
        self._backend, self.folder, self._report = backend, folder, report
        self._tasks: set[asyncio.Task[None]] = set()

    async def sweep(self) -> None:
        """Remove what a crash has left behind; before anybody can upload."""
        await self._remove_unnamed(names_in(self.folder))

    def take_deleted(self, uuids: list[str]) -> None:
        """A commit may have deleted the rows of these files."""
        task = asyncio.get_running_loop().create_task(self._remove_unnamed(uuids), name="remove files")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _remove_unnamed(self, uuids: list[str]) -> None:
        for start in range(0, len(uuids), SWEEP_FILES_PER_CALL):
            asked = uuids[start : start + SWEEP_FILES_PER_CALL]
            try:
                # A nested mutation that was rolled back has deleted nothing: its rows are still there.
                known = set(await self._backend.run_system("storage.known", {"uuids": asked}))
                for name in asked:
                    if name not in known:
                        (self.folder / name).unlink(missing_ok=True)
            except (OSError, ConvexpyError) as error:
                self._report(f"Deleted files are still on disk; the next start removes them: {error}")
