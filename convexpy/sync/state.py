"""One client's side of the sync protocol as a state machine: no socket, no task, no clock.

Client messages and the outcomes of effects go in; `effects` and `outgoing` come out, and a transport moves both. When a
transition is due, and what is in it, is the matter of `transitions`.

Source: wire-protocol 0, 2, 3; convex-js src/browser/sync/protocol.ts; DESIGN 7.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import sha256
from typing import assert_never

import msgspec
from msgspec import structs

from convexpy.errors import InvalidRequest, Unauthenticated
from convexpy.limits import QUERIES_PER_SESSION_MAX, QUEUED_MUTATIONS_MAX
from convexpy.runtime.function_path import canonical_path
from convexpy.runtime.identity import ANONYMOUS, Authenticator, Caller
from convexpy.runtime.interface import Backend, FunctionRequest, Outcome
from convexpy.runtime.timestamps import decode_ts
from convexpy.sync import messages
from convexpy.sync.effects import INTERNAL_ERROR, Close, Effect, RunAction, RunMutation, VerifyToken
from convexpy.sync.outgoing import Outgoing
from convexpy.sync.query_set import QuerySet
from convexpy.sync.transitions import Transitions

ACTIONS_IN_FLIGHT_PER_CLIENT_MAX = QUEUED_MUTATIONS_MAX


class SyncState:
    """One connection. `entry_changed` only notes that something is due; `advance` does it.

    Args:
        backend: asked for `live` and `published_ts` only.
        wake: called whenever an entry changed, so `advance` should be called soon.
        takes_chunks: whether the client can be sent a long transition in parts, so that it sees it arrive.
    """

    def __init__(
        self, backend: Backend, authenticator: Authenticator, wake: Callable[[], object], *, takes_chunks: bool = False
    ) -> None:
        self.effects: deque[Effect] = deque()
        self.outgoing = Outgoing()
        self.closing: Close | None = None
        self._backend = backend
        self._authenticator = authenticator
        self._wake = wake

        self._session_id: str | None = None
        self._caller: Caller = ANONYMOUS
        self._is_verifying = False

        self._queries = QuerySet(backend.live, self)
        self._transitions = Transitions(backend, self._queries, self.outgoing, takes_chunks=takes_chunks)

        self._mutations: deque[RunMutation] = deque()
        self._is_mutating = False
        self._actions_in_flight = 0

    # --- what the client says ---

    def receive(self, text: str, now_ns: int) -> None:
        """Take one text frame."""
        if self.closing is not None:
            return
        assert not self._is_verifying, "a client message came in before a token's verification ended"
        try:
            message = messages.decode_client_message(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self._fail(f"Received Invalid JSON on websocket: {error}")
            return
        match message:
            case messages.Mutation():
                self._receive_mutation(message, now_ns)
            case messages.ModifyQuerySet():
                self._modify_query_set(message)
            case messages.Action():
                self._receive_action(message, now_ns)
            case messages.Authenticate():
                self._authenticate(message)
            case messages.Connect():
                self._connect(message, now_ns)
            case messages.Event():
                pass
            case _:
                assert_never(message)

    def receive_binary(self) -> None:
        """Take a binary frame, which the protocol does not have."""
        self.close(INTERNAL_ERROR)

    def _connect(self, message: messages.Connect, now_ns: int) -> None:
        try:
            observed_ts = 0 if message.maxObservedTimestamp is None else decode_ts(message.maxObservedTimestamp)
        except ValueError as error:
            self._fail(f"Received Invalid JSON on websocket: {error}")
            return
        if observed_ts > self._backend.published_ts:
            # The client knows a later database than this one: another deployment's, or one restored from a backup.
            self.close(INTERNAL_ERROR)
            return
        self._session_id = str(message.sessionId)
        if message.clientTs is not None:
            self._transitions.skew_ms = int(message.clientTs) - now_ns // 1_000_000

    def _modify_query_set(self, message: messages.ModifyQuerySet) -> None:
        current = self._transitions.query_set_version
        if message.baseVersion != current:
            self._fail(f"Base version {message.baseVersion} passed up doesn't match the current version {current}")
            return
        if message.newVersion <= message.baseVersion:
            self.close(INTERNAL_ERROR)
            return
        for modification in message.modifications:
            is_known = modification.queryId in self._queries
            if isinstance(modification, messages.Remove):
                if not is_known:
                    self.close(INTERNAL_ERROR)
                    return
                self._queries.remove(modification.queryId)
                continue
            if is_known or not self._may_name(modification.componentPath):
                self.close(INTERNAL_ERROR)
                return
            if len(self._queries) >= QUERIES_PER_SESSION_MAX:
                self.close(Close(1013, "TooManyQueriesInQuerySet"))
                return
            request = self._request(modification, request_id="")
            self._queries.add(modification.queryId, structs.replace(request, journal=modification.journal))
            self._transitions.note_question()
        self._transitions.query_set_version = message.newVersion
        self._transitions.is_owed = True

    def _receive_mutation(self, message: messages.Mutation, now_ns: int) -> None:
        if not self._may_start(message, now_ns):
            return
        if len(self._mutations) >= QUEUED_MUTATIONS_MAX:
            self.close(Close(1013, "TooManyConcurrentMutations"))
            return
        session = None if self._session_id is None else (self._session_id, message.requestId)
        request = self._request(message, self._request_id(message.requestId))
        self._mutations.append(RunMutation(message.requestId, request, session))
        self._start_next_mutation()

    def _receive_action(self, message: messages.Action, now_ns: int) -> None:
        if not self._may_start(message, now_ns):
            return
        if self._actions_in_flight >= ACTIONS_IN_FLIGHT_PER_CLIENT_MAX:
            self.close(Close(1013, "TooManyInflightActionsForSingleClient"))
            return
        self._actions_in_flight += 1
        request = self._request(message, self._request_id(message.requestId))
        self.effects.append(RunAction(message.requestId, request))

    def _authenticate(self, message: messages.Authenticate) -> None:
        if message.baseVersion != self._transitions.identity_version:
            self.close(INTERNAL_ERROR)
            return
        match message.tokenType:
            case "None":
                self._accept(ANONYMOUS)
            case "User":
                self._is_verifying = True
                self.effects.append(VerifyToken(message.value))
            case "Admin":
                acting_as = next(
                    (raw for raw in map(bytes, (message.impersonating, message.acting_as)) if raw != b"null"), None
                )
                try:
                    self._accept(self._authenticator.admin(message.value, acting_as))
                except Unauthenticated as error:
                    self._refuse(str(error), is_update=True)
            case _:
                assert_never(message.tokenType)

    # --- what came of effects ---

    def token_verified(self, caller: Caller) -> None:
        self._is_verifying = False
        if self.closing is None:
            self._accept(caller)

    def token_refused(self, text: str) -> None:
        self._is_verifying = False
        self._refuse(text, is_update=True)

    def mutation_ended(self, request_id: int, outcome: Outcome) -> None:
        if self.closing is not None:
            return
        self._is_mutating = False
        self._respond(outcome.ts if outcome.ok else 0, messages.mutation_response(request_id, outcome))
        self._start_next_mutation()

    def action_ended(self, request_id: int, outcome: Outcome) -> None:
        if self.closing is not None:
            return
        self._actions_in_flight -= 1
        self._respond(outcome.ts, messages.action_response(request_id, outcome))

    def ran_together(self, ts: int, outcomes: list[Outcome], now_ns: int) -> None:
        """The second round is back.

        Args:
            ts: the snapshot at which all `outcomes` were read, in the order of the requests.
        """
        round_ = self._transitions.end_second_round()
        self.expire(now_ns)
        if self.closing is not None:
            return
        self._transitions.send_together(round_, ts, outcomes, now_ns)
        self._close_if_unread()

    @property
    def is_mutating(self) -> bool:
        """Whether the client waits for the answer to a mutation that has begun."""
        return self._is_mutating

    @property
    def expires_ns(self) -> int | None:
        """When the client's token expires; `expire` is to be called then."""
        return self._caller.expires_ns

    def expire(self, now_ns: int) -> bool:
        """End the session if its token holds no more; whether it does not. One being verified may replace it."""
        if self._caller is ANONYMOUS:
            return False
        has_expired = self._caller.is_expired(now_ns)
        is_over = has_expired or not self._authenticator.trusts(self._caller)
        if is_over and not self._is_verifying:
            text = "The token has expired." if has_expired else "The token's provider is not trusted any more."
            self._refuse(text, is_update=False)
        return is_over

    def entry_changed(self) -> None:
        self._transitions.is_touched = True
        self._wake()

    def advance(self, now_ns: int) -> None:
        """Send the transition that is due, or take the next step towards it."""
        if self.closing is not None:
            return
        if not self._transitions.is_due or self.expire(now_ns):
            return
        together = self._transitions.advance(now_ns)
        if together is not None:
            self.effects.append(together)

    def _respond(self, ts: int, response: bytes) -> None:
        self._transitions.respond(ts, response)
        self._close_if_unread()

    def _close_if_unread(self) -> None:
        if self.outgoing.is_overflowing:
            self.close(Close(1013, "ClientReadsTooSlowly"))

    def _start_next_mutation(self) -> None:
        # Strictly one at a time: a client counts on its second mutation seeing what its first one wrote.
        if self._mutations and not self._is_mutating:
            self._is_mutating = True
            self.effects.append(self._mutations.popleft())

    # --- requests ---

    def _request(self, message: messages.Add | messages.Mutation | messages.Action, request_id: str) -> FunctionRequest:
        try:
            path = canonical_path(message.udfPath)
        except InvalidRequest:
            path = message.udfPath  # no such function then: an error of the call, not of the protocol
        return FunctionRequest(
            path=path,
            args=messages.single_argument(message.args),
            component=message.componentPath or "",
            identity=self._caller.identity,
            is_admin=self._caller.is_admin,
            request_id=request_id,
            caller="SyncWorker",
        )

    def _request_id(self, number: int) -> str:
        if self._session_id is None:
            return ""
        return sha256(f"{self._session_id}|{number}".encode()).hexdigest()[:16]

    def _may_start(self, message: messages.Mutation | messages.Action, now_ns: int) -> bool:
        if not self._may_name(message.componentPath):
            self.close(INTERNAL_ERROR)
        else:
            self.expire(now_ns)
        return self.closing is None

    def _may_name(self, component: str | None) -> bool:
        return not component or self._caller.is_admin

    # --- identity and endings ---

    def _accept(self, caller: Caller) -> None:
        self._transitions.identity_version += 1
        self._caller = caller
        self._queries.change_caller(caller)
        self._transitions.note_question()
        self._transitions.is_owed = True

    def _refuse(self, text: str, is_update: bool) -> None:
        """Closing is part of it: a JS client counts its identity on without a word when it gives up."""
        if self.closing is None:
            self.outgoing.push(messages.auth_error(text, self._transitions.sent_identity, is_update))
            self.close(Close(1000))

    def _fail(self, text: str) -> None:
        self.outgoing.push(messages.fatal_error(text))
        self.close(Close(1000))

    def close(self, how: Close) -> None:
        """End the session: no more effects, no more messages but those already outgoing. Closing twice is once."""
        if self.closing is None:
            self.closing = how
            self._mutations.clear()
            self.effects.clear()
            self._queries.close()
