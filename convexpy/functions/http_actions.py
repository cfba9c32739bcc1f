"""`@http_action`: a handler `(ctx, request) -> Response`, and what may come out of it.

Requests and responses are starlette's. An HTTP action runs like an action: no `ctx.db`, at most once, never retried.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from convexpy.errors import DefinitionError, InvalidRequest, LimitExceeded
from convexpy.functions.definitions import Function
from convexpy.functions.places import place_of
from convexpy.limits import HTTP_ACTION_BODY_BYTES_MAX, MIB
from convexpy.values import Validator


class HttpAction(Function):
    """One HTTP action. It has no arguments to validate: what it gets is a request."""

    def _annotated_args(self) -> Validator | None:
        return None

    def _annotated_returns(self) -> Validator | None:
        return None


def http_action(handler: Callable[..., Any]) -> HttpAction:
    """Make a handler of HTTP requests: `async def hook(ctx, request)`, or `def`, which then runs in a thread.

    Raises:
        DefinitionError: it does not take a ctx and a request.
    """
    if isinstance(handler, HttpAction):
        return handler
    if inspect.isroutine(handler):
        required = [
            each
            for each in inspect.signature(handler).parameters.values()
            if each.default is each.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
        if len(required) != 2:
            name = handler.__name__
            raise DefinitionError(
                f"{name}() must take a ctx and a request: async def {name}(ctx, request).", *place_of(handler)
            )
    return HttpAction(handler, "httpAction", "public", None, None)


def json_response(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with JSON: numbers as Python shows them, no NaN."""
    return JSONResponse(data, status, headers)


async def send_response(response: Any, path: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Send what a handler has returned.

    Raises:
        InvalidRequest: it is no response.
        LimitExceeded: a body that is not streamed is beyond `HTTP_ACTION_BODY_BYTES_MAX`; nothing was sent.
    """
    if not isinstance(response, Response):
        raise InvalidRequest(
            f"{path} returned {type(response).__name__}, but an HTTP action returns a Response: Response('text'), "
            f"json_response({{…}}) or another one of starlette's."
        )
    if len(getattr(response, "body", b"")) > HTTP_ACTION_BODY_BYTES_MAX:
        raise LimitExceeded(
            f"HttpResponseTooLarge: HTTP actions support responses up to {HTTP_ACTION_BODY_BYTES_MAX // MIB} MiB. "
            f"Return a StreamingResponse for more."
        )
    await response(scope, receive, send)
