"""The session's promises one by one, and what it does with a client that breaks the protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convexpy.limits import QUEUED_MUTATIONS_MAX, UNSENT_BYTES_MAX
from convexpy.runtime.identity import AdminKeyAuthenticator, Caller
from convexpy.runtime.interface import Outcome
from convexpy.runtime.timestamps import encode_ts
from convexpy.sync.effects import RunAction, RunMutation, RunTogether, VerifyToken
from convexpy.sync.state import SyncState
from tests.sync.fake_backend import FakeBackend, FakeEntry
from tests.sync.model_client import ModelClient

ADMIN_KEY = "dev:test|secret"
SESSION = "4339ecba-272a-47a4-a95c-26938a22326a"


class Session:
    """A state machine, its client, and no time between them."""

    def __init__(self) -> None:
        self.backend = FakeBackend()
        self.state = SyncState(self.backend, AdminKeyAuthenticator(ADMIN_KEY), lambda: None)
        self.client = ModelClient(self.backend, lambda text: self.state.receive(text, now_ns=0))
        self.client.connect(SESSION)

    def deliver(self, now_ns: int = 0) -> list[dict[str, Any]]:
        """Let the socket take all there is."""
        received = []
        self.state.advance(now_ns)
        while (message := self.state.outgoing.take()) is not None:
            received.append(self.client.receive(message))
            self.state.outgoing.sent()
            self.state.advance(now_ns)
        return received

    def send(self, **message: Any) -> list[dict[str, Any]]:
        self.client.send(**message)
        return self.deliver()

    def entry(self, key: str) -> FakeEntry:
        return next(e for e in self.backend.entries.values() if json.loads(e.request.args) == {"keys": [key]})

    def run(self, key: str) -> None:
        self.backend.begin_run(self.entry(key))
        self.backend.end_run(self.entry(key))

    def watch(self, *keys: str) -> None:
        self.client.modify([[key] for key in keys])
        for key in keys:
            self.run(key)
        self.deliver()


@pytest.fixture
def session() -> Session:
    return Session()


def mutation(number: int, path: str = "db:write") -> dict[str, Any]:
    return {"type": "Mutation", "requestId": number, "udfPath": path, "args": [{}]}


def test_a_storm_of_commits_cannot_hold_back_news(session: Session) -> None:
    """Each result is outdated by the time the other is back, so they never meet; the second round ends that."""
    session.watch("a", "b")
    session.backend.commit("a", 1)
    session.backend.commit("b", 1)
    session.run("a")
    assert session.deliver() == []

    session.backend.commit("a", 2)
    session.run("b")
    assert session.deliver() == []
    effect = session.state.effects.popleft()
    assert isinstance(effect, RunTogether)
    ts = session.backend.published_ts
    session.backend.commit("b", 2)
    session.state.ran_together(ts, session.backend.run_together_at(effect.requests, ts), now_ns=0)

    assert [message["type"] for message in session.deliver()] == ["Transition"]
    assert session.client.ts == ts


def test_a_stale_result_still_serves_an_older_timestamp(session: Session) -> None:
    """While one query runs again, an unrelated change of the query set need not wait for it."""
    session.watch("a", "b")
    session.backend.commit("a", 1)

    session.client.modify(remove=[1])
    (transition,) = session.deliver()

    assert transition["modifications"] == [{"type": "QueryRemoved", "queryId": 1}]
    assert session.client.ts == session.backend.published_ts - 1


def test_a_query_is_not_answered_with_a_result_that_was_stale_when_it_was_asked(session: Session) -> None:
    """Somebody else may have been told of the commit already. (The client checks what it is sent.)"""
    session.watch("a")
    session.backend.commit("a", 1)

    session.client.modify([["a"]])
    assert session.deliver() == []
    session.run("a")
    (transition,) = session.deliver()

    assert [change["value"]["a"] for change in transition["modifications"]] == [1, 1]


def test_staleness_alone_sends_nothing(session: Session) -> None:
    session.watch("a")

    session.backend.commit("a", 1)

    assert session.deliver() == []


def test_a_rerun_with_the_same_result_sends_nothing(session: Session) -> None:
    session.backend.commit("a", 1)
    session.watch("a")

    session.backend.commit("a", 1)
    session.run("a")

    assert session.deliver() == []


@pytest.mark.parametrize("is_ok", [True, False])
def test_a_transition_follows_every_mutation_response(session: Session, is_ok: bool) -> None:
    """The Python client waits for one even after an error."""
    session.watch("a")
    session.send(**mutation(0))

    session.state.mutation_ended(0, Outcome(ok=is_ok, error="no", ts=session.backend.commit("x", 1) if is_ok else 0))

    response, transition = session.deliver()
    assert (response["type"], response["success"]) == ("MutationResponse", is_ok)
    assert response["ts"] == (encode_ts(session.backend.published_ts) if is_ok else None)
    assert (transition["type"], transition["modifications"]) == ("Transition", [])


def test_a_response_during_the_second_round_waits_if_its_commit_is_later(session: Session) -> None:
    session.watch("a", "b")
    session.send(**mutation(0))
    session.state.effects.clear()
    session.backend.commit("a", 1)
    session.backend.commit("b", 1)
    session.run("a")
    session.deliver()
    session.backend.commit("a", 2)
    session.run("b")
    session.deliver()
    effect = session.state.effects.popleft()
    assert isinstance(effect, RunTogether)
    ts = session.backend.published_ts

    session.state.mutation_ended(0, Outcome(ok=True, ts=session.backend.commit("a", 3)))
    assert session.deliver() == []
    session.state.ran_together(ts, session.backend.run_together_at(effect.requests, ts), now_ns=0)

    assert [message["type"] for message in session.deliver()] == ["Transition", "MutationResponse"]
    session.run("a")
    assert [message["type"] for message in session.deliver()] == ["Transition"]
    assert session.client.unreflected == 0


def test_mutations_run_one_at_a_time_in_order_and_actions_beside_them(session: Session) -> None:
    for number in range(2):
        session.send(**mutation(number))
    session.send(**{**mutation(2), "type": "Action"})

    first, action = session.state.effects
    assert isinstance(first, RunMutation) and first.request_id == 0
    assert first.session == (SESSION, 0)
    assert first.request.request_id == "edb696b819141d1f"  # the official server's own: sha256 of session and number
    assert isinstance(action, RunAction)

    session.state.effects.clear()
    session.state.mutation_ended(0, Outcome(ok=False, error="no"))
    (second,) = session.state.effects
    assert isinstance(second, RunMutation) and second.request_id == 1


def test_arguments_are_passed_on_as_the_client_wrote_them(session: Session) -> None:
    session.state.receive(
        '{"args":[ {"b":1e3, "a":{"$integer":"AQAAAAAAAAA="}} ],"type":"Mutation","requestId":0,"udfPath":"x.js:f"}', 0
    )

    (effect,) = session.state.effects
    assert isinstance(effect, RunMutation)
    assert effect.request.args == b'{"b":1e3, "a":{"$integer":"AQAAAAAAAAA="}}'
    assert effect.request.path == "x:f"


def test_a_failed_query_carries_the_data_of_its_error_even_if_null(session: Session) -> None:
    session.client.send(
        type="ModifyQuerySet",
        baseVersion=0,
        newVersion=1,
        modifications=[
            {"type": "Add", "queryId": number, "udfPath": path, "args": [{}]}
            for number, path in enumerate(["db:fail", "db:refuse"])
        ],
    )
    for entry in list(session.backend.entries.values()):
        session.backend.begin_run(entry)
        session.backend.end_run(entry)
    session.state.advance(0)

    message = json.loads(session.state.outgoing.take() or b"")

    plain, refused = message["modifications"]
    assert "errorData" not in plain
    assert refused["errorData"] is None
    assert plain["logLines"] == []


def test_the_journal_of_a_page_comes_back_with_its_query(session: Session) -> None:
    session.client.send(
        type="ModifyQuerySet",
        baseVersion=0,
        newVersion=1,
        modifications=[{"type": "Add", "queryId": 0, "udfPath": "db:read", "args": [{"keys": []}], "journal": "J"}],
    )
    (entry,) = session.backend.entries.values()

    assert entry.request.journal == "J"


def test_a_client_that_does_not_read_gets_coalesced_results_and_then_the_newest(session: Session) -> None:
    session.watch("a")
    for value in range(5):
        session.backend.commit("a", value)
        session.run("a")
        session.state.advance(0)

    transitions = session.deliver()

    values = [change["value"]["a"] for message in transitions for change in message["modifications"]]
    assert values == [0, 1, 4]


def test_a_client_that_does_not_read_its_responses_is_closed(session: Session) -> None:
    big = b'"' + b"x" * (UNSENT_BYTES_MAX // 2) + b'"'
    for number in range(3):
        session.client.send(**{**mutation(number), "type": "Action"})
        session.state.action_ended(number, Outcome(ok=True, value=big))

    assert session.state.closing is not None
    assert (session.state.closing.code, session.state.closing.reason) == (1013, "ClientReadsTooSlowly")


@pytest.mark.parametrize("takes_chunks", [True, False])
def test_a_client_that_still_reads_a_huge_transition_gets_its_answers_after_it(
    monkeypatch: pytest.MonkeyPatch, takes_chunks: bool
) -> None:
    """Closed for that it would connect again, be sent the same, and so on for ever."""
    monkeypatch.setattr("convexpy.sync.outgoing.UNSENT_BYTES_MAX", 10_000)
    for module in ("transitions", "messages"):
        monkeypatch.setattr(f"convexpy.sync.{module}.TRANSITION_CHUNK_BYTES", 1_000)
    backend = FakeBackend()
    state = SyncState(backend, AdminKeyAuthenticator(ADMIN_KEY), lambda: None, takes_chunks=takes_chunks)
    huge = add(0, udfPath="db:args", args=[{"text": "x" * 20_000}])
    state.receive(json.dumps(modify(0, 1, huge)), 0)
    (entry,) = backend.entries.values()
    backend.begin_run(entry)
    backend.end_run(entry)
    state.advance(0)
    assert state.outgoing.take() is not None

    for number in range(3):
        state.receive(json.dumps(mutation(number)), 0)
        state.mutation_ended(number, Outcome(ok=True, ts=backend.commit("x", number)))
        state.advance(0)

    assert state.closing is None
    kinds = []
    while (message := state.outgoing.take()) is not None:
        kinds.append(json.loads(message)["type"])
        state.outgoing.sent()
    first = [kind for kind in kinds if kind != "TransitionChunk"]
    assert (len(kinds) - len(first) > 10) is takes_chunks
    assert first.count("MutationResponse") == 3


def add(query_id: int, **more: Any) -> dict[str, Any]:
    return {"type": "Add", "queryId": query_id, "udfPath": "db:read", "args": [{"keys": []}], **more}


def modify(base: int, new: int, *modifications: dict[str, Any]) -> dict[str, Any]:
    return {"type": "ModifyQuerySet", "baseVersion": base, "newVersion": new, "modifications": list(modifications)}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("{", "Received Invalid JSON on websocket: "),
        ("[" * 100_000, "Received Invalid JSON on websocket: "),
        ('{"type":"Wat"}', "Received Invalid JSON on websocket: Invalid value 'Wat'"),
        ('{"type":"Connect","sessionId":"me"}', "Received Invalid JSON on websocket: Invalid UUID"),
        (
            f'{{"type":"Connect","sessionId":"{SESSION}","maxObservedTimestamp":"AAAA"}}',
            "Received Invalid JSON on websocket: 'AAAA' is no timestamp",
        ),
        (json.dumps(modify(3, 4)), "Base version 3 passed up doesn't match the current version 0"),
    ],
)
def test_what_is_no_message_of_the_protocol_is_a_fatal_error(session: Session, message: str, text: str) -> None:
    session.state.receive(message, 0)

    (fatal,) = session.deliver()

    assert fatal["type"] == "FatalError"
    assert fatal["error"].startswith(text)
    assert session.state.closing is not None and session.state.closing.code == 1000


@pytest.mark.parametrize(
    "message",
    [
        modify(0, 0),
        modify(0, 1, add(0), add(0)),
        modify(0, 1, {"type": "Remove", "queryId": 7}),
        modify(0, 1, add(0, componentPath="waitlist")),
        {**mutation(0), "componentPath": "waitlist"},
        {"type": "Authenticate", "baseVersion": 1, "tokenType": "None"},
        {"type": "Connect", "sessionId": SESSION, "maxObservedTimestamp": "/////////38="},
    ],
)
def test_what_a_sound_client_never_does_closes_the_socket(session: Session, message: dict[str, Any]) -> None:
    assert session.send(**message) == []

    assert session.state.closing is not None
    assert (session.state.closing.code, session.state.closing.reason) == (1011, "InternalServerError")
    assert not session.backend.entries


def test_a_query_added_and_removed_at_once_is_removed(session: Session) -> None:
    session.client.send(**modify(0, 1, add(0), {"type": "Remove", "queryId": 0}))
    session.state.advance(0)

    transition = json.loads(session.state.outgoing.take() or b"")

    assert transition["modifications"] == [{"type": "QueryRemoved", "queryId": 0}]


def test_too_many_queued_mutations_close_the_socket(session: Session) -> None:
    for number in range(QUEUED_MUTATIONS_MAX + 2):
        session.client.send(**mutation(number))

    assert session.state.closing is not None
    assert (session.state.closing.code, session.state.closing.reason) == (1013, "TooManyConcurrentMutations")


def test_a_wrong_admin_key_is_an_auth_error_and_the_end(session: Session) -> None:
    (error,) = session.send(type="Authenticate", baseVersion=0, tokenType="Admin", value="dev:test|guess")

    assert (error["type"], error["baseVersion"], error["authUpdateAttempted"]) == ("AuthError", 0, True)
    assert "guess" not in error["error"]
    assert session.state.closing is not None


def test_a_token_is_verified_before_the_next_message_and_its_refusal_ends_the_session(session: Session) -> None:
    session.client.send(type="Authenticate", baseVersion=0, tokenType="User", value="jwt")
    assert session.state.effects.popleft() == VerifyToken("jwt")

    session.state.token_refused("No auth provider found matching the given token")

    (error,) = session.deliver()
    assert error["error"] == "No auth provider found matching the given token"


def test_an_expired_token_is_noticed_at_the_next_activity(session: Session) -> None:
    session.client.send(type="Authenticate", baseVersion=0, tokenType="User", value="jwt")
    session.state.effects.clear()
    session.state.token_verified(Caller(b'{"subject":"ada"}', expires_ns=1000))
    assert [message["type"] for message in session.deliver(now_ns=999)] == ["Transition"]

    session.state.receive(json.dumps(mutation(0)), now_ns=1000)

    (error,) = session.deliver(now_ns=1000)
    assert (error["type"], error["authUpdateAttempted"], error["baseVersion"]) == ("AuthError", False, 1)
    assert not session.state.effects
