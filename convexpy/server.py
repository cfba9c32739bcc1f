"""The two ASGI apps of a server: API and sync on one port, HTTP actions and static files on the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp

from convexpy.environment import Environment, RealEnvironment
from convexpy.http.errors import EXCEPTION_HANDLERS
from convexpy.http.function_routes import FunctionRoutes
from convexpy.http.meta_routes import meta_routes
from convexpy.http.middleware import AnswerAtTheEnd, CollapseSlashes, MirrorCors
from convexpy.http.site import HttpActions, NoHttpActions, Site
from convexpy.http.transport import HttpTransport
from convexpy.limits import SOCKET_MESSAGE_BYTES_MAX, SOCKET_SILENCE_SECONDS_MAX
from convexpy.runtime.identity import Authenticator
from convexpy.runtime.interface import Backend
from convexpy.sync.transport import SyncTransport
from convexpy.sync.websocket import SyncEndpoint

# How uvicorn has to serve the API app. It answers control pings itself and drops a peer that stays silent, so nothing
# above it sees pongs or needs a read timeout: a client that only listens sends no other frame for hours.
UVICORN_SETTINGS: dict[str, Any] = {
    "http": HttpTransport,
    "ws": SyncTransport,
    "ws_max_size": SOCKET_MESSAGE_BYTES_MAX,
    "ws_ping_interval": 5.0,
    "ws_ping_timeout": SOCKET_SILENCE_SECONDS_MAX,
}


@dataclass(frozen=True)
class ServerSettings:
    """What the apps need to know beside the backend.

    Args:
        web_folder: `<project>/web`; None: no static files.
        extra_routes: further routes of the API port: storage, logs, deployment administration.
    """

    deployment_name: str
    authenticator: Authenticator
    web_folder: Path | None = None
    http_actions: HttpActions = field(default_factory=NoHttpActions)
    environment: Environment = field(default_factory=RealEnvironment)
    extra_routes: tuple[BaseRoute, ...] = ()


def create_api_app(backend: Backend, settings: ServerSettings) -> ASGIApp:
    """The API port: function calls, sync, meta routes, and HTTP actions once more below `/http`."""
    routes: list[BaseRoute] = [
        *FunctionRoutes(backend, settings.authenticator).routes(),
        *SyncEndpoint(backend, settings.authenticator, settings.environment).routes(),
        *meta_routes(settings.deployment_name, _version()),
        *settings.extra_routes,
        Mount("/http", Site(settings.http_actions, web_folder=None)),
    ]
    app = Starlette(routes=routes, exception_handlers=EXCEPTION_HANDLERS)
    return CollapseSlashes(MirrorCors(AnswerAtTheEnd(app)))


def create_site_app(settings: ServerSettings) -> ASGIApp:
    """The site port."""
    return AnswerAtTheEnd(Site(settings.http_actions, settings.web_folder))


def _version() -> str:
    try:
        return version("convexpy")
    except PackageNotFoundError:
        return "0.0.0"  # run from a source tree that is not installed
