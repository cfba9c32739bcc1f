"""Other providers in `auth_config.py` while clients are connected: who is still trusted does not notice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.auth.provider import IdentityProvider
from tests.patience import PATIENCE_SECONDS

from .conftest import Connect
from .server import Server
from .test_auth import AUTH_APP, tokens_for


class Trusting:
    """A served copy of the auth app, and whom it trusts."""

    def __init__(self, folder: Path, *providers: IdentityProvider) -> None:
        self._folder = folder / "trusting_app"
        shutil.copytree(AUTH_APP, self._folder, ignore=shutil.ignore_patterns("__pycache__"))
        self._write(providers)
        self.server = Server(self._folder, folder / "data", is_watching=True)

    def trust(self, *providers: IdentityProvider) -> None:
        """Edit `auth_config.py` and wait until that is live."""
        self._write(providers)
        while (line := self.server.output.next(PATIENCE_SECONDS)) is not None:
            if "Reloaded in" in line:
                return
        raise AssertionError(self.server.complaints.so_far())

    def _write(self, providers: tuple[IdentityProvider, ...]) -> None:
        entries = ", ".join(f'oidc(domain="{each.issuer}", application_id="app")' for each in providers)
        draft = self._folder / "auth_config.draft"
        draft.write_text(f'"""Edited by a test."""\n\nfrom convexpy import oidc\n\nproviders = [{entries}]\n')
        draft.replace(self._folder / "auth_config.py")


@pytest.fixture
def old() -> Iterator[IdentityProvider]:
    with IdentityProvider() as provider:
        yield provider


@pytest.fixture
def new() -> Iterator[IdentityProvider]:
    with IdentityProvider() as provider:
        yield provider


@pytest.fixture
def app(tmp_path: Path, old: IdentityProvider) -> Iterator[Trusting]:
    app = Trusting(tmp_path, old)
    app.server.start()
    yield app
    app.server.stop()


def test_a_provider_that_is_added_is_trusted_on_open_sockets_and_others_stay(
    app: Trusting, old: IdentityProvider, new: IdentityProvider, connect: Connect
) -> None:
    ada, bob = connect("browser", app.server.url), connect("browser", app.server.url)
    assert ada.authenticate(tokens_for(old, "ada")).next() is True
    adas, bobs = ada.subscribe("people:me"), bob.subscribe("people:me")
    assert (adas.next(), bobs.next()) == ("ada", None)
    old.wait_for_fetches(2, "/token")  # the client asks for a fresh one as soon as its first has been accepted

    app.trust(old, new)
    assert bob.authenticate(tokens_for(new, "bob")).next() is True

    assert bobs.until(lambda value: value is not None) == "bob"
    assert ada.mutation("people:sign") == "ada"
    assert old.fetches("/token") == 2, "nobody had to sign in again"


@pytest.mark.parametrize("kind", ["browser", "react"])
def test_who_was_vouched_for_by_a_provider_that_is_gone_is_signed_out(
    app: Trusting, old: IdentityProvider, new: IdentityProvider, connect: Connect, kind: str
) -> None:
    """On the open socket and at once, though the token itself would hold for an hour; the page goes on as nobody's."""
    client = connect(kind, app.server.url)
    signed_in = client.authenticate(tokens_for(old, "eve"))
    assert signed_in.until(bool) is True
    me = client.subscribe("people:me")
    assert me.until(lambda value: value is not None) == "eve"

    app.trust(new)

    assert me.until(lambda value: value is None) is None
    assert signed_in.until(lambda value: not value) is False
    assert client.query("people:me") is None


def test_who_comes_back_to_a_provider_that_is_trusted_again_signs_in_again(
    app: Trusting, old: IdentityProvider, connect: Connect
) -> None:
    client = connect("browser", app.server.url)
    assert client.authenticate(tokens_for(old, "joan")).next() is True
    me = client.subscribe("people:me")
    assert me.next() == "joan"
    app.trust()
    assert me.until(lambda value: value is None) is None

    app.trust(old)
    client.authenticate(tokens_for(old, "joan"))

    assert me.until(lambda value: value is not None) == "joan"
