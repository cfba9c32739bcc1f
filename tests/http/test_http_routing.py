"""Which HTTP action serves a request, and which routes a push refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convexpy.errors import DefinitionError
from convexpy.functions.application import load_application
from convexpy.functions.http_routing import HttpRouter, http_router
from convexpy.runtime.http_routes import RouteMatch, RouteTable
from convexpy.testing import TestBackend


async def handler(ctx: Any, request: Any) -> None:
    """Takes what an HTTP action takes."""


def table(*routes: dict[str, Any]) -> RouteTable:
    router = http_router()
    for route in routes:
        router.route(**route, handler=handler)
    described = [[*route, route.key] for route in router.routes]
    mounted = {
        "a": {"http_prefix": "/a/", "http_routes": [["GET", "/x", False, "GET /x"]], "children": {"c": "a/c"}},
        "a/c": {"http_prefix": "/c/", "http_routes": [["GET", "/y", False, "GET /y"]]},
        "b": {"http_prefix": "/a/b/", "http_routes": [["GET", "/", True, "GET /*"]]},
        "hidden": {"http_prefix": None, "http_routes": [["GET", "/hidden", False, "GET /hidden"]]},
    }
    app = {"http_prefix": None, "http_routes": described, "children": {"a": "a", "b": "b", "hidden": "hidden"}}
    return RouteTable({"instances": {"": app, **mounted}})


@pytest.mark.parametrize(
    ("method", "path", "match"),
    [
        ("GET", "/f/one", ("", "GET /f/one")),
        ("HEAD", "/f/one", ("", "GET /f/one")),
        ("POST", "/f/one", None),
        ("GET", "/f/two", ("", "GET /f/*")),
        ("GET", "/f/", ("", "GET /f/*")),
        ("GET", "/f", None),
        ("GET", "/F/two", None),
        ("GET", "/f/deep/x", ("", "GET /f/deep/*")),
        ("GET", "/f/one/", ("", "GET /f/*")),
        ("GET", "/a/x", ("a", "GET /x")),
        ("GET", "/a/own", ("", "GET /a/own")),
        ("GET", "/a/c/y", ("a/c", "GET /y")),
        ("GET", "/a/b/anything", ("b", "GET /*")),
        ("GET", "/a/z", None),
        ("GET", "/hidden", None),
        ("TRACE", "/f/one", None),
    ],
)
def test_exact_paths_then_long_prefixes_then_mounted_components(
    method: str, path: str, match: tuple[str, str] | None
) -> None:
    routes = table({"path": "/f/one"}, {"path_prefix": "/f/"}, {"path_prefix": "/f/deep/"}, {"path": "/a/own"})

    assert routes.find(method, path) == (None if match is None else RouteMatch(*match))


@pytest.mark.parametrize(
    ("route", "text"),
    [
        ({"path": "hook"}, "path 'hook' does not start with a /"),
        ({"path_prefix": "/hook"}, "path_prefix '/hook' must end with a /"),
        ({"path": "/a", "path_prefix": "/a/"}, "cannot contain both 'path' and 'path_prefix'"),
        ({}, "needs a path"),
        ({"path": "/a?b=c"}, "read request.query_params|Read request.query_params"),
        ({"path": "/.files/x"}, "is reserved"),
        ({"path": "/a", "method": "get"}, "'get' is not an allowed HTTP method"),
        ({"path": "/a", "method": "HEAD"}, "HEAD is served by the route of GET"),
        ({"path": "/taken", "method": "POST"}, "Path '/taken' for method POST already in use"),
    ],
)
def test_a_bad_route_is_a_definition_error_with_its_place(route: dict[str, Any], text: str) -> None:
    router = HttpRouter()
    router.route("/taken", method="POST", handler=handler)

    with pytest.raises(DefinitionError, match=text) as raised:
        router.route(**route, handler=handler)

    assert raised.value.file == __file__
    assert raised.value.line


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("http = 3", "`http` in http.py is 3"),
        ("router = 3", "http.py exports no `http`"),
        ("from convexpy import http_action\n@http_action\ndef f(ctx): ...", "must take a ctx and a request"),
    ],
)
def test_a_bad_http_module_fails_the_push(tmp_path: Path, source: str, text: str) -> None:
    folder = tmp_path / "bad_http_app"
    folder.mkdir()
    (folder / "http.py").write_text(source)

    with pytest.raises(DefinitionError, match=text):
        load_application(folder)


def test_a_components_routes_are_served_below_its_prefix(tmp_path: Path) -> None:
    """The component's action has the component's own tables, and sees the whole path."""
    app, component = tmp_path / "mounting_app", tmp_path / "mounted_things"
    app.mkdir()
    component.mkdir()
    (component / "__init__.py").write_text("")
    (component / "rows.py").write_text(
        "from convexpy import mutation, query\n"
        "@mutation\ndef add(ctx):\n    ctx.db.insert('rows', {})\n"
        "@query\ndef count(ctx):\n    return len(ctx.db.query('rows').collect())\n"
    )
    (component / "http.py").write_text(
        "from convexpy import api, http_router, json_response\nhttp = http_router()\n"
        "@http.route('/add', method='POST')\n"
        "async def add(ctx, request):\n"
        "    await ctx.run_mutation(api.rows.add)\n"
        "    return json_response([request.url.path, await ctx.run_query(api.rows.count)])\n"
    )
    (app / "convex_config.py").write_text(
        "import sys\n"
        f"sys.path.append({str(tmp_path)!r})\n"
        "from convexpy import define_app, define_component\n"
        "app = define_app()\n"
        "app.use(define_component('things', functions='mounted_things'), http_prefix='/things')\n"
    )

    with TestBackend(app) as backend:
        assert backend.fetch("/things/add", method="POST").json() == ["/things/add", 1]
        assert backend.run(lambda ctx: ctx.db.query("rows").collect()) == []
        assert backend.fetch("/add", method="POST").status == 404
