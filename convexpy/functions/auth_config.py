"""Whom an app lets vouch for its users: `oidc(…)` and `custom_jwt(…)` of `auth_config.py`, checked, as plain data.

A checked provider is a dict in the spelling of Convex's `auth.config`, so a provider may also be written as one:

    {"domain": "https://acme.auth0.com", "applicationID": "abc"}
    {"type": "customJwt", "issuer": …, "jwks": …, "algorithm": "RS256" | "ES256", "applicationID": optional}

Source: wire-protocol 9.1; convex-js src/server/authentication.ts.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from convexpy.errors import DefinitionError
from convexpy.limits import AUTH_KEYS_BYTES_MAX, AUTH_PROVIDERS_MAX

AuthProvider = dict[str, Any]

ALGORITHMS = ("RS256", "ES256")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::\d+)?")
_OIDC_FIELDS = {"type", "domain", "applicationID"}
_CUSTOM_FIELDS = {"type", "issuer", "jwks", "algorithm", "applicationID"}
_PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


def oidc(*, domain: str, application_id: str) -> AuthProvider:
    """A provider that speaks OpenID Connect: Auth0, Clerk, Keycloak, Google and most others.

    Args:
        domain: its issuer, `https://` unless another scheme is given. `/.well-known/openid-configuration` below it
            tells where its keys are.
        application_id: what its tokens must have as their audience (`aud`).

    Raises:
        DefinitionError: one of them is missing or malformed.
    """
    return checked_provider({"domain": domain, "applicationID": application_id})


def custom_jwt(*, issuer: str, jwks: str, algorithm: str, application_id: str | None = None) -> AuthProvider:
    """Whoever signs JWTs, without the ceremony of OpenID Connect.

    Args:
        issuer: the tokens' `iss`, `https://` unless another scheme is given.
        jwks: where the public keys are: a URL, or a `data:` URI that holds them.
        algorithm: "RS256" or "ES256"; a token signed in another way is refused.
        application_id: the tokens' audience (`aud`). Without it a token that the issuer made for anybody is accepted.

    Raises:
        DefinitionError: one of them is missing or malformed.
    """
    provider = {"type": "customJwt", "issuer": issuer, "jwks": jwks, "algorithm": algorithm}
    return checked_provider(provider if application_id is None else {**provider, "applicationID": application_id})


def checked_providers(providers: Any) -> list[AuthProvider]:
    """What `auth_config.py` exports as `providers`, as plain data.

    Raises:
        DefinitionError: it is no list of providers; the text says which of them is wrong.
    """
    if not isinstance(providers, list | tuple):
        raise DefinitionError(
            f"`providers` is {_shown(providers)}. Make it a list: providers = [oidc(domain=…, application_id=…)]."
        )
    if len(providers) > AUTH_PROVIDERS_MAX:
        raise DefinitionError(f"`providers` lists {len(providers)} providers; at most {AUTH_PROVIDERS_MAX} may be.")
    return [checked_provider(provider, f"providers[{place}]: ") for place, provider in enumerate(providers)]


def checked_provider(provider: Any, place: str = "") -> AuthProvider:
    """One provider in any of its forms, as plain data. A checked one stays as it is.

    Raises:
        DefinitionError: the text begins with `place`.
    """
    try:
        if not isinstance(provider, dict):
            raise DefinitionError(
                f"A provider is made by oidc(…) or custom_jwt(…), or is a dict like theirs, not {_shown(provider)}."
            )
        kind = provider.get("type", "oidc")
        if kind == "customJwt":
            return _checked_custom(provider)
        if kind == "oidc":
            return _checked_oidc(provider)
        raise DefinitionError(f'"type" is {_shown(kind)}. Write "customJwt", or leave it out for OpenID Connect.')
    except DefinitionError as error:
        raise DefinitionError(place + error.text) from None


def _checked_oidc(provider: AuthProvider) -> AuthProvider:
    _refuse_other_fields(provider, _OIDC_FIELDS)
    return {
        "domain": _checked_issuer(provider, "domain"),
        "applicationID": _checked_text(provider, "applicationID"),
    }


def _checked_custom(provider: AuthProvider) -> AuthProvider:
    _refuse_other_fields(provider, _CUSTOM_FIELDS)
    algorithm = provider.get("algorithm")
    if algorithm not in ALGORITHMS:
        raise DefinitionError(f'"algorithm" is {_shown(algorithm)}. Write one of {", ".join(ALGORITHMS)}.')
    checked = {
        "type": "customJwt",
        "issuer": _checked_issuer(provider, "issuer"),
        "jwks": _checked_jwks(_checked_text(provider, "jwks")),
        "algorithm": algorithm,
    }
    if provider.get("applicationID") is not None:
        checked["applicationID"] = _checked_text(provider, "applicationID")
    return checked


def _refuse_other_fields(provider: AuthProvider, known: set[str]) -> None:
    if unknown := sorted(str(field) for field in provider.keys() - known):
        raise DefinitionError(f"A provider has no field {unknown[0]!r}. Known: {', '.join(sorted(known))}.")


def _checked_text(provider: AuthProvider, field: str) -> str:
    value = provider.get(field)
    if not isinstance(value, str) or not value.strip():
        raise DefinitionError(
            f'"{field}" is {_shown(value)}, and must be a string. If it comes from an environment variable, set that '
            f"where the server is started."
        )
    return value


def _checked_issuer(provider: AuthProvider, field: str) -> str:
    value = _checked_text(provider, field)
    if "://" not in value:
        if not _HOST.fullmatch(value.rstrip("/").partition("/")[0]):
            raise DefinitionError(f'"{field}" is {value!r}. Write a URL such as https://auth.example.com.')
        value = f"https://{value}"
    return _checked_url(value, field)


def _checked_url(value: str, field: str) -> str:
    try:
        url = urlsplit(value)
        is_good = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        is_good = False
    if not is_good or not value.isascii() or re.search(r"[\s\x00-\x1f]", value):
        raise DefinitionError(f'"{field}" is {value!r}. Write a URL such as https://auth.example.com.')
    if url.username is not None or url.fragment or (url.query and field != "jwks"):
        raise DefinitionError(f'"{field}" is a URL with more than a host and a path. Leave the rest of it out.')
    return value


def _checked_jwks(value: str) -> str:
    if not value.startswith("data:"):
        return _checked_url(value, "jwks")
    try:
        document = json.loads(data_uri_content(value))
    except (ValueError, RecursionError) as error:
        raise DefinitionError(f'"jwks" is a data: URI that holds no JSON: {error}.') from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        raise DefinitionError('"jwks" is a data: URI whose JSON is not {"keys": [{…}, …]}.')
    for key in keys:
        if _PRIVATE_MEMBERS & key.keys():
            raise DefinitionError('"jwks" holds a private or secret key. Put only public keys there, and replace it.')
    return value


def data_uri_content(uri: str) -> bytes:
    """What a `data:` URI holds.

    Raises:
        ValueError: it is malformed, or holds more than AUTH_KEYS_BYTES_MAX.
    """
    head, comma, content = uri.removeprefix("data:").partition(",")
    if not comma:
        raise ValueError("it has no comma before its content")
    data = unquote_to_bytes(content)
    if head.endswith(";base64"):
        try:
            data = base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
        except binascii.Error as error:
            raise ValueError(f"its base64 is malformed ({error})") from None
    if len(data) > AUTH_KEYS_BYTES_MAX:
        raise ValueError(f"it holds more than {AUTH_KEYS_BYTES_MAX} bytes")
    return data


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"
