"""Starts the committer and the templates, notices their deaths, and ends everything in an order that loses nothing.

Nothing is ever orphaned: every process watches its parent through the kernel and ends with it (see child.py), so a
killed server takes all of its processes along, and a killed template its workers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from convexpy.errors import ConvexpyError, WorkerLost
from convexpy.limits import (
    PROCESS_START_SECONDS_MAX,
    PROCESS_STOP_SECONDS_MAX,
    TEMPLATE_RELOAD_SECONDS,
    TEMPLATE_RELOADS_MAX,
    FunctionLimits,
    LogLimits,
)
from convexpy.processes.action_pool import ActionPool
from convexpy.processes.commit_queue import CommitQueue, Outcome
from convexpy.processes.launch import ChildProcess, start_python
from convexpy.processes.messages import Load, Loaded, Output
from convexpy.processes.pool import FunctionPool
from convexpy.processes.template_process import TemplateProcess

OPEN_COMMITTER = "convexpy.processes.committer_process:open_committer"
LOAD_APP = "convexpy.processes.app_host:load"


class Supervisor:
    """The processes of one server. Every method is called on the main thread's event loop.

    Args:
        on_batch: see CommitQueue.
        on_fatal: the committer is gone: the server has to exit, with this sentence.
        on_output: what the app printed while it was imported.
        report: takes a sentence for the server's log.
    """

    def __init__(
        self,
        data_folder: Path,
        *,
        on_batch: Callable[[list[Outcome]], None],
        on_fatal: Callable[[str], None],
        on_output: Callable[[Output], None],
        report: Callable[[str], None],
        is_relaxed: bool = False,
        log_limits: LogLimits | None = None,
        functions_pending: int = FunctionLimits.functions_pending,
        committer_parts: str = OPEN_COMMITTER,
    ) -> None:
        self.commits = CommitQueue(on_batch, self._committer_lost)
        self._data_folder = data_folder
        self._on_fatal = on_fatal
        self._on_output = on_output
        self._report = report
        self._is_relaxed = is_relaxed
        self._log_limits = log_limits or LogLimits()
        self._functions_pending = functions_pending
        self._committer_parts = committer_parts
        self._committer: ChildProcess | None = None
        self._templates: set[TemplateProcess] = set()
        self._empty_template: TemplateProcess | None = None  # started, for the next `load`
        self._pools: list[FunctionPool | ActionPool] = []
        self._reloads: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    def adopt(self, *pools: FunctionPool | ActionPool) -> None:
        """Give the dead templates of these pools successors, and close the pools in `stop`."""
        self._pools.extend(pools)

    @property
    def committer_pid(self) -> int:
        """0 before `start`."""
        return self._committer.pid if self._committer is not None else 0

    async def start(self) -> None:
        """Start the committer; returns when it has opened, or made, the database.

        Meanwhile the template for the first `load` starts too: that takes as long.

        Raises:
            WorkerLost: the committer cannot start; the text says why.
        """
        template = self._empty_template = await self._start_template()
        ours, theirs = socket.socketpair()
        settings = {
            "socket": theirs.fileno(),
            "data_folder": str(self._data_folder),
            "is_relaxed": self._is_relaxed,
            "log_limits": asdict(self._log_limits),
            "functions_pending": self._functions_pending,
            "parts": self._committer_parts,
        }
        with theirs:
            popen = start_python("convexpy.processes.committer_process", settings, (theirs.fileno(),))
        self._committer = ChildProcess(popen, lambda _: None)
        try:
            async with asyncio.timeout(PROCESS_START_SECONDS_MAX):
                await self.commits.start(ours)
        except BaseException as error:
            self._committer.kill()
            self.commits.close()
            await self._committer.wait(PROCESS_STOP_SECONDS_MAX)
            await template.close()
            if isinstance(error, TimeoutError):
                raise WorkerLost(f"The committer did not start within {PROCESS_START_SECONDS_MAX:g} s.") from None
            raise

    async def load(self, load: Load) -> tuple[TemplateProcess, Loaded]:
        """Start a template with the app; hand it to the pools' `stage`, or close it.

        Raises:
            DefinitionError: the app cannot be imported.
            WorkerLost: the import killed the process, or did not end.
        """
        template, self._empty_template = self._empty_template or await self._start_template(), None
        try:
            return template, await template.load(load)
        except BaseException:
            self._templates.discard(template)
            template.process.kill()  # it may be in the midst of an import, and has no workers to end
            await template.close()
            raise

    async def _start_template(self) -> TemplateProcess:
        self._templates = {each for each in self._templates if each.process.status is None}
        template = TemplateProcess(self._on_output, self._template_lost)
        await template.start()
        self._templates.add(template)
        return template

    async def stop(self) -> None:
        """End workers, then templates, then the committer, which commits what it has; each is killed if it lingers."""
        self._is_stopping = True
        for task in self._reloads:
            task.cancel()
        for pool in self._pools:
            await pool.close()
        for template in list(self._templates):
            await template.close()
        if self._committer is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROCESS_STOP_SECONDS_MAX):
                    await self.commits.drain()
            self.commits.close()
            await self._committer.wait(PROCESS_STOP_SECONDS_MAX)

    def _committer_lost(self) -> None:
        assert self._committer is not None
        if not self._is_stopping:
            self._on_fatal("The committer is gone, so nothing can be written. What it answered is stored.")

    def _template_lost(self, template: TemplateProcess) -> None:
        """Workers go with their template. The same folder is loaded again, which may have been edited meanwhile."""
        self._templates.discard(template)
        if template is self._empty_template:
            self._empty_template = None
        if self._is_stopping or not self._pools:
            return
        if template.load_message is None or not template.has_loaded:
            return  # `load` tells whoever waits for it; an import that kills its process would kill the next one too
        task = asyncio.get_running_loop().create_task(self._reload(template, template.load_message))
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self, old: TemplateProcess, load: Load) -> None:
        self._report("The template process is gone, and its workers with it; the app is loaded again.")
        try:
            new = await self._load_persistently(load)
        except (ConvexpyError, OSError) as error:
            for pool in self._pools:
                pool.template_failed(old, f"The app cannot be loaded again: {error}")
            return
        for pool in self._pools:
            pool.replace_template(old, new)

    async def _load_persistently(self, load: Load) -> TemplateProcess:
        """Load an app that could be loaded before: who kills its process once more need not take the app down."""
        for tries_left in reversed(range(TEMPLATE_RELOADS_MAX)):
            try:
                new, _ = await self.load(load)
                return new
            except WorkerLost as error:
                if not tries_left:
                    raise
                self._report(f"{error} It is tried again.")
                await asyncio.sleep(TEMPLATE_RELOAD_SECONDS * 2 ** (TEMPLATE_RELOADS_MAX - 1 - tries_left))
        raise AssertionError("the last try returns or raises")
