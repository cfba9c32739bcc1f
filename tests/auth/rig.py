"""An authenticator with a clock that stands still, in front of a provider."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from convexpy.auth.authenticator import DeploymentAuthenticator
from convexpy.errors import Unauthenticated
from convexpy.functions.auth_config import checked_providers
from tests.auth.provider import AUDIENCE, IdentityProvider
from tests.manual_environment import SECOND_NS, ManualEnvironment

ADMIN_KEY = "dev:test|secret"
T = TypeVar("T")


class Rig:
    """Judges tokens; `providers` is as `auth_config.py` has it."""

    def __init__(self, providers: list[dict[str, Any]], *, is_redacted: bool = False) -> None:
        self.environment = ManualEnvironment()
        self.reports: list[str] = []
        self.authenticator = DeploymentAuthenticator(
            ADMIN_KEY, self.environment, is_redacted=is_redacted, report=self.reports.append
        )
        self.authenticator.use_providers(checked_providers(providers))

    @property
    def now(self) -> float:
        """Epoch seconds."""
        return self.environment.now_ns() / SECOND_NS

    async def refusal(self, token: str) -> Unauthenticated:
        """The error that a token meets."""
        try:
            caller = await self.authenticator.user(token)
        except Unauthenticated as error:
            return error
        raise AssertionError(f"accepted as {caller.identity!r}")


def oidc_of(provider: IdentityProvider) -> dict[str, Any]:
    """The provider by OpenID Connect."""
    return {"domain": provider.issuer, "applicationID": AUDIENCE}


def custom_of(provider: IdentityProvider, algorithm: str = "RS256", **more: str) -> dict[str, Any]:
    """The provider as a mere signer of JWTs."""
    return {
        "type": "customJwt",
        "issuer": provider.issuer,
        "jwks": provider.jwks_url,
        "algorithm": algorithm,
        **more,
    }


def judge(rig: Rig, work: Callable[[Rig], Awaitable[T]]) -> T:
    """Run a test's work on a loop of its own and let go of the rig's connections."""

    async def run() -> T:
        try:
            return await work(rig)
        finally:
            await rig.authenticator.close()

    return asyncio.run(run())
