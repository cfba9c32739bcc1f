"""Auth providers as a push describes them: which one a token belongs to, and where its keys come from.

Source: wire-protocol 9.1, 9.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from convexpy.auth.fetching import Fetcher, FetchFailed
from convexpy.auth.key_source import LoadedKeys
from convexpy.auth.public_keys import read_keys
from convexpy.auth.tokens import UnverifiedToken
from convexpy.functions.auth_config import data_uri_content
from convexpy.limits import AUTH_KEYS_FRESH_SECONDS_MAX

DISCOVERY_PATH = "/.well-known/openid-configuration"
OIDC_ALGORITHMS = ("RS256", "EdDSA")


class Provider(NamedTuple):
    """One entry of `auth_config.py`."""

    is_oidc: bool
    issuer: str  # as it is configured, without a slash at the end
    audience: str | None
    algorithms: tuple[str, ...]
    jwks: str | None

    def issues(self, token: UnverifiedToken) -> bool:
        """Whether the token says to be from this provider, and for this app."""
        return _comparable(token.issuer) == self.issuer and (self.audience is None or self.audience in token.audiences)

    def __str__(self) -> str:
        if self.is_oidc:
            return f"OIDC(domain={self.issuer}, app_id={self.audience})"
        return f"CustomJWT(issuer={self.issuer}, app_id={self.audience or 'any'})"

    @property
    def key_place(self) -> tuple[str, str | None]:
        """What providers have in common that share their keys."""
        return self.issuer, self.jwks


def read_provider(described: Mapping[str, Any]) -> Provider:
    """A provider from its plain data; see `functions.auth_config`."""
    if described.get("type") == "customJwt":
        return Provider(
            is_oidc=False,
            issuer=_comparable(described["issuer"]),
            audience=described.get("applicationID"),
            algorithms=(described["algorithm"],),
            jwks=described["jwks"],
        )
    return Provider(
        is_oidc=True,
        issuer=_comparable(described["domain"]),
        audience=described["applicationID"],
        algorithms=OIDC_ALGORITHMS,
        jwks=None,
    )


async def load_keys(provider: Provider, fetcher: Fetcher) -> LoadedKeys:
    """Fetch a provider's keys from where its configuration, or its discovery document, says that they are.

    Raises:
        FetchFailed: they are not to be had.
    """
    if provider.jwks is None:
        return await _load_discovered(provider, fetcher)
    if provider.jwks.startswith("data:"):
        keys = read_keys(msgspec.json.decode(data_uri_content(provider.jwks)))
        return LoadedKeys(keys, AUTH_KEYS_FRESH_SECONDS_MAX)
    return await _load_set(provider.jwks, fetcher)


async def _load_discovered(provider: Provider, fetcher: Fetcher) -> LoadedKeys:
    url = provider.issuer + DISCOVERY_PATH
    discovery = await fetcher.get(url)
    issuer, jwks_uri = discovery.value.get("issuer"), discovery.value.get("jwks_uri")
    if not isinstance(issuer, str) or _comparable(issuer) != provider.issuer:
        raise FetchFailed(
            f'{url} is of issuer {str(issuer)[:200]!r}. Write that into auth_config.py as "domain".', is_temporary=False
        )
    if not isinstance(jwks_uri, str) or not _is_as_safe_as(provider.issuer, jwks_uri):
        raise FetchFailed(f"{url} names no usable jwks_uri: {str(jwks_uri)[:200]!r}.", is_temporary=False)
    loaded = await _load_set(jwks_uri, fetcher)
    return LoadedKeys(loaded.keys, min(loaded.fresh_seconds, discovery.fresh_seconds), issuer)


async def _load_set(url: str, fetcher: Fetcher) -> LoadedKeys:
    document = await fetcher.get(url)
    try:
        return LoadedKeys(read_keys(document.value), document.fresh_seconds)
    except ValueError as error:
        raise FetchFailed(f"{url} holds no JWK set: {error}.", is_temporary=False) from None


def _is_as_safe_as(issuer: str, url: str) -> bool:
    try:
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
    except ValueError:
        return False
    return bool(host) and (scheme == "https" or (scheme == "http" and issuer.startswith("http://")))


def _comparable(issuer: str) -> str:
    """Providers do not agree with their own documentation on scheme and final slash."""
    return (issuer if "://" in issuer else f"https://{issuer}").rstrip("/")
