"""`TestBackend`: a whole deployment in the test's own process and thread, on a clock that the test moves.

Everything but processes and sockets is real: `execute`, the committer on LMDB in a temporary folder, conflicts and
their retries, the scheduler, pushes. Nothing happens between two calls, and the same test is the same run every time.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

from convexpy.functions import guard
from convexpy.functions.application import Application, load_application
from convexpy.functions.context import MutationCtx
from convexpy.functions.definitions import internal_mutation
from convexpy.functions.references import resolve_name
from convexpy.limits import FunctionLimits
from convexpy.runtime import log_capture
from convexpy.runtime.backend import RuntimeBackend
from convexpy.runtime.deployment import Pushed
from convexpy.runtime.http_calls import serve_http_request
from convexpy.runtime.identity import identity_json
from convexpy.runtime.interface import FunctionRequest, Outcome
from convexpy.runtime.messages import Reply
from convexpy.runtime.resolution import Resolver
from convexpy.storage.lmdb_store import LmdbStore
from convexpy.testing.client import CallableKind, TestClient
from convexpy.testing.clock import CommitEnvironment, ManualClock, ManualEnvironment
from convexpy.testing.fetching import FetchedResponse, MemoryExchange, request_head
from convexpy.testing.loop import ManualLoop
from convexpy.testing.pending import has_later_functions
from convexpy.testing.server import InProcessServer
from convexpy.transactions.catalog import load_catalog

T = TypeVar("T")
MAP_BYTES = 2**32  # sparse
_TIMER_ROUNDING_NS = 1000  # timers are floats of seconds
_RUN = "_testing:run"
_NO_ROUTE = "No matching routes found"


class FinishedCall(NamedTuple):
    """A run that has ended, of any kind: `path` is a function's, or a scheduled function's id for kind "job"."""

    kind: str
    path: str
    caller: str
    error: str
    log_lines: list[str]


class TestBackend(TestClient):
    """The real runtime; only clock, randomness and disk are swapped. Use it as a context manager.

    Scheduled functions run in `advance` and `run_all_scheduled`, at no other time.

    Args:
        project: a project folder, or an application that was loaded from one. A component is tested through a small
            app that uses it.
        clock: where time begins; one of its own if None.
        seed: of ids and of all random numbers.
        limits: other bounds than the usual ones, by name, such as `{"documents_read": 10}`.
        is_redacted: as in production: texts of ordinary errors and log lines are kept from callers.
    """

    def __init__(
        self,
        project: Path | str | Application,
        *,
        clock: ManualClock | None = None,
        seed: int = 0,
        limits: dict[str, float] | None = None,
        is_redacted: bool = False,
    ) -> None:
        super().__init__(self, None)
        self.clock = clock or ManualClock()
        self.calls: list[FinishedCall] = []
        self.reports: list[str] = []
        self._environment = ManualEnvironment(self.clock, seed)
        self._job_environment = ManualEnvironment(self.clock, seed)
        self._job_environment.is_held = True
        self._commit_environment = CommitEnvironment(self.clock, seed)
        self._limits = FunctionLimits().override(limits or {})
        self._is_redacted = is_redacted
        self._project = project
        self._application: Application
        self._folder: tempfile.TemporaryDirectory[str]
        self._store: LmdbStore
        self._loop: ManualLoop
        self._server: InProcessServer

    def __enter__(self) -> Self:
        guard.install()
        self._application = _loaded(self._project)
        self._folder = tempfile.TemporaryDirectory(prefix="convexpy-test-")
        self._store = LmdbStore(Path(self._folder.name), readonly=False, sync=False, map_bytes=MAP_BYTES)
        self._loop = ManualLoop(self.clock, self._waits_outside)
        try:
            self._start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._run(self._server.stop)
        finally:
            self._close()

    # --- calls: see TestClient for query, mutation, action, outcome

    def with_identity(self, attributes: dict[str, Any]) -> TestClient:
        """Somebody who is logged in.

        Args:
            attributes: of the identity, with the wire's names. `issuer` and `subject` have defaults.
        """
        complete = {"issuer": "https://test.invalid", "subject": "user", **attributes}
        return TestClient(self, identity_json(msgspec.json.encode(complete)))

    def run(self, function: Callable[[MutationCtx], T], *, component: str = "") -> T:
        """Call `function` with the ctx of a mutation and commit what it writes; for setting up and looking inside.

        What it returns may be anything; what it raises is raised here, and nothing is committed.

        Args:
            component: path of the component instance whose tables it sees; "" is the app.
        """
        results: list[T] = []
        errors: list[BaseException] = []

        def run(ctx: MutationCtx) -> None:
            try:
                results.append(function(ctx))
            except BaseException as error:
                errors.append(error)
                raise

        functions = self._application.instances[component].functions
        functions[_RUN] = internal_mutation(run)
        try:
            request = FunctionRequest(component=component, path=_RUN, args=b"{}", is_admin=True, caller="Test")
            outcome = self.perform("mutation", request)
        finally:
            del functions[_RUN]
        if outcome.ok:
            return results[-1]
        if errors:
            raise errors[-1]
        raise AssertionError(outcome.error)

    # --- time

    def advance(self, duration: float | timedelta = 0.0) -> None:
        """Move the clock by seconds or a timedelta, and run what is due on the way, in the order of due times.

        Returns when there is nothing left to do at the new instant. Actions that still sleep then go on later.
        """
        seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
        end_ns = self.clock.now_ns() + round(seconds * 1e9)

        def goes_on(timeout: float | None) -> bool:
            return timeout is not None and self.clock.now_ns() + timeout * 1e9 <= end_ns + _TIMER_ROUNDING_NS

        with self._scheduling():
            self._loop.run_until_idle(goes_on)
        self.clock.move_to(max(end_ns, self.clock.now_ns()))

    def run_all_scheduled(self, *, functions_max: int = 10_000) -> None:
        """Move the clock until no scheduled function is pending that could run, and no action runs.

        Functions of a paused queue stay pending.

        Raises:
            RuntimeError: after `functions_max` of them, for some schedule themselves for ever.
        """
        begun = len(self.calls)

        def goes_on(timeout: float | None) -> bool:
            ran = sum(call.kind == "job" for call in self.calls[begun:])
            if ran > functions_max:
                raise RuntimeError(f"{functions_max} scheduled functions have run, and there are more.")
            is_more = self._server.actions.running_count > 0 or has_later_functions(self._store, self.clock.now_ns())
            return timeout is not None and is_more

        with self._scheduling():
            self._loop.run_until_idle(goes_on)

    # --- the server's life

    def restart(self) -> None:
        """Kill the server and start another on the same data: what is running ends where it is."""
        self._run(self._server.stop)
        self._start()

    def push(self, project: Path | str | Application | None = None) -> Pushed:
        """Push other code, or the project's folder as it is now.

        Raises:
            DefinitionError: it cannot be loaded.
            ConvexpyError: it was refused; the code that ran before goes on.
        """
        application = _loaded(self._project if project is None else project)
        pushed = self._run(lambda: self._server.push(application))
        self._application = application
        return pushed

    # --- for tests of this package

    @property
    def runtime(self) -> RuntimeBackend:
        """What serves the calls."""
        return self._server.backend

    @property
    def server(self) -> InProcessServer:
        """Everything that `restart` replaces."""
        return self._server

    @property
    def store(self) -> LmdbStore:
        """The database."""
        return self._store

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end on the backend's loop."""
        return self._run(lambda: work)

    # --- what clients need

    def place_of(self, reference: Any, component: str) -> tuple[str, str]:
        """See `client.Callee`."""
        address = resolve_name(reference)
        if address.kind == "own":
            return component, address.path
        with self._store.snapshot() as snapshot:
            resolver = Resolver(self._application, load_catalog(snapshot))
        located = resolver.locate(self._application.instances[component], reference)
        return located.instance.path, located.function.path

    def perform(self, kind: CallableKind, request: FunctionRequest) -> Outcome:
        """See `client.Callee`."""
        calls: dict[str, Callable[[FunctionRequest], Awaitable[Outcome]]]
        calls = {"query": self.runtime.query, "mutation": self.runtime.mutation, "action": self.runtime.action}

        async def call() -> Outcome:
            return await calls[kind](request)

        return self._run(call)

    def serve(
        self, path: str, method: str, headers: Mapping[str, str], body: bytes, identity: bytes | None
    ) -> FetchedResponse:
        """See `client.Callee`."""
        head = request_head(path, method, headers, has_body=bool(body))
        match = self.runtime.http_routes.find(method, head.path)
        if match is None:
            is_empty = self.runtime.http_routes.is_empty
            text = "This Convex deployment does not have HTTP actions enabled." if is_empty else _NO_ROUTE
            return FetchedResponse(404, {"content-type": "text/plain; charset=utf-8"}, text.encode())
        exchange = MemoryExchange(body)
        is_whole = self._run(lambda: serve_http_request(self.runtime, match, head, identity, exchange))
        return exchange.response(is_whole=is_whole)

    # --- inside

    @contextmanager
    def _scheduling(self) -> Iterator[None]:
        self._job_environment.is_held = False
        self._loop.call_soon(self._server.scheduler.wake_soon)
        try:
            with log_capture.installed():
                yield
        finally:
            self._job_environment.is_held = True

    def _run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with log_capture.installed():
            return self._loop.run(work())

    def _start(self) -> None:
        self._server = InProcessServer(
            self._store,
            self._environment,
            self._job_environment,
            self._commit_environment,
            self._limits,
            is_redacted=self._is_redacted,
            report=self.reports.append,
            report_call=self._report_call,
        )
        self._run(lambda: self._server.start(self._application))

    def _report_call(self, kind: str, path: str, caller: str, reply: Reply) -> None:
        self.calls.append(FinishedCall(kind, path, caller, reply.error, reply.log_lines))

    def _waits_outside(self) -> bool:
        actions = self._server.actions
        has_sockets = self._loop.open_files > 1
        return actions.waits_for_thread() or (actions.running_count > 0 and has_sockets)

    def _close(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_idle(lambda timeout: False)
        self._loop.close()
        self._store.close()
        self._folder.cleanup()


def _loaded(project: Path | str | Application) -> Application:
    return project if isinstance(project, Application) else load_application(Path(project))
