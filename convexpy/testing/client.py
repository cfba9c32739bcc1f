"""Somebody who calls functions of a `TestBackend`, with an identity or without."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from convexpy.errors import CalledFunctionFailed, ConvexError
from convexpy.runtime.interface import FunctionRequest, Outcome
from convexpy.testing.fetching import FetchedResponse
from convexpy.values import decode_json, encode_json

CallableKind = Literal["query", "mutation", "action"]


class Callee(Protocol):
    """What a client needs of the backend."""

    def place_of(self, reference: Any, component: str) -> tuple[str, str]:
        """Component path and function path that a reference names."""

    def perform(self, kind: CallableKind, request: FunctionRequest) -> Outcome: ...

    def serve(
        self, path: str, method: str, headers: Mapping[str, str], body: bytes, identity: bytes | None
    ) -> FetchedResponse:
        """Answer an HTTP request."""


class TestClient:
    """Calls functions as one user, or as nobody.

    Args:
        identity: JSON of the user's identity, keys sorted.
    """

    __test__ = False  # no class of tests, whatever its name says to pytest

    def __init__(self, backend: Callee, identity: bytes | None) -> None:
        self._backend = backend
        self._identity = identity

    def query(self, function: Any, args: dict[str, Any] | None = None, *, component: str = "") -> Any:
        """Run a query, public or internal, and give its result.

        Args:
            function: any reference, such as `internal.messages.recent`, "messages:recent" or the function itself.
            component: path of the component instance in which a name is looked up; "" is the app.

        Raises:
            ConvexError: the function raised one.
            CalledFunctionFailed: it failed otherwise; the text is what a developer sees.
        """
        return _value_of(self.outcome("query", function, args, component=component))

    def mutation(self, function: Any, args: dict[str, Any] | None = None, *, component: str = "") -> Any:
        """Run a mutation; see `query`. What it schedules waits for `TestBackend.advance`."""
        return _value_of(self.outcome("mutation", function, args, component=component))

    def action(self, function: Any, args: dict[str, Any] | None = None, *, component: str = "") -> Any:
        """Run an action; see `query`. While it sleeps the clock moves on."""
        return _value_of(self.outcome("action", function, args, component=component))

    def fetch(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | str = b"",
        json: Any = None,
    ) -> FetchedResponse:
        """Send an HTTP request to the app's HTTP actions. An `Authorization` header says nothing here of who calls:
        that is `with_identity`.

        Args:
            path: with the query string, such as `/hook?id=1`.
            json: sent as the body, with its content type.
        """
        given = dict(headers or {})
        if json is not None:
            given.setdefault("Content-Type", "application/json")
            body = json_module.dumps(json)
        content = body.encode() if isinstance(body, str) else body
        return self._backend.serve(path, method, given, content, self._identity)

    def outcome(
        self,
        kind: CallableKind,
        function: Any,
        args: dict[str, Any] | None = None,
        *,
        component: str = "",
        is_admin: bool = True,
    ) -> Outcome:
        """Run a function and give all that came of it: value or error text as JSON clients get them, and log lines.

        Args:
            is_admin: False: as a stranger's client, to whom internal functions and components do not exist.
        """
        path_of_component, path = self._backend.place_of(function, component)
        request = FunctionRequest(
            component=path_of_component,
            path=path,
            args=encode_json({} if args is None else args),
            identity=self._identity,
            is_admin=is_admin,
            caller="Test",
        )
        return self._backend.perform(kind, request)


def _value_of(outcome: Outcome) -> Any:
    if outcome.ok:
        return decode_json(outcome.value)
    text = outcome.error.partition("\n")[2].rstrip("\n") or outcome.error
    if outcome.error_data is None:
        raise CalledFunctionFailed(text)
    error = ConvexError(decode_json(outcome.error_data))
    error.add_note(text)
    raise error
