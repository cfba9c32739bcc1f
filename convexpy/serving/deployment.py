"""One deployment in this process: opens the data folder, starts the processes, pushes code, runs due functions.

Order of the start: lock, committer, code, scheduler. The sockets come after it (see `sockets.py`), so nobody is served
by a deployment that is not whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from convexpy.auth.authenticator import DeploymentAuthenticator
from convexpy.environment import Environment, RealEnvironment
from convexpy.limits import FunctionLimits
from convexpy.processes.action_pool import ActionPool
from convexpy.processes.messages import Load, Output
from convexpy.processes.pool import FunctionPool
from convexpy.processes.supervisor import LOAD_APP, Supervisor
from convexpy.runtime.action_operations import ActionOperations
from convexpy.runtime.backend import RuntimeBackend
from convexpy.runtime.deployment import Deployer, Pushed, Stage
from convexpy.runtime.file_keeper import FileKeeper
from convexpy.runtime.parts import CallReport
from convexpy.runtime.publishing import Publisher
from convexpy.runtime.scheduler import JobScheduler
from convexpy.serving.settings import DeploymentSettings
from convexpy.storage.data_folder import DataFolder, open_data_folder
from convexpy.storage.lmdb_store import LmdbStore
from convexpy.transactions.commit_messages import Committed, Conflicted, Refused


class Deployment:
    """Everything behind the sockets.

    Args:
        report: takes a sentence for the operator.
        report_call: hears of every finished run.
        on_fatal: the server cannot go on; it is to exit with this sentence.
    """

    def __init__(
        self,
        settings: DeploymentSettings,
        *,
        report: Callable[[str], None],
        report_call: CallReport,
        on_fatal: Callable[[str], None],
        environment: Environment | None = None,
    ) -> None:
        self.settings = settings
        self._report = report
        self._report_call = report_call
        self._on_fatal = on_fatal
        self._environment = environment or RealEnvironment()
        self.folder: DataFolder
        self.authenticator: DeploymentAuthenticator
        self.backend: RuntimeBackend
        self._publisher: Publisher
        self._supervisor: Supervisor
        self._functions: FunctionPool
        self._actions: ActionPool
        self._scheduler: JobScheduler
        self._deployer: Deployer

    async def start(self) -> Pushed:
        """Open the folder, start the committer, push the code, start what is due.

        Raises:
            DataFolderError: the folder is in use or not ours.
            ConvexpyError: the code cannot be pushed, or a process cannot be started.
        """
        self.folder = open_data_folder(self.settings.data_folder, self._environment.now_ns(), self.settings.map_bytes)
        self.folder.lock()
        self.authenticator = DeploymentAuthenticator(
            self.folder.admin_key, self._environment, is_redacted=self.settings.is_redacted, report=self._report
        )
        limits = FunctionLimits().override(self.settings.limits)
        self._supervisor = Supervisor(
            self.folder.path,
            on_batch=self._publish,
            on_fatal=self._on_fatal,
            on_output=self._show_output,
            report=self._report,
            is_relaxed=self.settings.is_relaxed,
            log_limits=self.settings.log_limits,
            functions_pending=limits.functions_pending,
        )
        await self._supervisor.start()
        self._publisher = Publisher(_last_commit_ts(self.folder.path), self._environment)
        operations = ActionOperations()
        self._functions = FunctionPool(limits, self._report, workers=self.settings.workers)
        self._actions = ActionPool(limits, operations.handle, self._report)
        self._supervisor.adopt(self._functions, self._actions)
        self.backend = RuntimeBackend(
            self._functions,
            self._actions,
            self._supervisor.commits,
            self._publisher,
            self._environment,
            is_redacted=self.settings.is_redacted,
            report_call=self._report_call,
        )
        operations.use_backend(self.backend)
        self._scheduler = JobScheduler(self.backend, self._environment, self._report)
        self.backend.set_job_sink(self._scheduler)
        self._publisher.add_subscriber(self._scheduler.take_commits)
        self._deployer = Deployer(self.backend, self._report, self._use_code)
        pushed = await self.push()
        keeper = FileKeeper(self.backend, self.folder.path / "files", self._report)
        await keeper.sweep()
        self.backend.take_deleted_files = keeper.take_deleted
        await self._scheduler.start()
        return pushed

    async def push(self) -> Pushed:
        """Load the project folder as it is now and switch to it.

        Raises:
            ConvexpyError: it cannot be; what ran before goes on.
        """
        return await self._deployer.push(self._stage)

    async def delete_tables(self, component: str, names: list[str]) -> None:
        """See `Deployer`."""
        await self._deployer.delete_tables(component, names)

    async def _stage(self, number: int) -> Stage:
        load = Load(
            host=LOAD_APP,
            project_folder=str(self.settings.project_folder),
            data_folder=str(self.folder.path),
            generation=number,
            limits=self.settings.limits,
            settings={"api_origin": self.settings.api_origin},
        )
        template, loaded = await self._supervisor.load(load)
        stage = _Stage(loaded.description, self._functions, self._actions)
        try:
            async with asyncio.TaskGroup() as staging:
                staging.create_task(self._functions.stage(template))
                staging.create_task(self._actions.stage(template))
        except BaseException as error:
            stage.discard()
            raise error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error from None
        return stage

    async def stop(self) -> None:
        """End everything; what was answered is stored, what was not may or may not be."""
        if hasattr(self, "_deployer"):
            await self._deployer.stop()
        if hasattr(self, "_scheduler"):
            await self._scheduler.stop()
        if hasattr(self, "_supervisor"):
            await self._supervisor.stop()
        if hasattr(self, "authenticator"):
            await self.authenticator.close()
        if hasattr(self, "folder"):
            self.folder.unlock()

    @property
    def pids(self) -> dict[str, list[int]]:
        """Processes by what they are."""
        return {
            "committer": [self._supervisor.committer_pid],
            "function": self._functions.pids,
            "action": self._actions.pids,
        }

    def _use_code(self, description: dict[str, Any]) -> None:
        self.authenticator.use_providers(description["auth"])

    def _publish(self, outcomes: list[Committed | Conflicted | Refused]) -> None:
        self._publisher.publish([outcome for outcome in outcomes if isinstance(outcome, Committed)])

    def _show_output(self, output: Output) -> None:
        self._report(f"[{output.level}] {output.line}")


class _Stage:
    """See `runtime.deployment.Stage`."""

    def __init__(self, description: dict[str, Any], functions: FunctionPool, actions: ActionPool) -> None:
        self.description = description
        self._functions, self._actions = functions, actions

    def switch(self) -> None:
        self._functions.switch()
        self._actions.switch()

    def discard(self) -> None:
        self._functions.discard_staged()
        self._actions.discard_staged()


def _last_commit_ts(folder: Path) -> int:
    """What the committer has found or made; a short read of our own."""
    store = LmdbStore(folder, readonly=True)
    try:
        with store.snapshot() as snapshot:
            return snapshot.ts
    finally:
        store.close()
