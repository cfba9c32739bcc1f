"""HTTP below the apps: uvicorn's, made quiet where a connection ends while its requests are still being answered."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class HttpTransport(HttpToolsProtocol):
    """A connection whose end is the end of all its requests.

    A client that sends requests without waiting for answers has several. When it leaves uvicorn tells only the last
    one, and when it sends garbage none; the others go on writing to a closed transport, which uvloop refuses.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unanswered: list[RequestResponseCycle] = []

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._unanswered = [cycle for cycle in self._unanswered if not cycle.response_complete]
        if self.cycle is not None:
            self._unanswered.append(self.cycle)

    def send_400_response(self, msg: str) -> None:
        self._disconnect_requests()
        super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disconnect_requests()
        super().connection_lost(exc)

    def _disconnect_requests(self) -> None:
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        self._unanswered.clear()
