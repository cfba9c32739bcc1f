"""Refusals as HTTP answers: a status and the body `{"code", "message"}`.

A function's own error is no refusal: it is data, status 200.

Source: wire-protocol 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ExceptionHandler

from convexpy.errors import AuthProviderUnavailable, Conflict, OutOfRetention, Overloaded, Unauthenticated, WorkerLost
from convexpy.limits import HTTP_RETRY_AFTER_SECONDS


class HttpRefusal(Exception):
    """A request that is answered with an error status."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def overloaded(code: str, message: str) -> Response:
    """Come again."""
    return _answer(503, code, message, {"Retry-After": str(HTTP_RETRY_AFTER_SECONDS)})


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HttpRefusal)
    return _answer(error.status, error.code, error.message)


async def _unauthenticated(request: Request, error: Exception) -> Response:
    assert isinstance(error, Unauthenticated)
    return _answer(error.http_status, error.code, str(error))


async def _unavailable(request: Request, error: Exception) -> Response:
    assert isinstance(error, Overloaded | Conflict | AuthProviderUnavailable | OutOfRetention)
    return overloaded(error.code, str(error))


async def _timeout(request: Request, error: Exception) -> Response:
    return _answer(408, "RequestTimedOut", "The request took too long.")


async def _routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "NotFound", 405: "MethodNotAllowed"}.get(error.status_code, "BadRequest")
    return JSONResponse({"code": code, "message": str(error.detail)}, error.status_code, dict(error.headers or {}))


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # to nobody: the client left before it had sent all of its body


async def _internal(request: Request, error: Exception) -> Response:
    return _answer(500, "InternalServerError", "Your request couldn't be completed. Try again later.")


def _answer(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"code": code, "message": message}, status, headers)


EXCEPTION_HANDLERS: dict[type[Exception], ExceptionHandler] = {
    HttpRefusal: _refusal,
    Unauthenticated: _unauthenticated,
    Overloaded: _unavailable,
    Conflict: _unavailable,
    AuthProviderUnavailable: _unavailable,
    OutOfRetention: _unavailable,
    WorkerLost: _internal,  # the operator has been told by whoever lost it; a traceback would say no more
    TimeoutError: _timeout,
    ClientDisconnect: _gone,
    HTTPException: _routing,
    Exception: _internal,  # the server's log gets the traceback as well
}
