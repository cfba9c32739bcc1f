"""Somebody who calls functions of a `TestBackend`, with an identity or without."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from convexpy.errors import CalledFunctionFailed, ConvexError
from convexpy.runtime.interface import FunctionRequest, Outcome
from convexpy.values import decode_json, encode_json

CallableKind = Literal["query", "mutation", "action"]


class Callee(Protocol):
    """What a client needs of the backend."""

    def place_of(self, reference: Any, component: str) -> tuple[str, str]:
        """Component path and function path that a reference names."""

    def perform(self, kind: CallableKind, request: FunctionRequest) -> Outcome: ...


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
