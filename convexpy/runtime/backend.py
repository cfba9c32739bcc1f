"""Serves functions: routes calls to workers, commits what mutations wrote, publishes, answers.

The server's half of a call; nothing here decodes arguments or results.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from convexpy.environment import Environment
from convexpy.errors import Conflict, ConvexpyError, InvalidRequest, LimitExceeded, OutOfRetention, Overloaded
from convexpy.limits import MUTATION_ATTEMPTS_MAX
from convexpy.runtime.calls import CallMaker
from convexpy.runtime.committing import CommittingRun
from convexpy.runtime.http_exchange import Exchanges, HttpExchange
from convexpy.runtime.http_routes import RouteTable
from convexpy.runtime.interface import FunctionRequest, Outcome
from convexpy.runtime.live_queries import LiveQueryCache
from convexpy.runtime.messages import Call, CallKind, Reply
from convexpy.runtime.parts import Actions, CallReport, Commits, Functions, JobSink
from convexpy.runtime.publishing import Publisher
from convexpy.transactions.commit_messages import Conflicted

_REQUEST_ID = re.compile(r"\A\[Request ID: [^\]]*\]")
_LOST_BY_ITSELF = ("killed", "beyond bound")  # the same call would be lost again


class RuntimeBackend:
    """Implements `interface.Backend`.

    Args:
        is_redacted: production: see `failures`.
        report_call: hears of every finished run, for logs.
    """

    def __init__(
        self,
        functions: Functions,
        actions: Actions,
        commits: Commits,
        publisher: Publisher,
        environment: Environment,
        *,
        is_redacted: bool,
        report_call: CallReport,
    ) -> None:
        self.functions = functions
        self.commits = commits
        self.publisher = publisher
        self._actions = actions
        self._report_call = report_call
        self._calls = CallMaker(publisher, environment, is_redacted=is_redacted)
        self._job_sink: JobSink | None = None
        self.take_deleted_files: Callable[[list[str]], None] | None = None
        self._kinds: dict[tuple[str, str], CallKind] = {}
        self.http_routes = RouteTable()
        self.exchanges = Exchanges()
        self.conflicts = 0
        self.live = LiveQueryCache(self, publisher, environment)
        publisher.add_subscriber(self.live.take_commits)

    @property
    def generation(self) -> int:
        """Of the code in force."""
        return self._calls.generation

    def set_job_sink(self, sink: JobSink) -> None:
        """Whom to tell of functions that a commit has scheduled."""
        self._job_sink = sink

    def use_generation(self, number: int, kinds: dict[tuple[str, str], CallKind]) -> None:
        """A push has switched to new code: calls carry its number, and every live query runs again.

        Args:
            kinds: of all functions, by component path and function path.
        """
        self._calls.generation = number
        self._kinds = kinds
        self.live.make_all_stale(self.publisher.published_ts)

    # --- what sync and HTTP ask

    @property
    def published_ts(self) -> int:
        """See `interface.Backend`."""
        return self.publisher.published_ts

    async def query(self, request: FunctionRequest) -> Outcome:
        """See `interface.Backend`."""
        outcome = await self.live.query_once(request)
        if outcome.ok or not request.request_id:
            return outcome
        # The run may have served others too, so it had an id of its own.
        error = _REQUEST_ID.sub(lambda _: f"[Request ID: {request.request_id}]", outcome.error)
        return msgspec.structs.replace(outcome, error=error)

    async def query_at(self, request: FunctionRequest, ts: int) -> Outcome:
        """See `interface.Backend`. Nothing of it is cached: what changes later cannot change it."""
        call = self._calls.call("query", request)
        call.at_ts = ts
        reply = await self.functions.submit(call)
        if reply.loss == "too old":
            raise OutOfRetention(reply.error)
        self._report_call("query", request.path, request.caller, reply)
        return self._calls.outcome(request, reply, ts)

    def mutation(
        self, request: FunctionRequest, session: tuple[str, int] | None = None, job_id: str | None = None
    ) -> asyncio.Future[Outcome]:
        """See `interface.Backend`. `job_id`: the scheduled action that calls it."""

        def make_call() -> Call:
            call = self._calls.call("mutation", request)
            call.session = session
            call.job_id = job_id
            return call

        def finish(reply: Reply, ts: int) -> Outcome:
            self._report_call("mutation", request.path, request.caller, reply)
            return self._calls.outcome(request, reply, ts)

        return CommittingRun(self, make_call, finish)

    async def action(self, request: FunctionRequest, job_id: str | None = None) -> Outcome:
        """See `interface.Backend`. `job_id`: the scheduled function that it runs for."""
        call = self._calls.call("action", request)
        call.job_id = job_id
        reply = await self._actions.submit(call)
        self._report_call("action", request.path, request.caller, reply)
        return self._calls.outcome(request, reply, self.published_ts)

    async def http_action(self, request: FunctionRequest, exchange: HttpExchange) -> Reply:
        """See `http_calls.HttpBackend`."""
        call = self._calls.call("httpAction", request)
        self.exchanges.begin(call.id, exchange)
        try:
            reply = await self._actions.submit(call)
        finally:
            self.exchanges.end(call.id)
        if not reply.is_ok and reply.value == b"null":  # it was not the worker that has ended it
            code = f"[Request ID: {call.request_id}] Server Error"
            reply.value = msgspec.json.encode({"code": code if self._calls.is_redacted else f"{code}: {reply.error}"})
        self._report_call("httpAction", request.path, request.caller, reply)
        return reply

    async def any_function(self, request: FunctionRequest) -> Outcome:
        """See `interface.Backend`."""
        kind = self._kinds.get((request.component, request.path))
        if kind == "mutation":
            return await self.mutation(request)
        if kind == "action":
            return await self.action(request)
        return await self.query(request)

    # --- what live queries ask

    def run_queries(self, requests: list[FunctionRequest]) -> asyncio.Future[list[Reply]]:
        """See `live_queries.QueryRunner`."""
        return self.functions.submit_together([self._calls.call("query", request) for request in requests])

    def outcome_of(self, request: FunctionRequest, reply: Reply) -> Outcome:
        """See `live_queries.QueryRunner`."""
        self._report_call("query", request.path, request.caller, reply)
        return self._calls.outcome(request, reply, reply.snapshot_ts)

    # --- what scheduler and push ask

    async def run_staged_query(self, request: FunctionRequest) -> Outcome:
        """Run a query on the generation that is about to be pushed."""
        reply = await self.functions.submit(self._calls.call("query", request), is_staged=True)
        return self._calls.outcome(request, reply, reply.snapshot_ts)

    async def run_job(self, job_id: str, prefer: int | None, more_jobs: Sequence[str] = ()) -> dict[str, Any]:
        """Run a row of `_scheduled_functions`; see `job_batches.run_job`.

        Args:
            more_jobs: rows that may run in the same transaction; `taken` in the answer says how many rows did. After a
                conflict or a hard kill the first one runs alone, so what is large or hangs holds up nothing else.

        Raises:
            ConvexpyError: it could not be run or committed now; nothing has changed.
        """
        preset: bytes | None = None
        is_deferred = False
        attempts = itertools.count()
        is_alone = False

        def make_call() -> Call:
            nonlocal is_alone
            call = self._calls.own_call("job", job_id, b"")
            call.preset_outcome, call.is_completion_deferred = preset, is_deferred
            call.is_alone = is_alone = next(attempts) > 0
            if not is_alone:
                call.more_jobs = list(more_jobs)
            return call

        reply = await self._run_committing(make_call, prefer)
        if reply.loss in _LOST_BY_ITSELF and not is_alone:
            reply = await self._run_committing(make_call, prefer)
        if reply.loss == "beyond bound":
            is_deferred = True  # if its on_complete is what schedules too much, the function itself has succeeded
            reply = await self._run_committing(make_call, prefer)
            is_deferred = False
        if reply.loss in _LOST_BY_ITSELF:
            # The function hangs where no signal reaches it, ends its process, or schedules more than may be pending: it
            # has failed, and is completed without being run.
            preset = msgspec.msgpack.encode({"kind": "failed", "error": reply.error})
            reply = await self._run_committing(make_call, prefer)
        if reply.loss in _LOST_BY_ITSELF:
            is_deferred = True  # so it was its on_complete
            reply = await self._run_committing(make_call, prefer)
        self._report_call("job", job_id, "Scheduler", reply)
        result: dict[str, Any] = self._system_result(reply)
        return result

    def mark_calls(self) -> int:
        """See `CallMaker.mark`."""
        return self._calls.mark()

    async def run_system(
        self,
        name: str,
        payload: dict[str, Any],
        *,
        prefer: int | None = None,
        is_staged: bool = False,
        job_id: str | None = None,
    ) -> Any:
        """Run a system function and commit what it wrote.

        Raises:
            ConvexpyError: it refused, or could not be run or committed; nothing has changed.
        """
        args = msgspec.msgpack.encode(payload)
        is_deferred = False
        attempts = itertools.count()

        def make_call() -> Call:
            call = self._calls.own_call("system", name, args)
            call.job_id, call.is_completion_deferred = job_id, is_deferred
            call.is_alone = next(attempts) > 0
            return call

        reply = await self._run_committing(make_call, prefer, is_staged)
        if reply.loss in _LOST_BY_ITSELF:
            is_deferred = True  # so it was the on_complete of an action: it becomes a row of its own
            reply = await self._run_committing(make_call, prefer, is_staged)
        if reply.log_lines:  # of the app's on_complete of an action
            self._report_call("job", str(payload.get("job_id", name)), "Scheduler", reply)
        return self._system_result(reply)

    def _run_committing(
        self, make_call: Callable[[], Call], prefer: int | None, is_staged: bool = False
    ) -> asyncio.Future[Reply]:
        return CommittingRun(self, make_call, lambda reply, _: reply, prefer=prefer, is_staged=is_staged)

    def _system_result(self, reply: Reply) -> Any:
        if reply.is_ok:
            return msgspec.msgpack.decode(reply.value)
        if reply.loss == "overloaded":
            raise Overloaded(reply.error)
        if reply.loss == "beyond bound":
            raise LimitExceeded(reply.error)
        raise (ConvexpyError if reply.loss or reply.is_system_error else InvalidRequest)(reply.error)

    # --- what a run that commits asks

    def committed(self, reply: Reply) -> None:
        """See `committing.CommitPath`."""
        if self._job_sink is not None and (reply.jobs or reply.canceled_jobs):
            self._job_sink.take_jobs(reply.jobs, reply.canceled_jobs)
        if reply.deleted_files and self.take_deleted_files is not None:
            self.take_deleted_files(reply.deleted_files)

    def lost_race(self) -> None:
        """See `committing.CommitPath`."""
        self.conflicts += 1

    async def conflict(self, call: Call, lost: Conflicted, snapshot_ts: int) -> Exception:
        """See `committing.CommitPath`: with the document that was in the way."""
        found = await self.run_system("document_of_key", {"key": lost.key}) if lost.key else None
        name = f"{call.component}/{call.path}" if call.component else call.path
        return Conflict(
            function=name,
            attempts=MUTATION_ATTEMPTS_MAX,
            snapshot_ts=snapshot_ts,
            write_ts=lost.ts,
            written_by=lost.written_by,
            table=None if found is None else found["table"],
            document_id=None if found is None else found["id"],
        )
