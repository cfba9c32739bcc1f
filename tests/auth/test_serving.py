"""Refusals on their way out: over HTTP as a status with a code, over the live socket as an `AuthError` or a close."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
from websockets.exceptions import ConnectionClosed

from convexpy.server import ServerSettings, create_api_app
from tests.auth.provider import IdentityProvider
from tests.auth.rig import Rig, judge, oidc_of
from tests.patience import PATIENCE_SECONDS, connect
from tests.sync.fake_backend import FakeBackend
from tests.sync.serving import serving

QUERY = {"path": "db:read", "args": {"keys": []}}


def serve(provider: IdentityProvider, scenario: Callable[[Rig, str], Awaitable[None]]) -> None:
    """Run `scenario` with the `host:port` of an API that trusts `provider`."""

    async def run(rig: Rig) -> None:
        settings = ServerSettings("test", rig.authenticator, environment=rig.environment)
        async with serving(create_api_app(FakeBackend(is_automatic=True), settings)) as address:
            await scenario(rig, address)

    judge(Rig([oidc_of(provider)]), run)


async def ask(address: str, token: str) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        headers = {"Authorization": f"Bearer {token}"}
        return await client.post(f"http://{address}/api/query", json=QUERY, headers=headers)


async def present(address: str, token: str) -> tuple[list[dict[str, Any]], tuple[int, str]]:
    """Bring a token to the live socket: what comes back, and how the socket is closed."""
    heard: list[dict[str, Any]] = []
    async with connect(f"ws://{address}/api/sync") as client:
        await client.send(json.dumps({"type": "Authenticate", "baseVersion": 0, "tokenType": "User", "value": token}))
        try:
            while True:
                heard.append(json.loads(await client.recv()))
                if heard[-1]["type"] == "Transition":
                    return heard, (0, "")
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            return heard, (closed.rcvd.code, closed.rcvd.reason)


def test_a_good_token_names_the_user() -> None:
    async def scenario(rig: Rig, address: str) -> None:
        token = provider.token(now=rig.now)
        response = await ask(address, token)
        assert (response.status_code, response.json()["value"]["who"]) == (200, "ada")
        ((transition,), _) = await present(address, token)
        assert transition["endVersion"]["identity"] == 1

    with IdentityProvider() as provider:
        serve(provider, scenario)


def test_a_bad_token_is_refused_with_its_reason() -> None:
    async def scenario(rig: Rig, address: str) -> None:
        token = provider.token(now=rig.now - 7200)
        response = await ask(address, token)
        assert response.status_code == 401
        assert response.json() == {
            "code": "Unauthenticated",
            "message": "Could not verify OIDC token claim. It has expired ('exp').",
        }
        ((error,), (code, _)) = await present(address, token)
        assert error == {
            "type": "AuthError",
            "error": "Could not verify OIDC token claim. It has expired ('exp').",
            "baseVersion": 0,
            "authUpdateAttempted": True,
        }
        assert code == 1000

    with IdentityProvider() as provider:
        serve(provider, scenario)


def test_a_provider_that_is_away_is_not_the_users_fault() -> None:
    """No `AuthError`: after a few of those a client signs its user out. It is closed, and tries again by itself."""

    async def scenario(rig: Rig, address: str) -> None:
        provider.status = 503
        token = provider.token(now=rig.now)
        response = await ask(address, token)
        assert (response.status_code, response.json()["code"]) == (503, "AuthProviderUnavailable")
        assert await present(address, token) == ([], (1013, "AuthProviderUnavailable"))

    with IdentityProvider() as provider:
        serve(provider, scenario)
