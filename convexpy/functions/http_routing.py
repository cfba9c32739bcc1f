"""The router that `http.py` exports: which HTTP action serves which method and path.

Source: convex-js server/router.ts; runtime-semantics 7.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, overload

from convexpy.errors import DefinitionError
from convexpy.functions.http_actions import HttpAction, http_action

METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
RESERVED_PREFIX = "/.files/"


class HttpRoute(NamedTuple):
    """One method of one path, or of all paths that begin with it."""

    method: str
    path: str
    is_prefix: bool

    @property
    def key(self) -> str:
        """Its name in logs and between processes: `POST /hook`, `GET /files/*`."""
        return f"{self.method} {self.path}{'*' if self.is_prefix else ''}"


class HttpRouter:
    """Routes of an app or a component: exact paths come before prefixes, long prefixes before short ones."""

    def __init__(self) -> None:
        self.actions: dict[str, HttpAction] = {}
        self.routes: list[HttpRoute] = []

    @overload
    def route(
        self,
        path: str | None = None,
        *,
        path_prefix: str | None = None,
        method: str | None = None,
        methods: Iterable[str] | None = None,
        handler: None = None,
    ) -> Callable[[Callable[..., Any]], HttpAction]: ...

    @overload
    def route(
        self,
        path: str | None = None,
        *,
        path_prefix: str | None = None,
        method: str | None = None,
        methods: Iterable[str] | None = None,
        handler: Callable[..., Any],
    ) -> HttpAction: ...

    def route(
        self,
        path: str | None = None,
        *,
        path_prefix: str | None = None,
        method: str | None = None,
        methods: Iterable[str] | None = None,
        handler: Callable[..., Any] | None = None,
    ) -> HttpAction | Callable[[Callable[..., Any]], HttpAction]:
        """Serve a path, or all below a prefix, with an HTTP action: a decorator, or a call with `handler=`.

        Args:
            path: compared as a whole, without the query string; case and a slash at its end count.
            path_prefix: begins and ends with a slash.
            method, methods: GET by default, which serves HEAD as well.

        Raises:
            DefinitionError: a bad path or method, or one that is taken.
        """
        frame = sys._getframe(1)
        place = frame.f_code.co_filename, frame.f_lineno
        chosen = [method] if method is not None else ["GET"] if methods is None else list(methods)
        routes = [_checked(path, path_prefix, each, place) for each in chosen]

        def add(given: Callable[..., Any]) -> HttpAction:
            action = http_action(given)
            for route in routes:
                if route.key in self.actions:
                    name = "Prefix" if route.is_prefix else "Path"
                    raise DefinitionError(
                        f"{name} {route.path!r} for method {route.method} already in use. Remove one of the two "
                        f"routes.",
                        *place,
                    )
                self.actions[route.key] = action
                self.routes.append(route)
            return action

        return add if handler is None else add(handler)


def http_router() -> HttpRouter:
    """The routes of an app or a component; `http.py` exports it as `http`."""
    return HttpRouter()


def _checked(path: Any, prefix: Any, method: Any, place: tuple[str, int]) -> HttpRoute:
    def wrong(text: str) -> DefinitionError:
        return DefinitionError(text, *place)

    if path is not None and prefix is not None:
        raise wrong("A route cannot contain both 'path' and 'path_prefix'. Keep one.")
    given, name = (prefix, "path_prefix") if path is None else (path, "path")
    if not isinstance(given, str):
        raise wrong('A route needs a path: http.route("/hook"), or http.route(path_prefix="/files/").')
    if not given.startswith("/"):
        raise wrong(f"{name} {given!r} does not start with a /. Write {'/' + given!r}.")
    if prefix is not None and not given.endswith("/"):
        raise wrong(f"path_prefix {given!r} must end with a /. Write {given + '/'!r}.")
    if "?" in given or "#" in given:
        raise wrong(f"{name} {given!r} has a '?' or '#', which no path of a request has. Read request.query_params.")
    if given.startswith(RESERVED_PREFIX) or given == RESERVED_PREFIX.rstrip("/"):
        raise wrong(f"{name} {given!r} is reserved, as all of {RESERVED_PREFIX!r} is. Choose another.")
    if method not in METHODS:
        hint = " HEAD is served by the route of GET." if method == "HEAD" else ""
        raise wrong(f"{method!r} is not an allowed HTTP method. Allowed: {', '.join(METHODS)}.{hint}")
    return HttpRoute(method, given, prefix is not None)
