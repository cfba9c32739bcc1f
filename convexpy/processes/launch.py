"""Starting a fresh Python process of ours, and knowing when it is gone."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

HASH_SEED = "0"  # sets of strings must not differ between the processes that run one generation
# -P and a handed-over path, as multiprocessing does it: the current directory must not enter sys.path, or a project's
# `http.py` would hide the standard library's.
_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from importlib import import_module; "
    "import_module(sys.argv[2]).main(json.loads(sys.argv[3]))"
)


def start_python(module: str, settings: Mapping[str, Any], descriptors: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """Run `module.main(settings)` in a new process; call it on the main thread (see child.enter_child).

    Args:
        settings: plain data; `parent_pid` is added.
        descriptors: kept open in the child, under the same numbers.
    """
    package_folder = str(Path(__file__).parents[2])
    search_path = [entry for entry in sys.path if entry]
    if package_folder not in search_path:
        search_path.append(package_folder)
    arguments = [json.dumps(search_path), module, json.dumps({**settings, "parent_pid": os.getpid()})]
    return subprocess.Popen(  # noqa: S603  our own interpreter and module
        [sys.executable, "-P", "-c", _BOOT, *arguments],
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        env={**os.environ, "PYTHONHASHSEED": HASH_SEED},
        # Ctrl+C in a terminal goes to a process group: only the server shall get it.
        process_group=0,
    )


class ChildProcess:
    """A process that this event loop has started.

    Args:
        on_exit: called once, when it has ended, with its exit status (negative: signal).
    """

    def __init__(self, process: subprocess.Popen[bytes], on_exit: Callable[[int], None]) -> None:
        self._process = process
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(process.pid)
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status, None while it runs."""
        return self._ended.result() if self._ended.done() else None

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        status = self._process.wait()
        self._ended.set_result(status)
        self._on_exit(status)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if not self._ended.done():
            self._process.kill()

    async def wait(self, timeout_seconds: float) -> int:
        """Wait until it has ended; after `timeout_seconds` it is killed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.shield(self._ended)
        self.kill()
        return await asyncio.shield(self._ended)
