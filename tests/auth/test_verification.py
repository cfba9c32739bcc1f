"""Which tokens are believed. Each test forges or damages one in one way; the text is what a developer would be told."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import ECKey, OKPKey

from convexpy.errors import Unauthenticated
from convexpy.limits import AUTH_LEEWAY_SECONDS, AUTH_TOKEN_CHARS_MAX
from tests.auth.provider import AUDIENCE, IdentityProvider, algorithm_of, rsa_key, signed
from tests.auth.rig import Rig, custom_of, judge, oidc_of

MALFORMED = "Could not parse JWT payload."
OIDC = "Could not verify OIDC token claim."


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as provider:
        yield provider


def accepted(rig: Rig, token: str) -> dict[str, Any]:
    """The identity that a token proves."""
    caller = judge(rig, lambda rig: rig.authenticator.user(token))
    assert caller.identity is not None
    identity: dict[str, Any] = json.loads(caller.identity)
    return identity


def refused(rig: Rig, token: str) -> Unauthenticated:
    return judge(rig, lambda rig: rig.refusal(token))


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# --- what is believed


def test_a_token_of_an_oidc_provider_is_believed(provider: IdentityProvider) -> None:
    """Its keys are found by discovery; who issued it and whom it is about is the identity."""
    rig = Rig([oidc_of(provider)])

    identity = accepted(rig, provider.token(now=rig.now, name="Ada"))

    assert identity == {
        "issuer": provider.issuer,
        "subject": "ada",
        "tokenIdentifier": f"{provider.issuer}|ada",
        "name": "Ada",
    }
    assert provider.requests == ["/.well-known/openid-configuration", "/jwks.json"]


def test_oidc_providers_may_sign_with_eddsa(provider: IdentityProvider) -> None:
    """Signed by hand: the library only signs under the name of RFC 9864, and providers still write the old one."""
    rig = Rig([oidc_of(provider)])
    provider.keys["edwards"] = key = OKPKey.generate_key("Ed25519")
    private = key.get_op_key("sign")
    assert isinstance(private, Ed25519PrivateKey)
    head = base64url(b'{"alg":"EdDSA","kid":"edwards"}')
    text = f"{head}.{base64url(json.dumps(provider.claims(rig.now)).encode())}"

    assert accepted(rig, f"{text}.{base64url(private.sign(text.encode()))}")["subject"] == "ada"
    assert refused(rig, f"{text}.{base64url(private.sign(b'other'))}").code == "Unauthenticated"


@pytest.mark.parametrize("key", [rsa_key(), ECKey.generate_key("P-256")], ids=["RS256", "ES256"])
@pytest.mark.parametrize("is_inline", [False, True], ids=["url", "data-uri"])
def test_a_custom_signer_is_believed(provider: IdentityProvider, key: Any, is_inline: bool) -> None:
    """Its keys come from a URL, or stand in the configuration itself; then nothing is fetched."""
    provider.keys = {"mine": key}
    config = custom_of(provider, algorithm_of(key))
    if is_inline:
        encoded = base64.b64encode(json.dumps(provider.jwks()).encode()).decode()
        config["jwks"] = f"data:text/plain;charset=utf-8;base64,{encoded}"
    rig = Rig([config])

    identity = accepted(rig, provider.token("mine", now=rig.now, role="admin", aud=None))

    assert (identity["subject"], identity["role"]) == ("ada", "admin")
    assert provider.requests == ([] if is_inline else ["/jwks.json"])


def test_the_first_provider_that_fits_judges(provider: IdentityProvider) -> None:
    """Several apps of one provider share its keys, which are fetched once."""
    rig = Rig([{**oidc_of(provider), "applicationID": name} for name in ("web", "phone", AUDIENCE)])

    async def both(rig: Rig) -> None:
        for audience in ("phone", "web"):
            await rig.authenticator.user(provider.token(now=rig.now, aud=audience))

    judge(rig, both)
    assert provider.fetches() == 1


@pytest.mark.parametrize("configured", ["/", ""])
@pytest.mark.parametrize("issued", ["/", ""])
def test_a_slash_at_the_end_of_the_domain_does_not_matter(
    provider: IdentityProvider, configured: str, issued: str
) -> None:
    """Auth0 shows its domain without it and writes tokens with it. The token must agree with the discovery document."""
    provider.discovery_issuer = provider.issuer + issued
    rig = Rig([{**oidc_of(provider), "domain": provider.issuer + configured}])

    assert accepted(rig, provider.token(now=rig.now, iss=provider.issuer + issued))["issuer"].endswith(issued)


@pytest.mark.parametrize("changes", [{"exp": -AUTH_LEEWAY_SECONDS + 1}, {"nbf": 4}, {"iat": 4}])
def test_clocks_may_differ_a_little(provider: IdentityProvider, changes: dict[str, int]) -> None:
    rig = Rig([oidc_of(provider)])
    times: dict[str, Any] = {name: int(rig.now) + offset for name, offset in changes.items()}

    assert accepted(rig, provider.token(now=rig.now, **times))


def test_a_caller_expires_with_its_token(provider: IdentityProvider) -> None:
    rig = Rig([oidc_of(provider)])
    token = provider.token(now=rig.now)

    caller = judge(rig, lambda rig: rig.authenticator.user(token))

    end_ns = rig.environment.now_ns() + (3600 + AUTH_LEEWAY_SECONDS) * 10**9
    assert not caller.is_expired(end_ns - 1)
    assert caller.is_expired(end_ns)


# --- what is not

Forge = Callable[[IdentityProvider, Rig], str]


def claiming(**changes: Any) -> Forge:
    return lambda provider, rig: provider.token(now=rig.now, **changes)


def lasting(claim: str, seconds: float) -> Forge:
    def forge(provider: IdentityProvider, rig: Rig) -> str:
        times: dict[str, Any] = {claim: int(rig.now + seconds)}
        return provider.token(now=rig.now, **times)

    return forge


def headed(**header: Any) -> Forge:
    def forge(provider: IdentityProvider, rig: Rig) -> str:
        return signed({"alg": "RS256", "kid": "first", **header}, provider.claims(rig.now), rsa_key())

    return forge


def by_another_key(provider: IdentityProvider, rig: Rig) -> str:
    return signed({"alg": "RS256", "kid": "first"}, provider.claims(rig.now), rsa_key(1))


def unsigned(provider: IdentityProvider, rig: Rig) -> str:
    head = base64url(b'{"alg":"none","kid":"first"}')
    return f"{head}.{base64url(json.dumps(provider.claims(rig.now)).encode())}."


def with_hmac_of_the_public_key(provider: IdentityProvider, rig: Rig) -> str:
    """By hand: the library itself refuses to sign so."""
    head = base64url(b'{"alg":"HS256","kid":"first"}')
    body = base64url(json.dumps(provider.claims(rig.now)).encode())
    secret = rsa_key().as_pem(private=False)
    return f"{head}.{body}.{base64url(hmac.digest(secret, f'{head}.{body}'.encode(), 'sha256'))}"


def with_a_changed_claim(provider: IdentityProvider, rig: Rig) -> str:
    head, _, signature = provider.token(now=rig.now).split(".")
    return f"{head}.{base64url(json.dumps(provider.claims(rig.now, sub='eve')).encode())}.{signature}"


def by_the_key_in_its_header(provider: IdentityProvider, rig: Rig) -> str:
    own = rsa_key(1)
    header = {"alg": "RS256", "kid": "first", "jwk": own.as_dict(private=False), "jku": f"{provider.issuer}/eve.json"}
    return signed({**header, "x5u": f"{provider.issuer}/eve.pem"}, provider.claims(rig.now), own)


REFUSED: dict[str, tuple[Forge, str, str]] = {
    "expired": (lasting("exp", -AUTH_LEEWAY_SECONDS), "Unauthenticated", f"{OIDC} It has expired"),
    "not valid yet": (lasting("nbf", 6), "Unauthenticated", f"{OIDC} It is not valid yet"),
    "from the future": (lasting("iat", 6), "Unauthenticated", f"{OIDC} It was issued in the future"),
    "never expires": (claiming(exp=None), "Unauthenticated", f"{OIDC} It has no expiry"),
    "expires in words": (claiming(exp="tomorrow"), "Unauthenticated", f"{OIDC} Its 'exp' is no number"),
    "expires at true": (claiming(exp=True), "Unauthenticated", f"{OIDC} Its 'exp' is no number"),
    "expires after all": (claiming(exp=10**300), "Unauthenticated", f"{OIDC} Its 'exp' is no number"),
    "about nobody": (claiming(sub=None), "Unauthenticated", f"{OIDC} It names no user"),
    "about a number": (claiming(sub=5), "Unauthenticated", f"{OIDC} It names no user"),
    "for others": (claiming(aud="other"), "NoAuthProvider", "No auth provider found matching the given token"),
    "for nobody": (claiming(aud=None), "NoAuthProvider", "No auth provider found matching the given token"),
    "for several": (claiming(aud=[AUDIENCE, "b"]), "Unauthenticated", f"{OIDC} It has several audiences"),
    "for a number": (claiming(aud=5), "InvalidAuthHeader", f"{MALFORMED}"),
    "by others": (claiming(iss="https://eve.test"), "NoAuthProvider", "No auth provider found"),
    "by a longer name": (
        lambda provider, rig: provider.token(now=rig.now, iss=f"{provider.issuer}.eve.test"),
        "NoAuthProvider",
        "No auth provider found",
    ),
    "by nobody": (claiming(iss=None), "InvalidAuthHeader", "Missing issuer claim ('iss') in JWT payload."),
    "by another key": (by_another_key, "Unauthenticated", f"{OIDC} Its signature is not"),
    "changed": (with_a_changed_claim, "Unauthenticated", f"{OIDC} Its signature is not"),
    "by the key in its header": (by_the_key_in_its_header, "Unauthenticated", f"{OIDC} Its signature is not"),
    "unsigned": (unsigned, "Unauthenticated", f"{OIDC} It must be signed with RS256 or EdDSA"),
    "HMAC with the public key": (with_hmac_of_the_public_key, "Unauthenticated", f"{OIDC} It must be signed with"),
    "another hash": (headed(alg="RS512"), "Unauthenticated", f"{OIDC} It must be signed with"),
    "unknown key": (headed(kid="third"), "Unauthenticated", f"{OIDC} It is signed with a key that its provider"),
    "critical extension": (headed(crit=["b64"], b64=True), "InvalidAuthHeader", f"{MALFORMED}"),
    "typed email": (claiming(email=["a@b"]), "Unauthenticated", f"{OIDC} Its 'email' is no string"),
}


@pytest.mark.parametrize(("forge", "code", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_a_token_is_refused(provider: IdentityProvider, forge: Forge, code: str, text: str) -> None:
    rig = Rig([oidc_of(provider)])
    assert accepted(rig, provider.token(now=rig.now)), "without its fault it would be believed"

    error = refused(rig, forge(provider, rig))

    assert (error.code, error.http_status) == (code, 401)
    assert str(error).startswith(text)
    assert not [path for path in provider.requests if "eve" in path], "a token said what to fetch"


@pytest.mark.parametrize("is_only_key", [True, False])
def test_an_oidc_token_names_its_key_unless_there_is_no_choice(provider: IdentityProvider, is_only_key: bool) -> None:
    if not is_only_key:
        provider.keys["second"] = rsa_key(1)
    rig = Rig([oidc_of(provider)])
    token = signed({"alg": "RS256"}, provider.claims(rig.now), rsa_key())

    if is_only_key:
        assert accepted(rig, token)
    else:
        assert str(refused(rig, token)).startswith(f"{OIDC} It is signed with a key that its provider")


@pytest.mark.parametrize("key_type", ["EC", "RSA"])
def test_a_custom_signer_is_held_to_its_one_algorithm(provider: IdentityProvider, key_type: str) -> None:
    """Both of its keys are published; the configuration says which kind counts."""
    provider.keys = {"RSA": rsa_key(), "EC": ECKey.generate_key("P-256")}
    wanted = {"RSA": "ES256", "EC": "RS256"}[key_type]
    rig = Rig([custom_of(provider, wanted)])

    error = refused(rig, provider.token(key_type, now=rig.now))

    assert str(error) == f"Could not verify token claim. It must be signed with {wanted}."


def test_a_custom_signer_must_name_its_key(provider: IdentityProvider) -> None:
    rig = Rig([custom_of(provider)])

    error = refused(rig, signed({"alg": "RS256"}, provider.claims(rig.now), rsa_key()))

    assert str(error) == "Could not verify token claim. Its header names no key ('kid')."


def test_an_audience_that_is_configured_is_demanded(provider: IdentityProvider) -> None:
    rig = Rig([custom_of(provider, applicationID="mine")])

    assert refused(rig, provider.token(now=rig.now, aud="yours")).code == "NoAuthProvider"
    assert accepted(rig, provider.token(now=rig.now, aud=["yours", "mine"]))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "a.b",
        "a.b.c.d",
        "e30.e30.",
        f"e30.e30=.{'A' * 86}",
        "e30.e30.a b",
        "e30.ZTMw.QQ",
        "bnVsbA.e30.QQ",
        "e30.W10.QQ",
        "e30.e31.QQ",
        "é.e30.QQ",
        f"e30.{'A' * AUTH_TOKEN_CHARS_MAX}.QQ",
        *(
            f"e30.{base64url(payload)}.QQ"
            for payload in (
                b"[" * 20_000,
                b'{"iss":' + b"1" * 5000 + b"}",
                b'{"iss":NaN}',
                b'{"iss":1e999}',
                b'{"iss":"\xff"}',
            )
        ),
    ],
    ids=range(18),
)
def test_rubbish_is_refused_before_anybody_is_asked(provider: IdentityProvider, token: str) -> None:
    rig = Rig([oidc_of(provider)])

    error = refused(rig, token)

    assert error.code == "InvalidAuthHeader"
    assert provider.requests == []


@pytest.mark.parametrize("part", ["header", "payload"])
def test_a_key_that_stands_twice_is_refused(provider: IdentityProvider, part: str) -> None:
    """Two JSON readers may each see another of the two, so a token that is signed for one says eve to the other."""
    rig = Rig([oidc_of(provider)])
    _, body, _ = provider.token(now=rig.now).split(".")
    if part == "payload":
        payload = json.dumps(provider.claims(rig.now)).encode()[:-1] + b',"sub":"eve"}'
        token = signed({"alg": "RS256", "kid": "first"}, payload, rsa_key())
    else:
        token = base64url(b'{"alg":"RS256","kid":"first","alg":"none"}') + f".{body}.QQ"

    error = refused(rig, token)

    assert error.code == "InvalidAuthHeader"
    assert "names a key twice" in str(error)


def test_one_spelling_of_a_signature_is_taken(provider: IdentityProvider) -> None:
    """A token with unused bits set, or padding, would be the same token under another name."""
    rig = Rig([oidc_of(provider)])
    token = provider.token(now=rig.now)
    assert accepted(rig, token)

    assert refused(rig, token + "==").code == "InvalidAuthHeader"
    last = token[-1]
    other = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert refused(rig, token[:-1] + other[other.index(last) + 1]).code == "InvalidAuthHeader"


def test_claims_that_no_function_could_take_are_refused(provider: IdentityProvider) -> None:
    rig = Rig([custom_of(provider)])
    payload = json.dumps(provider.claims(rig.now))[:-1] + r',"nick":"\ud800"}'

    error = refused(rig, signed({"alg": "RS256", "kid": "first"}, payload.encode(), rsa_key()))

    assert error.code == "Unauthenticated"


@pytest.mark.parametrize(("given", "shown"), [(2**53, 2**53), (2**53 + 1, 2**53), (-(2**60), -(2.0**60))])
def test_a_number_beyond_those_of_float64_is_the_nearest_of_them(
    provider: IdentityProvider, given: int, shown: float
) -> None:
    """As in any other reader of JSON; a function can return the identity then."""
    rig = Rig([custom_of(provider)])

    identity = accepted(rig, provider.token(now=rig.now, badge=given))

    assert (identity["badge"], type(identity["badge"])) == (shown, type(shown))


@pytest.mark.parametrize(
    ("providers", "is_redacted", "text"),
    [
        ([], False, "(no providers configured). Add auth_config.py"),
        ([{"domain": "a.test", "applicationID": "x"}], False, "[OIDC(domain=https://a.test, app_id=x)]"),
        ([{"domain": "a.test", "applicationID": "x"}], True, "given token."),
    ],
)
def test_the_refusal_tells_a_developer_what_is_configured(
    provider: IdentityProvider, providers: list[dict[str, Any]], is_redacted: bool, text: str
) -> None:
    rig = Rig(providers, is_redacted=is_redacted)

    error = refused(rig, provider.token(now=rig.now))

    assert error.code == "NoAuthProvider"
    assert str(error).endswith(text) or text in str(error)
    assert (provider.issuer in str(error)) == (bool(providers) and not is_redacted)
