"""Runs an action: validates, calls the handler, and turns what it asks of the database into operations of the server.

Every nested call is a transaction of its own. References are resolved here, where the app is loaded; the server gets
component and path. An action worker reads the database only to know tables and namespaces.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Protocol

import msgspec

from convexpy.environment import Environment, RealEnvironment
from convexpy.errors import CalledFunctionFailed, CallEnded, ConvexError, FunctionNotFound, Unauthenticated
from convexpy.functions.action_context import ActionCtx, BlockingActionCtx
from convexpy.functions.http_actions import send_response
from convexpy.functions.running import running
from convexpy.functions.storage import Blob, BlockingBlob
from convexpy.runtime.execute import decode_arguments, locate_call
from convexpy.runtime.execution import Frame, Run
from convexpy.runtime.failures import failure_of
from convexpy.runtime.generation import Generation
from convexpy.runtime.http_actions import WorkerExchange, error_body
from convexpy.runtime.log_capture import capturing
from convexpy.runtime.messages import Call, Reply
from convexpy.runtime.resolution import Located
from convexpy.runtime.stored_files import FileWriter, checked_content_type
from convexpy.storage.lmdb_store import LmdbStore
from convexpy.transactions.transaction import Transaction
from convexpy.values import Validator, decode_json, encode_as, encode_json

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


class Operations(Protocol):
    """How an action's worker reaches the server; see `processes.host.ActionHost`."""

    async def operation(self, call_id: int, kind: str, payload: bytes) -> bytes: ...

    def operation_blocking(self, call_id: int, kind: str, payload: bytes) -> bytes: ...

    async def in_thread(self, function: Callable[[], Any]) -> Any: ...


class ActionRunner:
    """Runs the actions of one worker process, many side by side."""

    def __init__(self, generation: Generation, store: LmdbStore, environment: Environment | None = None) -> None:
        self._generation = generation
        self._store = store
        self.files = store.folder / "files"
        self.environment = environment or RealEnvironment()

    async def run(self, call: Call, operations: Operations) -> Reply:
        """Run a call to its end; every error of the action is a reply. Cancelling this cancels the action."""
        with self._store.snapshot() as snapshot:
            run = self._run_at(snapshot, call)
        with capturing(run.sink):
            try:
                if call.kind == "httpAction":
                    await self._serve(run, operations)
                    reply = Reply(id=call.id, is_ok=True)
                else:
                    located, kwargs = self._prepare(call)
                    value = await self._perform(run, located, kwargs, operations)
                    reply = Reply(id=call.id, is_ok=True, value=encode_as(value, call.format))
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # GeneratorExit and the like too: whoever waits for the action gets a reply
                failure = failure_of(error, self._generation.limits)
                reply = Reply(
                    id=call.id,
                    is_ok=False,
                    error=failure.client_text(call.request_id, call.is_redacted),
                    error_data=failure.encoded_data(call.format),
                )
                if call.kind == "httpAction":
                    reply.value = error_body(failure, call.request_id, call.is_redacted)
        reply.log_lines = [] if call.is_redacted else run.sink.finish()
        return reply

    def _run_at(self, snapshot: Any, call: Call) -> Run:
        catalog = self._generation.catalogs.at(snapshot)
        transaction = Transaction(snapshot, catalog, self._generation.limits, call.seed, call.now_ns // 1_000_000)
        return Run(call, self._generation, transaction, b"")

    def _prepare(self, call: Call) -> tuple[Located, dict[str, Any]]:
        args = decode_arguments(call)
        with self._store.snapshot() as snapshot:
            run = self._run_at(snapshot, call)
            located = locate_call(run, "action")
            Frame(run, located.instance, located.namespace, located.function, is_top=True).check_args(args)
        return located, located.function.bind(args)

    async def _perform(self, run: Run, located: Located, kwargs: dict[str, Any], operations: Operations) -> Any:
        host = _Host(self, run, located, operations)
        function = located.function
        with running(host), host:
            if function.is_async:
                result = await function.handler(ActionCtx(host), **kwargs)
            else:
                context = contextvars.copy_context()
                work = partial(context.run, partial(_call, function.handler, BlockingActionCtx(host), **kwargs))
                result = await operations.in_thread(work)
        with self._store.snapshot() as snapshot:
            fresh = self._run_at(snapshot, run.call)
            return Frame(fresh, located.instance, located.namespace, function, is_top=True).check_result(result)

    async def _serve(self, run: Run, operations: Operations) -> None:
        """Run an HTTP action and send its response; background tasks of the response are part of it."""
        call = run.call
        instance = self._generation.application.instances.get(call.component)
        function = None if instance is None or instance.http is None else instance.http.actions.get(call.path)
        if instance is None or function is None:
            raise FunctionNotFound(f"The route {call.path} is gone: other code has been pushed meanwhile.")
        located = Located(instance, run.resolver.namespace_of(call.component), function)
        exchange = WorkerExchange(call.id, call.args, operations)
        host = _Host(self, run, located, operations, exchange.head.identity_error)
        with running(host), host:
            if function.is_async:
                request = exchange.request()
                try:
                    response = await function.handler(ActionCtx(host), request)
                    await send_response(response, call.path, exchange.scope, exchange.receive, exchange.send)
                finally:
                    await request.close()  # the files of its form
            else:
                context = contextvars.copy_context()
                with contextlib.closing(exchange.blocking_request()) as blocking:
                    handle = partial(context.run, _call, function.handler, BlockingActionCtx(host), blocking)
                    response = await operations.in_thread(handle)
                    await send_response(response, call.path, exchange.scope, exchange.receive, exchange.send)

    def locate(self, caller: Located, call: Call, reference: Any) -> Located:
        """Resolve a reference as the action's component sees it now."""
        with self._store.snapshot() as snapshot:
            return self._run_at(snapshot, call).resolver.locate(caller.instance, reference)

    def check_value(self, caller: Located, call: Call, value: Any, validator: Validator) -> None:
        """Check a value with the tables that the action's component has now."""
        with self._store.snapshot() as snapshot:
            run = self._run_at(snapshot, call)
            Frame(run, caller.instance, caller.namespace, caller.function, is_top=True).check_value(value, validator)


def _call(handler: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a `def` handler in its thread: no future can carry a StopIteration, no await hands on a GeneratorExit."""
    try:
        return handler(*args, **kwargs)
    except (StopIteration, GeneratorExit) as error:
        raise RuntimeError(f"the action raised {type(error).__name__}").with_traceback(error.__traceback__) from error


class _Host:
    """The host of an action's ctx."""

    def __init__(
        self, runner: ActionRunner, run: Run, located: Located, operations: Operations, identity_error: str = ""
    ) -> None:
        self._runner, self._run, self._located, self._operations = runner, run, located, operations
        self._identity_error = identity_error
        self._has_ended = False

    def __enter__(self) -> None:
        """The body is the call; what asks after it, a task or a ctx that was kept, would never get an answer."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._has_ended = True

    @property
    def identity(self) -> Mapping[str, Any] | None:
        if self._located.instance.path != "":
            return None
        if self._identity_error:
            raise Unauthenticated(self._identity_error, "Unauthenticated")
        return self._run.identity

    def perform(self, operation: str, reference: Any, payload: dict[str, Any]) -> Awaitable[Any]:
        """See `context.ActionHost`."""
        if self._has_ended:
            raise CallEnded
        if operation == "storage.store":
            return self._store(reference, payload)
        if operation == "storage.get":
            return self._get(payload)
        return self._perform(operation, self._encode(operation, reference, payload))

    async def _perform(self, operation: str, encoded: bytes) -> Any:
        return _result(await self._operations.operation(self._run.call.id, operation, encoded))

    def perform_blocking(self, operation: str, reference: Any, payload: dict[str, Any]) -> Any:
        """See `context.ActionHost`."""
        if self._has_ended:
            raise CallEnded
        if operation == "storage.store":
            return self._store_blocking(reference, payload)
        if operation == "storage.get":
            row = self._ask_blocking("storage.get", payload)
            return None if row is None else BlockingBlob(row, (self._runner.files / row["uuid"]).read_bytes)
        encoded = self._encode(operation, reference, payload)
        return _result(self._operations.operation_blocking(self._run.call.id, operation, encoded))

    async def _store(self, data: Any, payload: dict[str, Any]) -> Any:
        content_type = checked_content_type(payload["content_type"])
        in_thread = self._operations.in_thread
        name = await self._perform("storage.new_name", self._encode("storage.new_name", None, {}))
        writer = await in_thread(partial(FileWriter, self._runner.files, name))
        try:
            if isinstance(data, AsyncIterable):
                async for chunk in data:
                    await in_thread(partial(writer.write, chunk))
            else:
                await in_thread(partial(writer.write, bytes(memoryview(data))))
            sha256 = await in_thread(partial(writer.finish, payload["sha256"]))
        except BaseException:
            writer.discard()
            raise
        row = {"uuid": name, "size": writer.size, "sha256": sha256, "contentType": content_type}
        return await self._perform("storage.add", self._encode("storage.add", None, row))

    def _store_blocking(self, data: Any, payload: dict[str, Any]) -> Any:
        content_type = checked_content_type(payload["content_type"])
        writer = FileWriter(self._runner.files, self._ask_blocking("storage.new_name", {}))
        try:
            writer.write(bytes(memoryview(data)))
            sha256 = writer.finish(payload["sha256"])
        except BaseException:
            writer.discard()
            raise
        row = {"uuid": writer.uuid, "size": writer.size, "sha256": sha256, "contentType": content_type}
        return self._ask_blocking("storage.add", row)

    async def _get(self, payload: dict[str, Any]) -> Blob | None:
        row = await self._perform("storage.get", self._encode("storage.get", None, payload))
        read = None if row is None else (self._runner.files / row["uuid"]).read_bytes
        return None if read is None else Blob(row, partial(self._operations.in_thread, read))

    def _ask_blocking(self, operation: str, payload: dict[str, Any]) -> Any:
        encoded = self._encode(operation, None, payload)
        return _result(self._operations.operation_blocking(self._run.call.id, operation, encoded))

    def read_clock_ms(self) -> float:
        """See `context.ActionHost`."""
        return self._runner.environment.now_ns() / 1e6

    def create_handle(self, reference: Any) -> str:
        """See `running.RunningCall`."""
        return self._locate(reference).handle

    def kind_of(self, reference: Any) -> str:
        """See `running.RunningCall`."""
        return self._locate(reference).function.kind

    def check_value(self, value: Any, validator: Validator) -> None:
        """See `running.RunningCall`."""
        self._runner.check_value(self._located, self._run.call, value, validator)

    def _locate(self, reference: Any) -> Located:
        return self._runner.locate(self._located, self._run.call, reference)

    def _encode(self, operation: str, reference: Any, payload: dict[str, Any]) -> bytes:
        caller = self._located.instance.path
        if operation.startswith("storage."):
            return _pack({"component": caller, **payload})
        if operation == "cancel":
            return _pack({"component": caller, "job_id": payload["job_id"]})
        target = self._locate(reference)
        args = encode_json(payload["args"])
        if operation != "schedule":
            return _pack({"component": target.instance.path, "path": target.function.path, "args": args})
        callbacks = {
            name: None if payload[name] is None else self._locate(payload[name]).handle
            for name in ("on_complete", "on_complete_failed")
        }
        return _pack(
            {
                "component": caller,
                "function": target.handle,
                "args": args,
                "due_ms": payload["due_ms"],
                **callbacks,
                "context": encode_json(payload["context"]),
                "lane": payload["lane"],
                "completes_together": payload["completes_together"],
                "queue": payload["queue"],
            }
        )


def _result(raw: bytes) -> Any:
    """What the server answered: a value, or an error to raise where the action called."""
    answer = _unpack(raw)
    if answer["ok"]:
        return decode_json(answer["value"])
    if answer["data"] is not None:
        raise ConvexError(decode_json(answer["data"]))
    raise CalledFunctionFailed(answer["error"])
