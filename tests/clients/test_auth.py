"""Users of a real identity provider, through every official client."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests import patience
from tests.auth.provider import IdentityProvider

from .conftest import APP, Connect, StartServer
from .driver import ALL_CLIENTS, CallError
from .server import Server

AUTH_APP = APP.parent / "auth_app"


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def server(provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_ISSUER", provider.issuer)
        server = Server(AUTH_APP, tmp_path_factory.mktemp("data"))
        server.start()
    yield server
    server.stop()


def tokens_for(provider: IdentityProvider, subject: str, lifetime_seconds: int = 3600) -> str:
    return f"{provider.issuer}/token?subject={subject}&lifetime={lifetime_seconds}"


@pytest.mark.parametrize("kind", ALL_CLIENTS)
def test_a_user_is_known_in_queries_mutations_and_actions(
    server: Server, provider: IdentityProvider, connect: Connect, kind: str
) -> None:
    client = connect(kind, server.url)
    assert client.query("people:me") is None
    with pytest.raises(CallError, match="Sign in first"):
        client.mutation("people:sign")

    signed_in = client.authenticate(tokens_for(provider, f"ada-{kind}"))
    if kind in ("browser", "react"):
        assert signed_in.until(bool) is True
    else:
        client.finish(signed_in.name)

    assert client.mutation("people:sign") == f"ada-{kind}"
    assert client.query("people:me") == f"ada-{kind}"
    assert client.action("people:me_through_a_query") == f"ada-{kind}"


@pytest.mark.parametrize("kind", ["browser", "react", "python"])
def test_live_queries_run_again_for_the_user_who_signed_in(
    server: Server, provider: IdentityProvider, connect: Connect, kind: str
) -> None:
    client = connect(kind, server.url)
    me = client.subscribe("people:me")
    assert me.next() is None

    client.authenticate(tokens_for(provider, "grace"))

    assert me.until(lambda value: value is not None) == "grace"


def test_an_http_action_knows_who_brings_a_token(server: Server, provider: IdentityProvider) -> None:
    admin = f"Convex {(server.data / 'admin_key').read_text().strip()}"
    attributes = base64.b64encode(b'{"issuer":"https://convex.test","subject":"mary"}').decode()
    told = {
        name: patience.get(f"{server.site_url}/me", headers=headers).text
        for name, headers in {
            "nobody": {},
            "a user": {"Authorization": f"Bearer {provider.token(sub='ada')}"},
            "an admin": {"Authorization": admin},
            "an admin as a user": {"Authorization": f"{admin}:{attributes}"},
        }.items()
    }

    assert told == {
        "nobody": "None None",
        "a user": "ada ada",
        "an admin": "None None",
        "an admin as a user": "mary mary",
    }
    expired = {"Authorization": f"Bearer {provider.token(now=0)}"}
    assert patience.get(f"{server.site_url}/me", headers=expired).status_code == 500, "asking who it is raises"


def test_what_is_scheduled_runs_for_nobody(server: Server, provider: IdentityProvider, connect: Connect) -> None:
    client = connect("browser", server.url)
    names = client.subscribe("people:names")
    before = names.next().count("nobody")

    client.authenticate(tokens_for(provider, "mary"))
    client.mutation("people:sign")

    assert "mary" in names.until(lambda value: value.count("nobody") > before)


def test_a_token_is_refreshed_before_it_expires_and_nothing_is_shown_as_nobodys(
    server: Server, provider: IdentityProvider, connect: Connect
) -> None:
    """The client fetches ten seconds before the end: with twelve seconds to live that is two after each token."""
    client = connect("browser", server.url)
    client.authenticate(tokens_for(provider, "joan", lifetime_seconds=12))
    me = client.subscribe("people:me")
    assert me.next() == "joan"
    before = provider.fetches("/token")

    names = client.subscribe("people:names")
    names.next()
    while provider.fetches("/token") < before + 2:
        client.mutation("people:sign")
        names.next()

    assert client.query("people:me") == "joan"


def test_a_token_that_is_not_for_this_app_leaves_the_client_signed_out(
    start_server: StartServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client tries fresh ones, gives up, and goes on as nobody."""
    with IdentityProvider() as provider, IdentityProvider() as stranger:
        monkeypatch.setenv("TEST_ISSUER", provider.issuer)
        server = start_server(app=AUTH_APP)
        client = connect("browser", server.url)

        signed_in = client.authenticate(tokens_for(stranger, "eve"))

        assert signed_in.next() is False
        assert client.query("people:me") is None


def test_a_signing_key_that_is_replaced_is_found(
    start_server: StartServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with IdentityProvider() as provider:
        monkeypatch.setenv("TEST_ISSUER", provider.issuer)
        server = start_server(app=AUTH_APP)
        old, new = connect("http", server.url), connect("http", server.url)
        old.finish(old.authenticate(tokens_for(provider, "first")).name)
        assert old.query("people:me") == "first"

        provider.rotate()
        new.finish(new.authenticate(tokens_for(provider, "second")).name)

        assert new.query("people:me") == "second"
