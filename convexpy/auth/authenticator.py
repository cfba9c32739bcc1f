"""The deployment's authenticator: its admin key, and the auth providers of the code that serves.

A token is judged in this order, the cheap and local first: form, provider, algorithm, times, key, signature, claims.
Nothing is fetched for a token that could not be accepted anyway.

Source: wire-protocol 9.2, 9.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from convexpy.auth.claims import custom_identity, oidc_identity, subject_of
from convexpy.auth.fetching import FetchFailed, HttpFetcher
from convexpy.auth.key_source import KeySource
from convexpy.auth.providers import Provider, load_keys, read_provider
from convexpy.auth.public_keys import is_signed_by
from convexpy.auth.tokens import UnverifiedToken, check_times, parse_token
from convexpy.environment import Environment
from convexpy.errors import AuthProviderUnavailable, Unauthenticated
from convexpy.runtime.identity import AdminKeyAuthenticator, Caller


class DeploymentAuthenticator(AdminKeyAuthenticator):
    """Implements `runtime.identity.Authenticator`.

    Args:
        is_redacted: as `convexpy serve` does: refusals do not tell how the app is configured.
        report: takes a sentence for the operator.
        fetcher: gets the providers' documents.
    """

    def __init__(
        self,
        admin_key: str,
        environment: Environment,
        *,
        is_redacted: bool,
        report: Callable[[str], None],
        fetcher: HttpFetcher | None = None,
    ) -> None:
        super().__init__(admin_key)
        self._environment = environment
        self._is_redacted = is_redacted
        self._report = report
        self._fetcher = fetcher or HttpFetcher()
        self._providers: list[tuple[Provider, KeySource]] = []

    def use_providers(self, described: Iterable[Mapping[str, Any]]) -> None:
        """Judge tokens by these providers from now on; keys of those that stay are kept.

        Args:
            described: plain data, see `functions.auth_config`.
        """
        known = {provider.key_place: source for provider, source in self._providers}
        used: dict[tuple[str, str | None], KeySource] = {}
        providers = [read_provider(each) for each in described]
        for provider in providers:
            place = provider.key_place
            if place not in used:
                used[place] = known.get(place) or self._source_of(provider)
        self._providers = [(provider, used[provider.key_place]) for provider in providers]
        for place in known.keys() - used.keys():
            known[place].close()

    async def user(self, token: str) -> Caller:
        """See `Authenticator`.

        Raises:
            Unauthenticated: forged, expired, or from nobody we trust.
            AuthProviderUnavailable: the provider's keys are not to be had now.
        """
        parsed = parse_token(token)
        provider, source = self._provider_of(parsed)
        try:
            expires_at = await self._check(parsed, provider, source)
            identity = oidc_identity(parsed.claims) if provider.is_oidc else custom_identity(parsed.claims)
            encoded = msgspec.json.encode(identity, order="sorted")
        except RecursionError:
            raise _refused(provider, "Its claims are nested too deeply.") from None
        except (ValueError, OverflowError) as error:
            raise _refused(provider, str(error)) from None
        return Caller(encoded, expires_ns=int(expires_at * 1e9), vouched_by=provider)

    def trusts(self, caller: Caller) -> bool:
        """See `Authenticator`."""
        return caller.vouched_by is None or any(provider == caller.vouched_by for provider, _ in self._providers)

    async def close(self) -> None:
        """End fetches and let go of connections."""
        for _, source in self._providers:
            source.close()
        await self._fetcher.close()

    def _source_of(self, provider: Provider) -> KeySource:
        return KeySource(partial(load_keys, provider, self._fetcher), self._environment, self._report)

    def _provider_of(self, token: UnverifiedToken) -> tuple[Provider, KeySource]:
        for provider, source in self._providers:
            if provider.issues(token):
                return provider, source
        text = "No auth provider found matching the given token"
        if self._is_redacted:
            text += "."
        elif not self._providers:
            text += " (no providers configured). Add auth_config.py with `providers = [oidc(domain=…, …)]`."
        else:
            text += (
                f". It is from issuer {token.issuer[:200]!r} for audience {', '.join(token.audiences)[:200]!r}; "
                f"auth_config.py has [{', '.join(str(provider) for provider, _ in self._providers)}]."
            )
        raise Unauthenticated(text, "NoAuthProvider")

    async def _check(self, token: UnverifiedToken, provider: Provider, source: KeySource) -> float:
        """Whether the token holds now; returns when it expires.

        Raises:
            ValueError: it does not; the text says why.
        """
        if token.algorithm not in provider.algorithms:
            raise ValueError(f"It must be signed with {' or '.join(provider.algorithms)}.")
        if provider.is_oidc and len(token.audiences) > 1:
            raise ValueError("It has several audiences ('aud').")
        if not provider.is_oidc and token.key_id is None:
            raise ValueError("Its header names no key ('kid').")
        subject_of(token.claims)
        expires_at = check_times(token.claims, self._environment.now_ns() / 1e9)
        try:
            keys = await source.find(token.key_id, token.algorithm)
        except FetchFailed as failure:
            raise self._unavailable(failure, provider) from None
        if not keys:
            raise ValueError("It is signed with a key that its provider does not have ('kid').")
        if not any(is_signed_by(token, key) for key in keys):
            raise ValueError("Its signature is not its provider's.")
        if source.issuer is not None and source.issuer != token.issuer:
            raise ValueError("Its issuer ('iss') is not spelled as its provider spells itself.")
        return expires_at

    def _unavailable(self, failure: FetchFailed, provider: Provider) -> AuthProviderUnavailable | Unauthenticated:
        details = "" if self._is_redacted else f" {failure}"
        if failure.is_temporary:
            return AuthProviderUnavailable(f"The auth provider cannot be reached now. Try again later.{details}")
        return Unauthenticated(f"Auth provider discovery of {provider.issuer} failed.{details}", "AuthProviderFailed")


def _refused(provider: Provider, reason: str) -> Unauthenticated:
    kind = "OIDC token" if provider.is_oidc else "token"
    return Unauthenticated(f"Could not verify {kind} claim. {reason}", "Unauthenticated")
