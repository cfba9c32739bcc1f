"""Every field of every message that is not the subject of another test. Source: wire-protocol 2, 3."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convexpy.limits import QUERIES_PER_SESSION_MAX, QUEUED_MUTATIONS_MAX
from convexpy.runtime.identity import AdminKeyAuthenticator
from convexpy.runtime.interface import Outcome
from convexpy.sync import messages
from convexpy.sync.effects import RunAction, RunMutation
from convexpy.sync.state import SyncState
from tests.sync.fake_backend import FakeBackend
from tests.sync.test_state import ADMIN_KEY, SESSION, Session, add, modify, mutation

IDENTITY = {"issuer": "https://convex.test", "subject": "42", "name": "Ada", "role": "admin"}


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def stranger() -> SyncState:
    """A session whose client has not said `Connect`."""
    return SyncState(FakeBackend(), AdminKeyAuthenticator(ADMIN_KEY), lambda: None)


def said(state: SyncState, *sent: dict[str, Any], now_ns: int = 0) -> list[dict[str, Any]]:
    """What the server answers at once."""
    for message in sent:
        state.receive(json.dumps(message), now_ns)
    received = []
    state.advance(now_ns)
    while (text := state.outgoing.take()) is not None:
        received.append(json.loads(text))
        state.outgoing.sent()
        state.advance(now_ns)
    return received


@pytest.mark.parametrize("kind", ["ClientConnect", "ClientReceivedTransition", "NetworkRecoveryReconnect", "x"])
def test_events_are_never_answered(session: Session, kind: str) -> None:
    assert session.send(type="Event", eventType=kind, event={"any": [1, None]}) == []
    assert session.state.closing is None


@pytest.mark.parametrize(("client_ts", "skew"), [(None, None), (0, -1700), (1_900, 200), (1_900.7, 200)])
def test_clocks_are_two_integers_or_none(stranger: SyncState, client_ts: float | None, skew: int | None) -> None:
    """A null makes the JavaScript client complain, a fraction makes the Python client reconnect for ever."""
    connect: dict[str, Any] = {"type": "Connect", "sessionId": SESSION, "connectionCount": 3, "lastCloseReason": None}
    if client_ts is not None:
        connect["clientTs"] = client_ts

    (transition,) = said(stranger, connect, modify(0, 1), now_ns=1_700_000_000)

    if skew is None:
        assert "clientClockSkew" not in transition and "serverTs" not in transition
    else:
        assert (transition["clientClockSkew"], transition["serverTs"]) == (skew, 1_700_000_000)
        assert type(transition["clientClockSkew"]) is type(transition["serverTs"]) is int


def test_without_connect_there_is_no_session_to_answer_once_for(stranger: SyncState) -> None:
    assert said(stranger, mutation(0)) == []

    (effect,) = stranger.effects
    assert isinstance(effect, RunMutation)
    assert effect.session is None and effect.request.request_id == ""


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("db:read", "db:read"),
        ("db.js:read", "db:read"),
        ("dir/db:read", "dir/db:read"),
        ("dir/db", "dir/db:default"),
        ("dir/db.js", "dir/db:default"),
        ("db:default", "db:default"),
    ],
)
def test_paths_are_spelled_in_one_way(session: Session, written: str, found: str) -> None:
    session.client.send(**modify(0, 1, add(0, udfPath=written)))
    session.client.send(**{**mutation(0), "udfPath": written})

    assert [entry.request.path for entry in session.backend.entries.values()] == [found]
    (effect,) = session.state.effects
    assert isinstance(effect, RunMutation) and effect.request.path == found


@pytest.mark.parametrize("path", ["", ":", "../up:there", "db:read:again x", "a b:c", "/root:it"])
def test_a_path_that_names_nothing_is_an_error_of_the_call(session: Session, path: str) -> None:
    """Not of the protocol: a fatal error would be the end of the page."""
    session.client.send(**modify(0, 1, add(0, udfPath=path)))
    for entry in session.backend.entries.values():
        session.backend.begin_run(entry)
        session.backend.end_run(entry)

    messages_ = said(session.state)

    assert messages_[0]["modifications"][0]["type"] == "QueryFailed"
    assert session.state.closing is None


@pytest.mark.parametrize(("args", "passed"), [([], b"[]"), ([{}, {}], b"[{},{}]"), ([1], b"1"), ([{}], b"{}")])
def test_arguments_that_are_not_one_object_reach_the_worker_who_refuses_them(
    session: Session, args: list[Any], passed: bytes
) -> None:
    session.state.receive(json.dumps({**mutation(0), "args": args}, separators=(",", ":")), 0)

    (effect,) = session.state.effects
    assert isinstance(effect, RunMutation) and effect.request.args == passed


@pytest.mark.parametrize("field", ["impersonating", "acting_as"])
def test_an_admin_acts_as_a_user_and_names_components(session: Session, field: str) -> None:
    """Both spellings; the JavaScript clients' and Rust's."""
    session.client.send(type="Authenticate", baseVersion=0, tokenType="Admin", value=ADMIN_KEY, **{field: IDENTITY})
    session.client.send(**{**mutation(0), "componentPath": "waitlist"})
    session.client.send(**{**mutation(1), "type": "Action", "componentPath": ""})
    session.client.send(**modify(0, 1, add(0, componentPath="waitlist")))

    (entry,) = session.backend.entries.values()
    mutating, acting = session.state.effects
    assert isinstance(mutating, RunMutation) and isinstance(acting, RunAction)
    assert (entry.request.component, mutating.request.component, acting.request.component) == (
        "waitlist",
        "waitlist",
        "",
    )
    for request in (entry.request, mutating.request, acting.request):
        assert request.is_admin and request.identity is not None
        known = json.loads(request.identity)
        assert known == {**IDENTITY, "tokenIdentifier": "https://convex.test|42"}


def test_an_admin_who_acts_as_nobody_is_no_user(session: Session) -> None:
    session.client.send(type="Authenticate", baseVersion=0, tokenType="Admin", value=ADMIN_KEY)
    session.client.send(**mutation(0))

    (effect,) = session.state.effects
    assert isinstance(effect, RunMutation)
    assert effect.request.is_admin and effect.request.identity is None


def test_who_signs_out_is_no_admin_any_more(session: Session) -> None:
    session.client.send(type="Authenticate", baseVersion=0, tokenType="Admin", value=ADMIN_KEY, impersonating=IDENTITY)
    session.client.send(type="Authenticate", baseVersion=1, tokenType="None")
    session.client.send(**mutation(0))

    (effect,) = session.state.effects
    assert isinstance(effect, RunMutation)
    assert not effect.request.is_admin and effect.request.identity is None
    assert session.send(**{**mutation(1), "componentPath": "waitlist"}) == []
    assert session.state.closing is not None and session.state.closing.code == 1011


def test_one_transition_may_jump_several_versions_in_the_order_of_queries(session: Session) -> None:
    for version, query_id in enumerate((7, 2, 5)):
        session.client.send(**modify(version, version + 1, add(query_id, args=[{"keys": [str(query_id)]}])))
    session.client.send(type="Authenticate", baseVersion=0, tokenType="None")
    for entry in list(session.backend.entries.values()):
        session.backend.begin_run(entry)
        session.backend.end_run(entry)

    (transition,) = said(session.state)

    assert transition["startVersion"] == {"querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA="}
    assert (transition["endVersion"]["querySet"], transition["endVersion"]["identity"]) == (3, 1)
    assert [each["queryId"] for each in transition["modifications"]] == [2, 5, 7]
    assert set(transition["modifications"][0]) == {"type", "queryId", "value", "logLines", "journal"}


def test_too_many_actions_and_queries_close_the_socket() -> None:
    acting, asking = Session(), Session()
    for number in range(QUEUED_MUTATIONS_MAX + 1):
        acting.client.send(type="Action", requestId=number, udfPath="db:act", args=[{}])
    asking.client.send(**modify(0, 1, *(add(number) for number in range(QUERIES_PER_SESSION_MAX + 1))))

    closings = [each.state.closing for each in (acting, asking)]
    assert [(each.code, each.reason) for each in closings if each is not None] == [
        (1013, "TooManyInflightActionsForSingleClient"),
        (1013, "TooManyQueriesInQuerySet"),
    ]
    assert all(len(each.reason.encode()) <= 123 for each in closings if each is not None)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (
            Outcome(ok=True, value=b'{"x":1.0}', ts=1, log_lines=["[LOG] 'ran'"]),
            {"success": True, "result": {"x": 1.0}, "ts": "AQAAAAAAAAA=", "logLines": ["[LOG] 'ran'"]},
        ),
        (Outcome(ok=False, error="no"), {"success": False, "result": "no", "ts": None, "logLines": []}),
        (
            Outcome(ok=False, error="no", error_data=b"null"),
            {"success": False, "result": "no", "ts": None, "logLines": [], "errorData": None},
        ),
    ],
)
def test_responses_have_these_fields_and_no_others(outcome: Outcome, expected: dict[str, Any]) -> None:
    of_mutation = json.loads(messages.mutation_response(4, outcome))
    of_action = json.loads(messages.action_response(4, outcome))

    assert of_mutation == {"type": "MutationResponse", "requestId": 4, **expected}
    del expected["ts"]
    assert of_action == {"type": "ActionResponse", "requestId": 4, **expected}


def test_an_auth_error_names_the_identity_of_the_last_transition(session: Session) -> None:
    session.send(type="Authenticate", baseVersion=0, tokenType="None")
    session.client.send(type="Authenticate", baseVersion=1, tokenType="None")
    session.client.send(type="Authenticate", baseVersion=2, tokenType="Admin", value="wrong")

    error = json.loads(session.state.outgoing.take() or b"")

    assert (error["type"], error["baseVersion"], error["authUpdateAttempted"]) == ("AuthError", 1, True)
    assert session.state.closing is not None
