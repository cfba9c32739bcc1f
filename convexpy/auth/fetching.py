"""Fetches a provider's documents: small JSON over HTTP, with a bound on everything.

Source: wire-protocol 9.2; RFC 9111 section 5.2 for how long a document stays fresh.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import httpx2
import msgspec

from convexpy.limits import (
    AUTH_FETCH_SECONDS_MAX,
    AUTH_KEYS_BYTES_MAX,
    AUTH_KEYS_FRESH_SECONDS,
    AUTH_KEYS_FRESH_SECONDS_MAX,
    AUTH_KEYS_FRESH_SECONDS_MIN,
)

_MAX_AGE = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,9})\"?\s*(?:,|$)", re.IGNORECASE)
_JSON_TYPES = {"application/json", "application/jwk-set+json"}


class FetchFailed(Exception):
    """A document that could not be had.

    Args:
        is_temporary: asking again later may help, and nobody has to change anything.
    """

    def __init__(self, text: str, *, is_temporary: bool) -> None:
        super().__init__(text)
        self.is_temporary = is_temporary


class Document(NamedTuple):
    """A fetched document and the seconds for which it need not be fetched again."""

    value: dict[str, Any]
    fresh_seconds: float


class Fetcher(Protocol):
    """Gets JSON objects by URL."""

    async def get(self, url: str) -> Document:
        """Fetch one document.

        Raises:
            FetchFailed: the text names the URL and says why.
        """


class HttpFetcher:
    """Implements `Fetcher`; opens its connections when they are first needed.

    Redirects are not followed: they could lead to where only this server may go. The text says what to write instead.
    """

    def __init__(self) -> None:
        self._client: httpx2.AsyncClient | None = None

    async def get(self, url: str) -> Document:
        """See `Fetcher`."""
        if self._client is None:
            self._client = httpx2.AsyncClient(follow_redirects=False, timeout=AUTH_FETCH_SECONDS_MAX)
        try:
            async with asyncio.timeout(AUTH_FETCH_SECONDS_MAX):
                async with self._client.stream("GET", url, headers={"Accept": "application/json"}) as response:
                    _check_head(url, response)
                    body = bytearray()
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > AUTH_KEYS_BYTES_MAX:
                            raise _wrong(url, f"holds more than {AUTH_KEYS_BYTES_MAX} bytes")
        except TimeoutError:
            raise FetchFailed(f"{url} did not answer within {AUTH_FETCH_SECONDS_MAX:g} s.", is_temporary=True) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            reason = str(error) or type(error).__name__
            raise FetchFailed(f"{url} could not be fetched: {reason}.", is_temporary=True) from None
        try:
            value = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise _wrong(url, "is no JSON object") from None
        return Document(value, fresh_seconds(response.headers.get("cache-control", "")))

    async def close(self) -> None:
        """Let go of its connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def fresh_seconds(cache_control: str) -> float:
    """How long to keep a document that came with this header; never so short that every token costs a fetch."""
    if re.search(r"\bno-(?:store|cache)\b", cache_control, re.IGNORECASE):
        return AUTH_KEYS_FRESH_SECONDS_MIN
    found = _MAX_AGE.search(cache_control)
    seconds = AUTH_KEYS_FRESH_SECONDS if found is None else float(found[1])
    return min(max(seconds, AUTH_KEYS_FRESH_SECONDS_MIN), AUTH_KEYS_FRESH_SECONDS_MAX)


def _check_head(url: str, response: httpx2.Response) -> None:
    status = response.status_code
    if status == 429 or status >= 500:
        raise FetchFailed(f"{url} answered with status {status}.", is_temporary=True)
    if 300 <= status < 400:
        place = response.headers.get("location", "")
        where = f" to {place[:200]}" if urlsplit(place).scheme in ("http", "https") else ""
        raise _wrong(url, f"redirects{where}, which is not followed: write the final address into auth_config.py")
    if status != 200:
        raise _wrong(url, f"answered with status {status}")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES:
        raise _wrong(url, f"is of type {kind[:80]!r} instead of application/json")


def _wrong(url: str, reason: str) -> FetchFailed:
    return FetchFailed(f"{url} {reason}.", is_temporary=False)
