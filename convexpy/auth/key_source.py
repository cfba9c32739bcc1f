"""A provider's keys, fetched when they are needed and kept for as long as they may be.

1. one fetch at a time, however many tokens wait for it;
2. keys that are no longer fresh are fetched again before they are used; while that fails the old ones serve;
3. a token with an unknown key may mean that the provider has a new one, so it causes a fetch, but only now and then:
   anybody can make such tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from convexpy.auth.fetching import FetchFailed
from convexpy.auth.public_keys import PublicKey, matching
from convexpy.environment import Environment
from convexpy.limits import AUTH_FETCH_RETRY_SECONDS, AUTH_KEYS_STALE_SECONDS_MAX, AUTH_UNKNOWN_KEY_FETCH_SECONDS


class LoadedKeys(NamedTuple):
    """What a provider has published. `issuer` is how it names itself, where it says so."""

    keys: list[PublicKey]
    fresh_seconds: float
    issuer: str | None = None


class KeySource:
    """The keys of one provider.

    Args:
        load: fetches them; raises FetchFailed.
        report: takes a sentence for the operator when that fails.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[LoadedKeys]],
        environment: Environment,
        report: Callable[[str], None],
    ) -> None:
        self._load = load
        self._environment = environment
        self._report = report
        self._loaded: LoadedKeys | None = None
        self._fresh_until = 0.0
        self._failure: FetchFailed | None = None
        self._retry_at = 0.0
        self._unknown_key_fetch_at = 0.0
        self._loading: asyncio.Task[None] | None = None

    @property
    def issuer(self) -> str | None:
        """The name that the provider gave itself when its keys were last fetched."""
        return None if self._loaded is None else self._loaded.issuer

    async def find(self, key_id: str | None, algorithm: str) -> list[PublicKey]:
        """The keys that a token with this header may be signed with.

        Raises:
            FetchFailed: there are none, neither fresh nor old, and the provider does not give any.
        """
        is_new = False
        if self._loaded is None or self._now() >= self._fresh_until:
            is_new = await self._refresh()
        found = matching(self._keys(), key_id, algorithm)
        if found or is_new or key_id is None or self._now() < self._unknown_key_fetch_at:
            return found
        self._unknown_key_fetch_at = self._now() + AUTH_UNKNOWN_KEY_FETCH_SECONDS
        await self._refresh()
        return matching(self._keys(), key_id, algorithm)

    def close(self) -> None:
        """End a fetch that is under way."""
        if self._loading is not None:
            self._loading.cancel()

    def _now(self) -> float:
        return self._environment.monotonic()

    def _keys(self) -> list[PublicKey]:
        if self._loaded is None or self._now() >= self._fresh_until + AUTH_KEYS_STALE_SECONDS_MAX:
            self._loaded = None
            assert self._failure is not None, "a fetch that gave no keys has failed"
            raise self._failure
        return self._loaded.keys

    async def _refresh(self) -> bool:
        """Fetch, or wait for the fetch that is under way; whether there was one."""
        if self._loading is None:
            if self._failure is not None and self._now() < self._retry_at:
                return False
            self._loading = asyncio.get_running_loop().create_task(self._load_once())
        # One who waits may be cancelled; the others still want the keys.
        await asyncio.shield(self._loading)
        return True

    async def _load_once(self) -> None:
        try:
            self._loaded = await self._load()
        except FetchFailed as failure:
            self._failure = failure
            self._retry_at = self._now() + AUTH_FETCH_RETRY_SECONDS
            still = " The keys that it gave before serve on." if self._loaded is not None else ""
            self._report(f"The keys of an auth provider are not to be had. {failure}{still}")
        else:
            self._failure = None
            self._fresh_until = self._now() + self._loaded.fresh_seconds
        finally:
            self._loading = None
