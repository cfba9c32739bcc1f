"""Calls of functions over HTTP.

Source: wire-protocol 8.1; convex-backend crates/local_backend/src/public_api.rs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Raw
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from convexpy.http.authorization import caller_of, require_admin
from convexpy.http.bodies import (
    BatchBody,
    ComponentFunctionBody,
    FunctionAtBody,
    FunctionBody,
    RunBody,
    arguments,
    function_path,
    output_format,
    read_json,
    timestamp,
)
from convexpy.http.errors import HttpRefusal
from convexpy.limits import HTTP_TIMEOUT_SECONDS, QUERIES_PER_SESSION_MAX
from convexpy.runtime.identity import Authenticator, Caller
from convexpy.runtime.interface import Backend, FunctionRequest, Outcome
from convexpy.runtime.messages import Format
from convexpy.runtime.timestamps import encode_ts

Run = Callable[[FunctionRequest], Awaitable[Outcome]]


class FunctionRoutes:
    """`/api/query`, `/api/mutation`, `/api/action` and their kin."""

    def __init__(self, backend: Backend, authenticator: Authenticator) -> None:
        self._backend = backend
        self._authenticator = authenticator

    def routes(self) -> list[Route]:
        return [
            Route("/api/query", self._query, methods=["POST"]),
            Route("/api/query", self._query_by_url, methods=["GET"]),
            Route("/api/mutation", self._mutation, methods=["POST"]),
            Route("/api/action", self._action, methods=["POST"]),
            Route("/api/function", self._any_function, methods=["POST"]),
            Route("/api/run/{path:path}", self._run_by_path, methods=["POST"]),
            Route("/api/query_ts", self._query_ts, methods=["POST"]),
            Route("/api/query_at_ts", self._query_at_ts, methods=["POST"]),
            Route("/api/query_batch", self._query_batch, methods=["POST"]),
        ]

    async def _query(self, request: Request) -> Response:
        return await self._call(request, self._backend.query)

    async def _mutation(self, request: Request) -> Response:
        return await self._call(request, self._backend.mutation)

    async def _action(self, request: Request) -> Response:
        return await self._call(request, self._backend.action)

    async def _query_by_url(self, request: Request) -> Response:
        caller = await caller_of(request, self._authenticator)
        params = request.query_params
        if "path" not in params:
            raise HttpRefusal(400, "BadConvexFunctionIdentifier", "The query parameter `path` names the function.")
        try:
            args = msgspec.json.decode(params.get("args", "{}"), type=Raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise HttpRefusal(400, "BadArgs", f"The query parameter `args` must be JSON: {error}") from None
        format_ = output_format(request, params.get("format"))
        return await _answer(self._backend.query, _function_request(request, caller, params["path"], args, format_))

    async def _any_function(self, request: Request) -> Response:
        caller = await require_admin(request, self._authenticator)
        body = await read_json(request, ComponentFunctionBody)
        format_ = output_format(request, body.format)
        call = _function_request(request, caller, body.path, body.args, format_, body.componentPath or "")
        return await _answer(self._backend.any_function, call)

    async def _run_by_path(self, request: Request) -> Response:
        caller = await caller_of(request, self._authenticator)
        module, slash, name = request.path_params["path"].rpartition("/")
        if not slash:
            raise HttpRefusal(400, "MissingIdentifier", "Write the URL as /api/run/<module>/<function>.")
        body = await read_json(request, RunBody)
        format_ = output_format(request, body.format or "json")
        call = _function_request(request, caller, f"{module}:{name}", body.args, format_)
        return await _answer(self._backend.any_function, call)

    async def _query_ts(self, request: Request) -> Response:
        return JSONResponse({"ts": encode_ts(self._backend.published_ts)})

    async def _query_at_ts(self, request: Request) -> Response:
        caller = await caller_of(request, self._authenticator)
        body = await read_json(request, FunctionAtBody)
        ts = timestamp(body.ts)
        if ts > self._backend.published_ts:
            raise HttpRefusal(400, "TimestampInFuture", f"Nothing has been committed at or after {ts} yet.")
        format_ = output_format(request, body.format)
        call = _function_request(request, caller, body.path, body.args, format_)
        async with asyncio.timeout(HTTP_TIMEOUT_SECONDS):
            outcome = await self._backend.query_at(call, ts)
        return Response(_encode(outcome), media_type="application/json")

    async def _query_batch(self, request: Request) -> Response:
        caller = await caller_of(request, self._authenticator)
        body = await read_json(request, BatchBody)
        if len(body.queries) > QUERIES_PER_SESSION_MAX:
            text = f"A batch has at most {QUERIES_PER_SESSION_MAX} queries, not {len(body.queries)}. Send several."
            raise HttpRefusal(400, "TooManyQueries", text)
        calls = [
            _function_request(request, caller, query.path, query.args, output_format(request, query.format))
            for query in body.queries
        ]
        async with asyncio.timeout(HTTP_TIMEOUT_SECONDS):
            _, outcomes = await self._backend.live.run_together(calls)
        return Response(b'{"results":[%b]}' % b",".join(map(_encode, outcomes)), media_type="application/json")

    async def _call(self, request: Request, run: Run) -> Response:
        caller = await caller_of(request, self._authenticator)
        body = await read_json(request, FunctionBody)
        format_ = output_format(request, body.format)
        return await _answer(run, _function_request(request, caller, body.path, body.args, format_))


def _function_request(
    request: Request, caller: Caller, path: str, args: Raw, format_: Format, component: str = ""
) -> FunctionRequest:
    return FunctionRequest(
        path=function_path(path),
        args=arguments(args),
        component=component,
        identity=caller.identity,
        is_admin=caller.is_admin,
        format=format_,
        request_id=request.headers.get("convex-request-id", ""),
        caller="HttpApi",
    )


async def _answer(run: Run, call: FunctionRequest) -> Response:
    async with asyncio.timeout(HTTP_TIMEOUT_SECONDS):
        outcome = await run(call)
    return Response(_encode(outcome), media_type="application/json")


def _encode(outcome: Outcome) -> bytes:
    """Status 200 whatever the function did: its error is data."""
    log_lines = b',"logLines":' + msgspec.json.encode(outcome.log_lines) if outcome.log_lines else b""
    if outcome.ok:
        return b'{"status":"success","value":%b%b}' % (outcome.value, log_lines)
    error_data = b"" if outcome.error_data is None else b',"errorData":' + outcome.error_data
    message = msgspec.json.encode(outcome.error)
    return b'{"status":"error","errorMessage":%b%b%b}' % (message, error_data, log_lines)
