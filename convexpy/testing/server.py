"""The server without processes and sockets: the real backend, scheduler and push over one store.

It is what `serving.deployment` is to processes. Ending one and starting another on the same store is a crash and a
restart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convexpy.functions.application import Application
from convexpy.limits import FunctionLimits
from convexpy.runtime.action_operations import ActionOperations
from convexpy.runtime.actions import ActionRunner
from convexpy.runtime.backend import RuntimeBackend
from convexpy.runtime.deployment import Deployer, Pushed, Stage
from convexpy.runtime.file_keeper import FileKeeper
from convexpy.runtime.generation import Generation
from convexpy.runtime.parts import CallReport
from convexpy.runtime.publishing import Publisher
from convexpy.runtime.scheduler import JobScheduler
from convexpy.storage.lmdb_store import LmdbStore
from convexpy.testing.actions import InProcessActions
from convexpy.testing.clock import CommitEnvironment, ManualEnvironment
from convexpy.testing.workers import CommitOutcome, InProcessCommits, InProcessFunctions
from convexpy.transactions.commit_log import LmdbCommitLog
from convexpy.transactions.commit_messages import Committed
from convexpy.transactions.committer import Committer

NO_TIMER_LIMIT_SECONDS = 1e9


class InProcessServer:
    """One run of the server.

    Args:
        job_environment: the scheduler's; while its clock is held nothing is due.
        is_redacted: as `convexpy serve` does: texts of ordinary errors stay inside.
    """

    def __init__(
        self,
        store: LmdbStore,
        environment: ManualEnvironment,
        job_environment: ManualEnvironment,
        commit_environment: CommitEnvironment,
        limits: FunctionLimits,
        *,
        is_redacted: bool,
        report: Callable[[str], None],
        report_call: CallReport,
    ) -> None:
        self._store = store
        self._report = report
        self._environment = environment
        self._limits = limits
        committer = Committer(
            LmdbCommitLog(store, commit_environment), commit_environment, backlog_max=limits.functions_pending
        )
        self.publisher = Publisher(committer.last_ts, environment)
        operations = ActionOperations()
        self.functions = InProcessFunctions(store)
        self.actions = InProcessActions(operations, limits.action_timeout_seconds)
        self._commits = InProcessCommits(committer, self._publish)
        self.backend = RuntimeBackend(
            self.functions,
            self.actions,
            self._commits,
            self.publisher,
            environment,
            is_redacted=is_redacted,
            report_call=report_call,
        )
        operations.use_backend(self.backend)
        self.scheduler = JobScheduler(self.backend, job_environment, report, NO_TIMER_LIMIT_SECONDS)
        self.backend.set_job_sink(self.scheduler)
        self.publisher.add_subscriber(self.scheduler.take_commits)
        self.deployer = Deployer(self.backend, report)

    async def start(self, application: Application) -> Pushed:
        """Push the code, settle what an earlier run has left behind, look for due functions.

        Raises:
            ConvexpyError: the push was refused.
        """
        pushed = await self.push(application)
        keeper = FileKeeper(self.backend, self._store.folder / "files", self._report)
        await keeper.sweep()
        self.backend.take_deleted_files = keeper.take_deleted
        await self.scheduler.start()
        return pushed

    async def push(self, application: Application) -> Pushed:
        """Switch to other code.

        Raises:
            ConvexpyError: the push was refused; what ran before goes on.
        """

        async def stage(number: int) -> Stage:
            generation = Generation(number, application, self._limits)
            self.functions.staged = generation
            self.actions.staged = ActionRunner(generation, self._store, self._environment)
            return _Stage(self, application.describe())

        return await self.deployer.push(stage)

    async def stop(self) -> None:
        """End everything where it is: nothing of it is committed, or runs, from here on."""
        self.functions.stop()
        self._commits.stop()
        await self.deployer.stop()
        await self.scheduler.stop()
        await self.actions.stop()

    def _publish(self, outcomes: list[CommitOutcome]) -> None:
        self.publisher.publish([outcome for outcome in outcomes if isinstance(outcome, Committed)])


class _Stage:
    """See `runtime.deployment.Stage`."""

    def __init__(self, server: InProcessServer, description: dict[str, Any]) -> None:
        self.description = description
        self._server = server

    def switch(self) -> None:
        self._server.functions.switch()
        self._server.actions.switch()

    def discard(self) -> None:
        self._server.functions.staged = self._server.actions.staged = None
