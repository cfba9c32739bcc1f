"""The app as a template loads it and its workers run it; the real implementation of `host.WorkerHost`."""

from __future__ import annotations

from pathlib import Path
from time import process_time  # the real one, which the guard will put its own in the place of
from typing import Any

from convexpy.functions import guard
from convexpy.functions.application import Application, load_application
from convexpy.processes.cpu_limit import CpuLimit
from convexpy.processes.host import RunAction, limits_of
from convexpy.processes.messages import Load
from convexpy.runtime import log_capture
from convexpy.runtime.actions import ActionRunner
from convexpy.runtime.execute import execute
from convexpy.runtime.generation import Generation
from convexpy.runtime.messages import Call, Reply
from convexpy.storage.lmdb_store import LmdbStore, Snapshot


def load(message: Load) -> AppHost:
    """Import the app under the guard, so that its clocks and random numbers are the guarded ones."""
    guard.install()
    return AppHost(message, load_application(Path(message.project_folder)))


class AppHost:
    """One generation of the app."""

    def __init__(self, message: Load, application: Application) -> None:
        self._message = message
        self._application = application

    def describe(self) -> Any:
        """See `host.WorkerHost`."""
        return self._application.describe()

    def function_runner(self, cpu_limit: CpuLimit) -> AppFunctionRunner:
        """See `host.WorkerHost`."""
        log_capture.install()
        generation = self._generation()
        generation.restart_clock = cpu_limit.start
        generation.cpu_seconds = process_time
        return AppFunctionRunner(generation, self._open_store())

    def action_runner(self) -> RunAction:
        """See `host.WorkerHost`."""
        log_capture.install()
        return ActionRunner(self._generation(), self._open_store()).run

    def _generation(self) -> Generation:
        generation = Generation(self._message.generation, self._application, limits_of(self._message))
        generation.api_origin = self._message.settings.get("api_origin", generation.api_origin)
        return generation

    def _open_store(self) -> LmdbStore:
        store = LmdbStore(Path(self._message.data_folder), readonly=True)
        store.clear_stale_readers()  # this worker may follow one that died inside a snapshot
        return store


class AppFunctionRunner:
    """Runs calls in a function worker."""

    def __init__(self, generation: Generation, store: LmdbStore) -> None:
        self._generation = generation
        self._store = store

    def snapshot(self) -> Snapshot:
        """See `host.FunctionRunner`."""
        return self._store.snapshot()

    def execute(self, call: Call, snapshot: Snapshot) -> Reply:
        """See `host.FunctionRunner`."""
        try:
            return execute(call, snapshot, self._generation)
        finally:
            guard.reset()  # a time limit may have struck while the guard was being left

    def close(self) -> None:
        """See `host.FunctionRunner`."""
        self._store.close()
