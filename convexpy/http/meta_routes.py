"""Routes about the server itself. Source: wire-protocol 8.3."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from convexpy.http.bodies import read_body
from convexpy.limits import MIB

ECHO_BYTES_MAX = 128 * MIB
DEBUG_EVENT_BYTES_MAX = 1 * MIB


def meta_routes(deployment_name: str, version: str) -> list[Route]:
    """Args: version: of convexpy."""

    async def banner(request: Request) -> Response:
        return PlainTextResponse(f"This deployment, {deployment_name}, is running convexpy {version}.")

    async def show_version(request: Request) -> Response:
        return PlainTextResponse(version)

    async def instance_name(request: Request) -> Response:
        return PlainTextResponse(deployment_name)

    async def echo(request: Request) -> Response:
        body = await read_body(request, ECHO_BYTES_MAX)
        return Response(body, media_type=request.headers.get("content-type", "application/octet-stream"))

    async def debug_event(request: Request) -> Response:
        """What clients with `reportDebugInfoToConvex` measure; nobody here wants it."""
        await read_body(request, DEBUG_EVENT_BYTES_MAX)
        return Response()

    return [
        Route("/", banner),
        Route("/version", show_version),
        Route("/instance_version", show_version),
        Route("/instance_name", instance_name),
        Route("/echo", echo, methods=["POST"]),
        Route("/api/debug_event", debug_event, methods=["POST"]),
    ]
