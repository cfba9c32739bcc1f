"""The sync endpoint: moves frames and performs effects. Every decision is `SyncState`'s.

A message is taken in the step in which it is read, and what is to be sent goes to the socket at once: a connection's
task only waits for the end, and for messages that must wait themselves; another one waits while the socket is full.
Calls of functions outlive the socket, because what a mutation commits does not depend on who still listens.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future, Task, TimerHandle
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, assert_never

from starlette.responses import JSONResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from convexpy.environment import Environment
from convexpy.errors import AuthProviderUnavailable, Conflict, Overloaded, Unauthenticated, WorkerLost
from convexpy.limits import AUTH_EXPIRY_LOOK_SECONDS_MAX, CLOSE_SECONDS_MAX, PING_SECONDS
from convexpy.runtime.client_version import ClientVersionError, client_version
from convexpy.runtime.identity import Authenticator
from convexpy.runtime.interface import Backend, Outcome
from convexpy.sync import messages
from convexpy.sync.effects import INTERNAL_ERROR, Close, RunAction, RunMutation, RunTogether, VerifyToken
from convexpy.sync.flushing import Flusher
from convexpy.sync.state import SyncState
from convexpy.sync.transport import transport_of

log = logging.getLogger(__name__)
T = TypeVar("T")


class SyncEndpoint:
    """Serves `/api/sync` and `/api/{version}/sync`."""

    def __init__(self, backend: Backend, authenticator: Authenticator, environment: Environment) -> None:
        self.backend = backend
        self.authenticator = authenticator
        self.environment = environment
        self._calls: set[Future[Any]] = set()  # asyncio itself keeps no strong reference
        self.flusher = Flusher()

    def routes(self) -> list[WebSocketRoute]:
        return [
            WebSocketRoute("/api/sync", self.serve),
            WebSocketRoute("/api/{version}/sync", self.serve),
        ]

    async def serve(self, websocket: WebSocket) -> None:
        """One connection, from the upgrade to its end."""
        try:
            version = client_version(websocket.headers.get("convex-client"), websocket.path_params.get("version"))
        except ClientVersionError as error:
            await _refuse_upgrade(websocket, "InvalidClientVersion", str(error))
            return
        if not version.is_supported:
            await _refuse_upgrade(websocket, "ClientVersionUnsupported", version.unsupported_text)
            return
        await websocket.accept()
        await _Connection(self, websocket, takes_chunks=version.takes_transition_chunks).run()

    def spawn(self, call: Coroutine[Any, Any, None]) -> Task[None]:
        """Start a call that nobody awaits."""
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    def call(self, call: Awaitable[T], then: Callable[[Future[T]], None]) -> None:
        """Start a call; `then` gets it when it is done."""
        future = asyncio.ensure_future(call)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        future.add_done_callback(then)


class _Connection:
    def __init__(self, endpoint: SyncEndpoint, websocket: WebSocket, *, takes_chunks: bool) -> None:
        self._endpoint = endpoint
        self._backend = endpoint.backend
        self._now_ns = endpoint.environment.now_ns
        self._websocket = websocket
        self._transport = transport_of(websocket.scope)
        self._loop = asyncio.get_running_loop()
        self._reader = asyncio.current_task()
        self._writer: Task[None] | None = None
        self._verification: Task[None] | None = None
        self._is_holding = False  # a message that waits for it
        self._has_closed = False
        self._state = SyncState(
            endpoint.backend,
            endpoint.authenticator,
            lambda: endpoint.flusher.note_change(self),
            takes_chunks=takes_chunks,
        )
        self._sent_at = self._loop.time()
        self._ping_timer: TimerHandle = self._loop.call_later(PING_SECONDS, self._ping)
        self._cut_off_timer: TimerHandle | None = None
        self._is_cut_off = False
        self._expiry_timer: TimerHandle | None = None
        self._timed_expiry_ns: int | None = None

    async def run(self) -> None:
        try:
            await self._read()
        except asyncio.CancelledError:
            if not self._is_cut_off:
                raise
        finally:
            self._ping_timer.cancel()
            for timer in (self._cut_off_timer, self._expiry_timer):
                if timer is not None:
                    timer.cancel()
            self._state.close(Close(1001))
            self._has_closed = True
            if self._writer is not None:
                self._writer.cancel()

    async def _read(self) -> None:
        """Until the socket is gone, from whichever side: after a close of ours too, a disconnect frame comes."""
        self._transport.deliver_to(self)
        while (frame := await self._websocket.receive())["type"] != "websocket.disconnect":
            while self._verification is not None:
                self._is_holding = True
                await asyncio.wait((self._verification,))
            self._is_holding = False
            self._receive(frame.get("text"))

    def take_text(self, text: str) -> bool:
        """See `transport.TextReceiver`. No message may pass a token under verification, nor one that waits for it."""
        if self._verification is not None or self._is_holding:
            return False
        self._receive(text)
        return True

    def _receive(self, text: str | None) -> None:
        try:
            if text is None:
                self._state.receive_binary()
            else:
                self._state.receive(text, self._now_ns())
            self._settle()
        except Exception as error:
            self._fail(error)

    @property
    def awaits_answer(self) -> bool:
        """See `flushing.Sender`."""
        return self._state.is_mutating

    def flush(self) -> None:
        """Send what is due; if the socket is full, or to be closed, a task does the rest."""
        if self._writer is not None or self._has_closed:
            return  # a writer looks for what is due after each message
        state = self._state
        self._advance()
        try:
            while (message := state.outgoing.take()) is not None:
                if not self._transport.try_send_text(message):
                    break
                state.outgoing.sent()
                self._sent_at = self._loop.time()
        except WebSocketDisconnected:
            return  # the reader is told as well
        self._transport.write_through()
        if message is not None or state.closing is not None:
            self._writer = self._endpoint.spawn(self._write())

    async def _write(self) -> None:
        """Send what is outgoing; while the socket is full, results coalesce in the state."""
        state = self._state
        try:
            with suppress(WebSocketDisconnect, WebSocketDisconnected):
                while (message := state.outgoing.take()) is not None:
                    await self._transport.send_text(message)
                    self._sent_at = self._loop.time()
                    state.outgoing.sent()
                    self._advance()
                if state.closing is not None:
                    self._has_closed = True
                    await self._websocket.close(state.closing.code, state.closing.reason)
        finally:
            self._writer = None

    def _advance(self) -> None:
        try:
            if not self._endpoint.flusher.is_early(self):
                self._state.advance(self._now_ns())
            self._start_effects()
        except Exception as error:
            self._fail(error)

    def _settle(self) -> None:
        """After any event: start what it calls for and send what has come of it."""
        self._start_effects()
        self.flush()
        if self._state.expires_ns != self._timed_expiry_ns:
            self._time_expiry()
        if self._state.closing is not None and self._cut_off_timer is None:
            self._cut_off_timer = self._loop.call_later(CLOSE_SECONDS_MAX, self._cut_off)

    def _start_effects(self) -> None:
        while self._state.effects:
            match effect := self._state.effects.popleft():
                case RunMutation():
                    call = self._backend.mutation(effect.request, effect.session)
                    self._endpoint.call(call, partial(self._mutation_ended, effect.request_id))
                case RunAction():
                    self._endpoint.spawn(self._call(self._act(effect)))
                case RunTogether():
                    self._endpoint.spawn(self._call(self._run_together(effect)))
                case VerifyToken():
                    self._verification = self._endpoint.spawn(self._call(self._verify(effect)))
                case _:
                    assert_never(effect)

    def _mutation_ended(self, request_id: int, call: Future[Outcome]) -> None:
        if call.cancelled():
            return  # with the server
        try:
            self._state.mutation_ended(request_id, call.result())
            self._endpoint.flusher.note_answer(self)
            self._settle()
        except Exception as error:
            self._fail(error)

    async def _call(self, call: Coroutine[Any, Any, None]) -> None:
        try:
            await call
            self._settle()
        except Exception as error:
            self._fail(error)

    async def _act(self, effect: RunAction) -> None:
        outcome = await self._backend.action(effect.request)
        self._state.action_ended(effect.request_id, outcome)

    async def _run_together(self, effect: RunTogether) -> None:
        ts, outcomes = await self._backend.live.run_together(effect.requests)
        self._state.ran_together(ts, outcomes, self._now_ns())

    async def _verify(self, effect: VerifyToken) -> None:
        try:
            caller = await self._endpoint.authenticator.user(effect.token)
        except Unauthenticated as error:
            self._state.token_refused(str(error))
        else:
            self._state.token_verified(caller)
        finally:
            self._verification = None

    def _fail(self, error: Exception) -> None:
        """The runtime's fault, not the client's: it reconnects and sends again what has no answer."""
        if isinstance(error, Overloaded | Conflict | AuthProviderUnavailable):
            self._state.close(Close(1013, error.code))
        elif isinstance(error, WorkerLost):  # the operator has been told by whoever lost it
            self._state.close(INTERNAL_ERROR)
        else:
            log.error("A sync connection failed.", exc_info=error)
            self._state.close(INTERNAL_ERROR)
        self._settle()

    def _ping(self) -> None:
        """Clients give up after 30 or 60 s without a message. A socket that is being written to needs none."""
        silence = self._loop.time() - self._sent_at
        if silence >= PING_SECONDS:
            silence = 0.0
            if self._state.outgoing.is_empty:
                self._state.outgoing.push(messages.PING)
                self.flush()
        self._ping_timer = self._loop.call_later(PING_SECONDS - silence, self._ping)

    def _time_expiry(self) -> None:
        """Wake when the token expires: a client that hears of nothing else learns of that, and brings a fresh one."""
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        self._timed_expiry_ns = expires_ns = self._state.expires_ns
        if expires_ns is not None and self._state.closing is None:
            # The wall clock decides and may be set, or run on while the machine sleeps: timers know nothing of that.
            seconds = min(max(expires_ns - self._now_ns(), 0) / 1e9, AUTH_EXPIRY_LOOK_SECONDS_MAX)
            self._expiry_timer = self._loop.call_later(seconds, self._look_at_expiry)

    def _look_at_expiry(self) -> None:
        if self._state.expire(self._now_ns()):
            self._settle()
        else:
            self._time_expiry()

    def _cut_off(self) -> None:
        self._is_cut_off = True
        assert self._reader is not None
        self._reader.cancel()


async def _refuse_upgrade(websocket: WebSocket, code: str, text: str) -> None:
    await websocket.send_denial_response(JSONResponse({"code": code, "message": text}, 400))
