"""What happens around a change of the user on a live socket: whose results are shown, and who has called."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convexpy.runtime.identity import AdminKeyAuthenticator, Caller
from convexpy.runtime.interface import Outcome
from convexpy.sync.effects import RunAction, RunMutation, VerifyToken
from tests.sync.test_state import ADMIN_KEY, Session, mutation


@pytest.fixture
def session() -> Session:
    return Session()


def sign_in(session: Session, subject: str, expires_ns: int | None = None) -> None:
    """Bring a token and have it verified."""
    session.client.present("jwt", subject)
    assert session.state.effects.pop() == VerifyToken("jwt")
    session.state.token_verified(Caller(json.dumps({"subject": subject}).encode(), expires_ns=expires_ns))


def test_a_call_runs_for_whoever_was_signed_in_when_it_was_sent(session: Session) -> None:
    """The second one waits for the first, and the user changes meanwhile: it keeps the user of its own moment."""
    session.client.authenticate("ada", ADMIN_KEY)
    session.client.send(**mutation(0))
    session.client.send(**mutation(1))
    session.client.send(type="Action", requestId=2, udfPath="db:act", args=[{}])
    session.client.authenticate("eve", ADMIN_KEY)
    session.client.send(**mutation(3))
    session.client.authenticate(None, ADMIN_KEY)
    session.client.send(**mutation(4))

    callers: dict[int, Any] = {}
    while session.state.effects:
        effect = session.state.effects.popleft()
        assert isinstance(effect, RunMutation | RunAction)
        identity = effect.request.identity
        callers[effect.request_id] = None if identity is None else json.loads(identity)["subject"]
        if isinstance(effect, RunMutation):
            session.state.mutation_ended(effect.request_id, Outcome(ok=True, ts=session.backend.commit("x", 1)))

    assert callers == {0: "ada", 1: "ada", 2: "ada", 3: "eve", 4: None}


def test_all_results_of_a_new_user_come_in_one_transition(session: Session) -> None:
    """Not one by one as they come back: in between the page would show half of each user."""
    session.watch("a", "b")
    session.client.authenticate("ada", ADMIN_KEY)

    session.run("a")
    assert session.deliver() == []
    session.run("b")
    (transition,) = session.deliver()

    assert (transition["startVersion"]["identity"], transition["endVersion"]["identity"]) == (0, 1)
    assert [change["value"]["who"] for change in transition["modifications"]] == ["ada", "ada"]


def test_a_fresh_token_of_the_same_user_runs_nothing_again(session: Session) -> None:
    """Clients refresh each minute or so. The identity is the same, so are the entries; the confirmation is empty."""
    sign_in(session, "ada", expires_ns=1000)
    session.watch("a")
    before = list(session.backend.entries.values())

    sign_in(session, "ada", expires_ns=2000)
    (transition,) = session.deliver()

    assert (transition["endVersion"]["identity"], transition["modifications"]) == (2, [])
    assert list(session.backend.entries.values()) == before
    assert session.deliver(now_ns=1500) == []
    assert not session.state.expire(1999)
    assert session.state.expire(2000)


def test_a_token_that_expires_while_the_next_one_is_verified_is_no_error(session: Session) -> None:
    """Verifying may wait for the provider; the client has done its part in time. Nothing is shown in between."""
    sign_in(session, "ada", expires_ns=1000)
    session.deliver()
    session.client.present("next", "ada")

    session.state.entry_changed()
    assert session.deliver(now_ns=1500) == []
    assert session.state.closing is None

    session.state.token_verified(Caller(b'{"subject":"ada"}', expires_ns=2000))
    (transition,) = session.deliver(now_ns=1500)
    assert transition["endVersion"]["identity"] == 2


def test_a_token_that_expires_ends_the_session_with_nothing_else_to_do(session: Session) -> None:
    sign_in(session, "ada", expires_ns=1000)
    session.deliver()

    assert not session.state.expire(999)
    assert session.state.expire(1000)

    (error,) = session.deliver()
    assert error == {
        "type": "AuthError",
        "error": "The token has expired.",
        "baseVersion": 1,
        "authUpdateAttempted": False,
    }
    assert session.state.closing is not None


def test_an_authenticate_out_of_order_is_the_end(session: Session) -> None:
    """Versions are how client and server agree on whose results are shown."""
    session.client.send(type="Authenticate", baseVersion=1, tokenType="None")

    assert session.state.closing is not None
    assert (session.state.closing.code, session.state.closing.reason) == (1011, "InternalServerError")


def test_a_provider_that_is_trusted_no_more_ends_the_session(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the token had expired: at the next activity, and the client may try another."""
    session.client.present("jwt", "ada")
    session.state.effects.clear()
    session.state.token_verified(Caller(b'{"subject":"ada"}', vouched_by="a provider"))
    session.deliver()
    monkeypatch.setattr(AdminKeyAuthenticator, "trusts", lambda self, caller: caller.vouched_by != "a provider")

    session.client.send(**mutation(0))

    (error,) = session.deliver()
    assert (error["type"], error["authUpdateAttempted"]) == ("AuthError", False)
    assert session.state.closing is not None and not session.state.effects
