"""`backend.fetch(…)`: an HTTP request to the app's HTTP actions, without a socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from convexpy.runtime.http_exchange import Headers, RequestHead, RequestPart, ResponsePart


@dataclass
class FetchedResponse:
    """What an HTTP action has answered.

    Attributes:
        headers: names in lower case; of several with one name the last.
        is_cut: the action failed in the middle of its response.
    """

    status: int
    headers: dict[str, str]
    content: bytes
    is_cut: bool = False

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class MemoryExchange:
    """Implements `HttpExchange`: the whole request is there, the response is kept."""

    body: bytes
    status: int = 0
    headers: Headers = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)

    async def receive(self) -> RequestPart:
        """See `HttpExchange`."""
        return RequestPart(self.body)

    async def send(self, part: ResponsePart) -> None:
        """See `HttpExchange`."""
        if part.status is not None:
            self.status, self.headers = part.status, part.headers
        self.content += part.body

    async def is_gone(self) -> bool:
        """See `HttpExchange`."""
        return False

    def response(self, *, is_whole: bool) -> FetchedResponse:
        """What came of it."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.headers}
        return FetchedResponse(self.status, headers, bytes(self.content), not is_whole)


def request_head(url: str, method: str, headers: Mapping[str, str], *, has_body: bool) -> RequestHead:
    """The head of a request for a path with or without a query string."""
    parts = urlsplit(url)
    given = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return RequestHead(
        method=method,
        path=parts.path,
        raw_path=quote(parts.path).encode(),
        query_string=parts.query.encode(),
        headers=[(b"host", b"some.convex.site"), *given],
        has_body=has_body,
    )
