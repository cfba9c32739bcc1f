"""`@http_action`: a handler `(ctx, request) -> Response`, and what may come out of it.

Requests and responses are starlette's. An HTTP action runs like an action: no `ctx.db`, at most once, never retried.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from convexpy.errors import DefinitionError, InvalidRequest, LimitExceeded
from convexpy.functions.definitions import Function
from convexpy.functions.places import place_of
from convexpy.limits import HTTP_ACTION_BODY_BYTES_MAX, MIB
from convexpy.values import Validator

_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_BAD_IN_HEADER_VALUES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


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
        InvalidRequest: it is no response, or one that HTTP cannot carry; nothing was sent.
        LimitExceeded: a body that is not streamed is beyond `HTTP_ACTION_BODY_BYTES_MAX`; nothing was sent.
    """
    if not isinstance(response, Response):
        raise InvalidRequest(
            f"{path} returned {type(response).__name__}, but an HTTP action returns a Response: Response('text'), "
            f"json_response({{…}}) or another one of starlette's."
        )
    if fault := _fault_of_head(response, scope["method"]):
        raise InvalidRequest(f"{path} returned a response that cannot be sent: {fault}")
    if len(getattr(response, "body", b"")) > HTTP_ACTION_BODY_BYTES_MAX:
        raise LimitExceeded(
            f"HttpResponseTooLarge: HTTP actions support responses up to {HTTP_ACTION_BODY_BYTES_MAX // MIB} MiB. "
            f"Return a StreamingResponse for more."
        )
    await response(scope, receive, send)


def _fault_of_head(response: Response, method: str) -> str:
    """What the server below would cut the connection for, told to whoever wrote the handler; "" if nothing."""
    if not isinstance(response.status_code, int) or not 200 <= response.status_code <= 599:
        return f"its status is {response.status_code!r}. A status is a number from 200 to 599."
    is_bodiless = method == "HEAD" or response.status_code in (204, 304)  # the length is of what GET or 200 would send
    for name, value in response.raw_headers:
        shown = name.decode("latin-1")[:100]
        if not _HEADER_NAME.fullmatch(name):
            return f"{shown!r} is no name of a header. Names have letters, digits and hyphens."
        if _BAD_IN_HEADER_VALUES.search(value):
            return f"the value of its header {shown!r} has a line break or another control character. Take that out."
        is_length = name.lower() == b"content-length" and hasattr(response, "body") and not is_bodiless
        if is_length and value != b"%d" % len(response.body):
            length = value.decode("latin-1")[:100]
            return f"its header {shown!r} says {length}, and its body has {len(response.body)} bytes. Leave it out."
    return ""
