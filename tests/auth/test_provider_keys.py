"""How often a provider is asked for its keys, and what happens when it does not give them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from convexpy.auth.fetching import FetchFailed, fresh_seconds
from convexpy.auth.key_source import KeySource, LoadedKeys
from convexpy.auth.public_keys import read_keys
from convexpy.errors import AuthProviderUnavailable, Unauthenticated
from convexpy.functions.auth_config import checked_providers
from convexpy.limits import (
    AUTH_FETCH_RETRY_SECONDS,
    AUTH_KEYS_BYTES_MAX,
    AUTH_KEYS_FRESH_SECONDS,
    AUTH_KEYS_FRESH_SECONDS_MAX,
    AUTH_KEYS_FRESH_SECONDS_MIN,
    AUTH_KEYS_MAX,
    AUTH_KEYS_STALE_SECONDS_MAX,
    AUTH_UNKNOWN_KEY_FETCH_SECONDS,
)
from tests.auth.provider import IdentityProvider, rsa_key, signed
from tests.auth.rig import Rig, custom_of, judge, oidc_of
from tests.manual_environment import ManualEnvironment


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as provider:
        yield provider


def test_keys_are_fetched_once_for_many_tokens_at_once(provider: IdentityProvider) -> None:
    rig = Rig([oidc_of(provider)])

    async def many(rig: Rig) -> None:
        await asyncio.gather(*(rig.authenticator.user(provider.token(now=rig.now)) for _ in range(20)))
        await rig.authenticator.user(provider.token(now=rig.now))

    judge(rig, many)

    assert provider.requests == ["/.well-known/openid-configuration", "/jwks.json"]


def test_one_who_gives_up_waiting_does_not_take_the_keys_from_the_others(provider: IdentityProvider) -> None:
    rig = Rig([oidc_of(provider)])

    async def impatient(rig: Rig) -> None:
        first = asyncio.ensure_future(rig.authenticator.user(provider.token(now=rig.now)))
        second = asyncio.ensure_future(rig.authenticator.user(provider.token(now=rig.now)))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).identity is not None

    judge(rig, impatient)

    assert provider.fetches() == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", AUTH_KEYS_FRESH_SECONDS),
        ("public, max-age=7200, must-revalidate", 7200),
        ("MAX-AGE=3600", 3600),
        ("max-age=0", AUTH_KEYS_FRESH_SECONDS_MIN),
        ("no-store", AUTH_KEYS_FRESH_SECONDS_MIN),
        ("max-age=7200, no-cache", AUTH_KEYS_FRESH_SECONDS_MIN),
        ("max-age=999999999", AUTH_KEYS_FRESH_SECONDS_MAX),
        ("max-age=banana, s-maxage=9", AUTH_KEYS_FRESH_SECONDS),
    ],
)
def test_the_provider_says_how_long_its_keys_are_fresh(header: str, seconds: float) -> None:
    """Within bounds: never so short that each token costs a fetch, never so long that a withdrawn key lives on."""
    assert fresh_seconds(header) == seconds


def test_keys_are_fetched_again_when_they_are_no_longer_fresh(provider: IdentityProvider) -> None:
    """A key that the provider has withdrawn is refused from then on."""
    provider.cache_control = "max-age=300"
    rig = Rig([oidc_of(provider)])

    async def withdraw(rig: Rig) -> None:
        withdrawn = provider.token(now=rig.now)
        await rig.authenticator.user(withdrawn)
        provider.keys = {"second": rsa_key(1)}
        rig.environment.advance(299)
        await rig.authenticator.user(withdrawn)
        rig.environment.advance(1)
        assert "a key that its provider does not have" in str(await rig.refusal(withdrawn))
        await rig.authenticator.user(provider.token("second", now=rig.now))

    judge(rig, withdraw)

    assert provider.fetches() == 2


def test_a_new_key_is_found_at_once(provider: IdentityProvider) -> None:
    """A provider rotates its keys: the first token with an unknown key makes us look."""
    rig = Rig([oidc_of(provider)])

    async def rotate(rig: Rig) -> None:
        await rig.authenticator.user(provider.token(now=rig.now))
        provider.keys["second"] = rsa_key(1)
        await rig.authenticator.user(provider.token("second", now=rig.now))
        await rig.authenticator.user(provider.token("first", now=rig.now))

    judge(rig, rotate)

    assert provider.fetches() == 2


def test_a_flood_of_unknown_keys_does_not_reach_the_provider(provider: IdentityProvider) -> None:
    """Anybody can write a token with a key id of their own."""
    rig = Rig([oidc_of(provider)])

    async def flood(rig: Rig) -> None:
        await rig.authenticator.user(provider.token(now=rig.now))
        for _ in range(3):
            for number in range(100):
                header = {"alg": "RS256", "kid": f"made up {number}"}
                await rig.refusal(signed(header, provider.claims(rig.now), rsa_key(1)))
            rig.environment.advance(AUTH_UNKNOWN_KEY_FETCH_SECONDS)

    judge(rig, flood)

    assert provider.fetches() == 1 + 3


@pytest.mark.parametrize("fault", ["status", "rubbish", "silence"])
def test_old_keys_serve_while_the_provider_is_away(
    provider: IdentityProvider, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users stay logged in over an outage, but not for ever; the operator hears of it."""
    rig = Rig([oidc_of(provider)])

    async def outage(rig: Rig) -> None:
        await rig.authenticator.user(provider.token(now=rig.now))
        if fault == "status":
            provider.status = 503
        elif fault == "rubbish":
            provider.body = b"<html>"
        else:
            provider.is_hanging = True
            monkeypatch.setattr("convexpy.auth.fetching.AUTH_FETCH_SECONDS_MAX", 0.05)
        rig.environment.advance(AUTH_KEYS_FRESH_SECONDS)
        for _ in range(5):
            await rig.authenticator.user(provider.token(now=rig.now))
        assert len(rig.reports) == 1, "it is not asked again at once"
        rig.environment.advance(AUTH_FETCH_RETRY_SECONDS)
        await rig.authenticator.user(provider.token(now=rig.now))
        assert len(rig.reports) == 2
        assert rig.reports[0].startswith("The keys of an auth provider are not to be had. http://127.0.0.1:")
        assert rig.reports[0].endswith("The keys that it gave before serve on.")

        rig.environment.advance(AUTH_KEYS_STALE_SECONDS_MAX)
        with pytest.raises(Unauthenticated if fault == "rubbish" else AuthProviderUnavailable):
            await rig.authenticator.user(provider.token(now=rig.now))

    judge(rig, outage)


def test_a_provider_that_comes_back_is_asked_again(provider: IdentityProvider) -> None:
    rig = Rig([oidc_of(provider)])

    async def recover(rig: Rig) -> None:
        provider.status = 500
        for _ in range(10):
            with pytest.raises(AuthProviderUnavailable):
                await rig.authenticator.user(provider.token(now=rig.now))
        assert len(provider.requests) == 1
        provider.status = 200
        rig.environment.advance(AUTH_FETCH_RETRY_SECONDS)
        await rig.authenticator.user(provider.token(now=rig.now))

    judge(rig, recover)


def spoil_status(provider: IdentityProvider) -> None:
    provider.status = 404


def spoil_redirect(provider: IdentityProvider) -> None:
    provider.status = 302


def spoil_type(provider: IdentityProvider) -> None:
    provider.content_type = "text/html"


def spoil_size(provider: IdentityProvider) -> None:
    provider.body = b'{"x":"' + b"x" * AUTH_KEYS_BYTES_MAX + b'"}'


def spoil_json(provider: IdentityProvider) -> None:
    provider.body = b"[" * 10_000


def spoil_issuer(provider: IdentityProvider) -> None:
    provider.discovery_issuer = "https://eve.test"


def spoil_jwks_uri(provider: IdentityProvider) -> None:
    provider.body = b'{"issuer":"%b","jwks_uri":"file:///etc/passwd"}' % provider.issuer.encode()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_status, "answered with status 404"),
        (spoil_redirect, "redirects to http://127.0.0.1:9/secret, which is not followed"),
        (spoil_type, "is of type 'text/html' instead of application/json"),
        (spoil_size, f"holds more than {AUTH_KEYS_BYTES_MAX} bytes"),
        (spoil_json, "is no JSON object"),
        (spoil_issuer, "is of issuer 'https://eve.test'"),
        (spoil_jwks_uri, "names no usable jwks_uri: 'file:///etc/passwd'"),
    ],
)
@pytest.mark.parametrize("is_redacted", [False, True])
def test_a_provider_that_is_wrong_is_told_to_who_can_mend_it(
    provider: IdentityProvider, spoil: Callable[[IdentityProvider], None], reason: str, is_redacted: bool
) -> None:
    """The operator reads it in the server's output; the client only under `dev`."""
    spoil(provider)
    rig = Rig([oidc_of(provider)], is_redacted=is_redacted)

    error = judge(rig, lambda rig: rig.refusal(provider.token(now=rig.now)))

    assert error.code == "AuthProviderFailed"
    assert str(error).startswith(f"Auth provider discovery of {provider.issuer} failed.")
    assert (reason in str(error)) != is_redacted
    assert reason in rig.reports[0]


def test_a_provider_that_nobody_answers_for(provider: IdentityProvider) -> None:
    """Nothing listens there: that may pass, so the client is not told that its token is bad."""
    with IdentityProvider() as gone:
        token = gone.token()
    rig = Rig([custom_of(gone)])
    rig.environment.time_ns = int(gone.claims()["iat"]) * 10**9

    async def ask(rig: Rig) -> None:
        with pytest.raises(AuthProviderUnavailable, match=r"cannot be reached now.*jwks\.json could not be fetched"):
            await rig.authenticator.user(token)

    with socket.socket() as held:
        held.bind(("127.0.0.1", int(gone.issuer.rpartition(":")[2])))  # nobody else gets the port, and nobody listens
        judge(rig, ask)


def test_a_push_changes_whom_we_trust_and_keeps_the_keys_of_those_who_stay(provider: IdentityProvider) -> None:
    rig = Rig([oidc_of(provider)])

    async def push(rig: Rig) -> None:
        token = provider.token(now=rig.now)
        await rig.authenticator.user(token)
        rig.authenticator.use_providers(checked_providers([custom_of(provider), oidc_of(provider)][1:]))
        await rig.authenticator.user(token)
        rig.authenticator.use_providers([])
        assert (await rig.refusal(token)).code == "NoAuthProvider"

    judge(rig, push)

    assert provider.fetches() == 1


# --- which keys of a set are used

WEAK = {"kty": "RSA", "n": "w" * 171, "e": "AQAB", "kid": "k"}
PUBLIC = rsa_key().as_dict(private=False)


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"},
        WEAK,
        {**PUBLIC, "n": "w" * 2000},
        {**PUBLIC, "n": "not base64url!"},
        {**PUBLIC, "n": 5},
        {**PUBLIC, "e": None},
        {key: value for key, value in PUBLIC.items() if key != "e"},
        {**PUBLIC, "use": "enc"},
        {**PUBLIC, "alg": "RSA-OAEP"},
        {**PUBLIC, "alg": ["RS256"]},
        {**PUBLIC, "key_ops": ["sign"]},
        {**PUBLIC, "key_ops": "verify"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        ECKey.generate_key("P-384").as_dict(private=False),
        "no key",
    ],
    ids=range(16),
)
def test_a_key_that_cannot_be_used_leaves_the_others_usable(entry: Any) -> None:
    usable = read_keys({"keys": [entry, {**PUBLIC, "kid": "good"}]})

    assert [key.key_id for key in usable] == ["good"]


def test_a_private_key_is_only_read_for_its_public_half() -> None:
    """A provider that publishes those has other troubles."""
    (key,) = read_keys({"keys": [{**rsa_key().as_dict(private=True), "kid": "k"}]})

    assert isinstance(key.key, RSAKey)
    assert not key.key.is_private


@pytest.mark.parametrize("document", [{}, {"keys": {}}, [], None])
def test_a_document_that_is_no_key_set(document: Any) -> None:
    with pytest.raises(ValueError, match="it is not"):
        read_keys(document)


def test_a_set_is_read_up_to_a_bound() -> None:
    assert len(read_keys({"keys": [PUBLIC] * (AUTH_KEYS_MAX + 1)})) == AUTH_KEYS_MAX


def test_symmetric_keys_are_never_used() -> None:
    assert read_keys({"keys": [OctKey.generate_key(256).as_dict()]}) == []


def test_a_fetch_that_fails_in_an_unforeseen_way_is_no_refusal() -> None:
    """A fault of ours must not read as a bad token: it goes up as it is, and the next call tries again."""
    attempts: list[int] = []

    async def load() -> LoadedKeys:
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("a fault of ours")
        raise FetchFailed("away", is_temporary=True)

    async def run() -> None:
        source = KeySource(load, ManualEnvironment(), lambda text: None)
        with pytest.raises(RuntimeError):
            await source.find("k", "RS256")
        with pytest.raises(FetchFailed):
            await source.find("k", "RS256")

    asyncio.run(run())
