"""Function calls and the other routes of both ports, over a real socket."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from convexpy.http.storage_routes import StorageRoutes
from convexpy.http.table_routes import TableRoutes
from convexpy.limits import HTTP_BODY_BYTES_MAX, QUERIES_PER_SESSION_MAX
from convexpy.runtime.identity import AdminKeyAuthenticator, identity_json
from convexpy.runtime.timestamps import encode_ts
from convexpy.server import ServerSettings, create_api_app, create_site_app
from tests.patience import PATIENCE_SECONDS
from tests.sync.fake_backend import FIRST_TS, FakeBackend
from tests.sync.serving import serving

ADMIN_KEY = "dev:test|secret"
ADMIN = {"Authorization": f"Convex {ADMIN_KEY}"}

Scenario = Callable[[httpx2.AsyncClient, FakeBackend], Coroutine[Any, Any, None]]


def with_api(scenario: Scenario) -> None:
    async def run() -> None:
        backend = FakeBackend(is_automatic=True)
        app = create_api_app(backend, ServerSettings("happy-animal", AdminKeyAuthenticator(ADMIN_KEY)))
        async with (
            serving(app) as address,
            httpx2.AsyncClient(base_url=f"http://{address}", timeout=PATIENCE_SECONDS) as client,
        ):
            await scenario(client, backend)

    asyncio.run(run())


def exchange(method: str, path: str, **how: Any) -> httpx2.Response:
    """One request to a fresh server."""
    responses: list[httpx2.Response] = []

    async def scenario(client: httpx2.AsyncClient, backend: FakeBackend) -> None:
        responses.append(await client.request(method, path, **how))

    with_api(scenario)
    return responses[0]


@pytest.mark.parametrize("args", [{"x": 1.0}, [{"x": 1.0}]])
def test_arguments_come_bare_or_in_a_list(args: Any) -> None:
    response = exchange("POST", "/api/query", json={"path": "db.js:args", "args": args})

    assert response.status_code == 200
    assert response.json() == {"status": "success", "value": {"x": 1.0}}


def test_a_base_url_that_ends_in_a_slash_does_no_harm() -> None:
    async def scenario(client: httpx2.AsyncClient, backend: FakeBackend) -> None:
        response = await client.post(f"{client.base_url}/api/query", json=QUERY)  # http://host//api/query
        assert response.status_code == 200

    with_api(scenario)


def test_a_result_is_passed_on_byte_by_byte_with_its_log_lines() -> None:
    response = exchange("POST", "/api/mutation", json={"path": "db:write", "args": {"key": "n", "value": 1}})

    assert response.content == b"""{"status":"success","value":1.0,"logLines":["[LOG] 'wrote'"]}"""


@pytest.mark.parametrize(("path", "data"), [("db:fail", {}), ("db:refuse", {"errorData": None})])
def test_an_error_of_the_function_is_data(path: str, data: dict[str, Any]) -> None:
    response = exchange("POST", "/api/action", json={"path": path, "args": {}})

    body = response.json()
    assert response.status_code == 200
    assert (body["status"], body["errorMessage"][:12]) == ("error", "[Request ID:")
    assert {key: value for key, value in body.items() if key == "errorData"} == data


QUERY = {"path": "db:read", "args": {"keys": []}}


def acting_as(attributes: bytes) -> str:
    """The header of an admin who calls as somebody."""
    return f"Convex {ADMIN_KEY}:{base64.b64encode(attributes).decode()}"


@pytest.mark.parametrize(
    ("method", "path", "how", "status", "code"),
    [
        ("POST", "/api/query", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 400, "BadJsonBody"),
        ("POST", "/api/query", {"json": {"args": {}}}, 400, "BadJsonBody"),
        ("POST", "/api/query", {"json": {**QUERY, "path": "a b"}}, 400, "BadConvexFunctionIdentifier"),
        ("POST", "/api/query", {"json": {**QUERY, "format": "xml"}}, 400, "BadFormat"),
        ("POST", "/api/query", {"json": QUERY, "headers": {"Authorization": "Bea"}}, 400, "InvalidHeaderFailure"),
        ("POST", "/api/query", {"json": QUERY, "headers": {"Authorization": "Basic abc"}}, 400, "InvalidHeaderFailure"),
        ("POST", "/api/query", {"json": QUERY, "headers": {"Authorization": "Bearer abc"}}, 401, "NoAuthProvider"),
        ("POST", "/api/query", {"json": QUERY, "headers": {"Authorization": "Convex x|y"}}, 403, "BadDeployKey"),
        ("POST", "/api/query?adminKey=x|y", {"json": QUERY}, 403, "BadDeployKey"),
        ("POST", "/api/query", {"json": QUERY, "headers": {"Convex-Client": "x"}}, 400, "InvalidClientVersion"),
        ("POST", "/api/mutation", {"json": {**QUERY, "format": "json"}, "headers": {"Convex-Client": "x"}},
         400, "InvalidClientVersion"),
        ("POST", "/api/query", {"json": {**QUERY, "format": "json"}, "headers": {"Convex-Client": "npm-0.19.1"}},
         400, "ClientVersionUnsupported"),
        ("POST", "/api/query", {"json": QUERY, "headers": {"Authorization": acting_as(b"[]")}}, 400, "BadIdentity"),
        ("POST", "/api/query", {"json": QUERY, "headers": {"Authorization": acting_as(b'{"subject":"a"}')}},
         400, "BadIdentity"),
        ("POST", "/api/query", {"json": QUERY, "headers": {"Authorization": acting_as(b'{"issuer":"\xff"}')}},
         400, "BadIdentity"),
        ("POST", "/api/query", {"json": QUERY, "headers": {"Authorization": acting_as(b'{"a":' * 5000)}},
         400, "BadIdentity"),
        ("POST", "/api/query", {"json": QUERY, "headers": {"Authorization": acting_as(b'{"issuer":"i","subject":5}')}},
         400, "BadIdentity"),
        ("POST", "/api/query", {"json": QUERY, "headers": {"Authorization": acting_as(b'{"subject":"a","n":1e999}')}},
         400, "BadIdentity"),
        ("POST", "/api/query",
         {"json": QUERY, "headers": {"Authorization": acting_as(b'{"tokenIdentifier":"a","n":"\\ud800"}')}},
         400, "BadIdentity"),
        ("POST", "/api/query",
         {"json": QUERY, "headers": {"Authorization": acting_as(b'{"tokenIdentifier":"a","n":NaN}')}},
         400, "BadIdentity"),
        ("POST", "/api/query", {"json": QUERY, "headers": {"Authorization": f"Convex {ADMIN_KEY}:?"}},
         400, "BadAdminKeyAttributes"),
        ("POST", "/api/function", {"json": QUERY}, 403, "BadDeployKey"),
        ("POST", "/api/run/alone", {"json": {"args": {}}}, 400, "MissingIdentifier"),
        ("POST", "/api/query_at_ts", {"json": {**QUERY, "ts": "/////////38="}}, 400, "TimestampInFuture"),
        ("POST", "/api/query_at_ts", {"json": {**QUERY, "ts": "nonsense"}}, 400, "BadTimestamp"),
        ("GET", "/api/query?args={}", {}, 400, "BadConvexFunctionIdentifier"),
        ("GET", "/api/query?path=db:read&args={", {}, 400, "BadArgs"),
        ("POST", "/api/query", {"json": {**QUERY, "path": "db:overload"}}, 503, "TooManyConcurrentRequests"),
        ("GET", "/nowhere", {}, 404, "NotFound"),
        ("PUT", "/api/query", {}, 405, "MethodNotAllowed"),
    ],
)  # fmt: skip
def test_refusals_have_a_status_a_code_and_a_message(
    method: str, path: str, how: dict[str, Any], status: int, code: str
) -> None:
    response = exchange(method, path, **how)

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["message"]


@pytest.mark.parametrize(
    ("attributes", "identity"),
    [
        ({"tokenIdentifier": "https://a|b|c"}, {"issuer": "https://a|b", "subject": "c"}),
        ({"tokenIdentifier": "a", "subject": None}, {"subject": "a"}),
        ({"issuer": "i", "subject": "s", "tokenIdentifier": None}, {"tokenIdentifier": "i|s"}),
        ({"issuer": "i", "subject": "s", "name": "N", "roles": {"a": [1, None]}}, {"tokenIdentifier": "i|s"}),
        ({"tokenIdentifier": "a|b", "issuer": "i"}, {"issuer": "i", "subject": "b"}),
        (
            {"issuer": "i", "subject": "s", "n": 2**53 + 1, "m": 2**54},
            {"tokenIdentifier": "i|s", "n": 2**53, "m": 2.0**54},
        ),
    ],
)
def test_whom_an_admin_acts_as(attributes: dict[str, Any], identity: dict[str, Any]) -> None:
    given = {name: value for name, value in attributes.items() if value is not None}
    shown = json.loads(identity_json(json.dumps(attributes).encode()))

    assert shown == given | identity
    assert {name: type(value) for name, value in shown.items()} == {
        name: type(value) for name, value in (given | identity).items()
    }, "whole numbers are whole up to 2**53, and beyond it floats, which functions can return"


@pytest.mark.parametrize("path", ["query", "mutation", "action", "run/db/lose", "query_at_ts", "query_batch"])
def test_a_fault_of_ours_is_a_500_that_says_nothing_of_it_and_that_a_page_may_read(path: str) -> None:
    """Clients of another origin too: without its headers the browser would call it a fault of CORS."""
    call = {"path": "db:lose", "args": {}}
    body = {"query_at_ts": {**call, "ts": encode_ts(FIRST_TS)}, "query_batch": {"queries": [call]}}.get(path, call)

    response = exchange("POST", f"/api/{path}", json=body, headers={"Origin": "https://app.test"})

    assert response.status_code == 500
    assert response.json() == {
        "code": "InternalServerError",
        "message": "Your request couldn't be completed. Try again later.",
    }
    assert response.headers["access-control-allow-origin"] == "https://app.test"


@pytest.mark.parametrize("path", ["query", "mutation", "action", "run/db/wait", "query_at_ts", "query_batch"])
def test_a_request_that_takes_too_long_is_a_408(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convexpy.http.function_routes.HTTP_TIMEOUT_SECONDS", 0.0)
    call = {"path": "db:args", "args": {}}
    body = {"query_at_ts": {**call, "ts": encode_ts(FIRST_TS)}, "query_batch": {"queries": [call]}}.get(path, call)

    async def never(*given: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    for name in ("query", "mutation", "action", "any_function", "query_at", "run_together"):
        monkeypatch.setattr(FakeBackend, name, never)
    response = exchange("POST", f"/api/{path}", json=body)

    assert (response.status_code, response.json()["code"]) == (408, "RequestTimedOut")


def test_a_batch_has_a_bound() -> None:
    """Its queries are run at one timestamp, so by one worker, one after the other."""
    queries = [{"path": "db:args", "args": {}}] * (QUERIES_PER_SESSION_MAX + 1)

    response = exchange("POST", "/api/query_batch", json={"queries": queries})

    assert (response.status_code, response.json()["code"]) == (400, "TooManyQueries")


def test_too_large_a_body_is_not_read() -> None:
    body = b'{"path":"db:args","args":{"x":"' + b"x" * HTTP_BODY_BYTES_MAX + b'"}}'

    response = exchange("POST", "/api/query", content=body, headers={"Content-Type": "application/json"})

    assert (response.status_code, response.json()["code"]) == (413, "BodyTooLarge")


def test_what_a_request_says_reaches_the_backend() -> None:
    """Path, arguments, format, identity, request id and component, each by its own way in."""

    async def scenario(client: httpx2.AsyncClient, backend: FakeBackend) -> None:
        ada = base64.b64encode(b'{"issuer":"https://convex.test","subject":"42"}').decode()
        headers = {"Authorization": f"cOnVeX {ADMIN_KEY}:{ada}", "Convex-Request-Id": "mine"}
        body = {"componentPath": "a/b", "path": "db:args", "args": {"x": 1}, "format": "convex_json"}
        assert (await client.post("/api/function", json=body, headers=headers)).json()["value"] == {"x": 1}
        await client.post("/api/run/folder/db/args", json={"args": {}})
        await client.get("/api/query", params={"path": "db:args", "args": '{"y":2}', "format": "export_json"})
        for version in ("npm-1.4.0", "npm-1.48.0", "python-0.4.9", "python-0.8.1"):
            await client.post("/api/query", json=QUERY, headers={"Convex-Client": version})

        admin, run, get, *versions = backend.calls
        assert (admin.component, admin.path, admin.args) == ("a/b", "db:args", b'{"x":1}')
        assert (admin.is_admin, admin.request_id, admin.format) == (True, "mine", "convex_encoded_json")
        assert json.loads(admin.identity or b"")["tokenIdentifier"] == "https://convex.test|42"
        assert (run.path, run.is_admin, run.format) == ("folder/db:args", False, "json")
        assert (get.args, get.format) == (b'{"y":2}', "export_json")
        assert [call.format for call in versions] == ["convex_encoded_json", "json"] * 2

    with_api(scenario)


def test_reads_at_a_timestamp_hold_there_or_are_refused() -> None:
    """`consistentQuery` asks for a timestamp once and reads several times at it."""

    async def scenario(client: httpx2.AsyncClient, backend: FakeBackend) -> None:
        backend.commit("n", 1)
        ts = (await client.post("/api/query_ts")).json()["ts"]
        assert ts == encode_ts(backend.published_ts)
        body = {"path": "db:read", "args": {"keys": ["n"]}, "ts": ts}
        assert (await client.post("/api/query_at_ts", json=body)).json()["value"]["n"] == 1

        backend.commit("n", 2)
        assert (await client.post("/api/query_at_ts", json=body)).json()["value"]["n"] == 1
        for asked, status, code in [
            (encode_ts(1), 503, "OutOfRetention"),
            (encode_ts(backend.published_ts + 1), 400, "TimestampInFuture"),
            ("yesterday", 400, "BadTimestamp"),
        ]:
            refused = await client.post("/api/query_at_ts", json={**body, "ts": asked})
            assert (refused.status_code, refused.json()["code"]) == (status, code)

    with_api(scenario)


def test_a_batch_is_answered_in_order() -> None:
    queries = [{"path": "db:args", "args": {"n": number}} for number in range(3)]

    response = exchange("POST", "/api/query_batch", json={"queries": queries})

    assert [result["value"]["n"] for result in response.json()["results"]] == [0, 1, 2]


def test_any_origin_may_call_with_credentials() -> None:
    origin = {"Origin": "https://app.test"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "convex-client,content-type"}

    preflight = exchange("OPTIONS", "/api/query", headers={**origin, **asked})
    refused = exchange("POST", "/api/query", headers=origin)

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-headers"] == "convex-client,content-type"
    assert preflight.headers["access-control-allow-methods"] == "GET, POST, PUT, PATCH, DELETE, OPTIONS"
    assert preflight.headers["access-control-max-age"] == "86400"
    for response in (preflight, refused):
        assert response.headers["access-control-allow-origin"] == "https://app.test"
        assert response.headers["access-control-allow-credentials"] == "true"


def test_routes_about_the_server() -> None:
    async def scenario(client: httpx2.AsyncClient, backend: FakeBackend) -> None:
        assert (await client.get("/instance_name")).text == "happy-animal"
        assert (await client.get("/version")).text == (await client.get("/instance_version")).text
        assert "happy-animal" in (await client.get("/")).text
        assert (await client.post("/echo", content=b"\x00\xff")).content == b"\x00\xff"
        assert (await client.post("/api/debug_event", json={"event": {}})).status_code == 200

    with_api(scenario)


class OneAction:
    """An app whose only HTTP action is GET /hello."""

    is_empty = False

    def find(self, method: str, path: str) -> ASGIApp | None:
        return PlainTextResponse("from the action") if (method, path) == ("GET", "/hello") else None


def test_the_site_port_serves_actions_then_files_then_a_404(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>home</p>")
    (tmp_path / "app.js").write_text("1")
    authenticator = AdminKeyAuthenticator(ADMIN_KEY)

    async def run() -> None:
        settings = ServerSettings("test", authenticator, web_folder=tmp_path, http_actions=OneAction())
        async with (
            serving(create_site_app(settings)) as address,
            httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client,
        ):
            base = f"http://{address}"
            assert (await client.get(f"{base}/hello")).text == "from the action"
            home, script = await client.get(f"{base}/"), await client.get(f"{base}/app.js")
            assert home.text == "<p>home</p>" and home.headers["content-type"].startswith("text/html")
            assert "javascript" in script.headers["content-type"]
            for missing in (await client.get(f"{base}/nowhere"), await client.post(f"{base}/app.js")):
                assert (missing.status_code, missing.text) == (404, "No matching routes found")
            escaped = await client.get(f"{base}/..%2f..%2fetc/passwd")
            assert escaped.status_code == 404
        settings = ServerSettings("test", authenticator, http_actions=OneAction())
        async with (
            serving(create_api_app(FakeBackend(), settings)) as address,
            httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client,
        ):
            assert (await client.get(f"http://{address}/http/hello")).text == "from the action"
        async with serving(create_site_app(ServerSettings("test", authenticator))) as address:
            async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
                nothing = await client.get(f"http://{address}/")
            assert nothing.text == "This Convex deployment does not have HTTP actions enabled."

    asyncio.run(run())


PUBLIC_ROUTES = {
    "/", "/version", "/instance_version", "/instance_name", "/echo", "/api/debug_event", "/http",
    "/api/query", "/api/mutation", "/api/action", "/api/run/{path:path}", "/api/sync", "/api/{version}/sync",
    "/api/query_ts", "/api/query_at_ts", "/api/query_batch", "/api/storage/upload", "/api/storage/{uuid}",
}  # fmt: skip
ADMIN_ROUTES = {"/api/function", "/api/delete_tables"}
STRANGERS = {
    "nobody": {},
    "a user": {"Authorization": "Bearer e30.e30.e30"},
    "a wrong key": {"Authorization": "Convex dev:test|guess"},
    "another deployment's key": {"Authorization": "Convex dev:other|secret"},
    "no key at all": {"Authorization": "Convex |"},
    "a part of the key": {"Authorization": "Convex dev:test|secre"},
}


class Untouched:
    """What keeps files and tables, and is asked for nothing."""

    async def run_system(self, name: str, payload: dict[str, Any]) -> Any:
        raise AssertionError(name)

    async def delete_tables(self, component: str, names: list[str]) -> None:
        raise AssertionError(names)


def _whole_app(backend: FakeBackend) -> ASGIApp:
    """The API port with the routes that `serving.server_run` adds."""
    authenticator = AdminKeyAuthenticator(ADMIN_KEY)
    extra = [*StorageRoutes(Untouched(), Path("files")).routes(), *TableRoutes(Untouched(), authenticator).routes()]
    return create_api_app(backend, ServerSettings("test", authenticator, extra_routes=tuple(extra)))


def _routes(app: Any) -> dict[str, set[str]]:
    """Path and methods of every route below all middleware."""
    while not hasattr(app, "routes"):
        app = app._app
    return {route.path or "/http": set(getattr(route, "methods", None) or ()) - {"HEAD"} for route in app.routes}


def test_every_route_is_known_to_be_for_anybody_or_for_the_operator() -> None:
    assert set(_routes(_whole_app(FakeBackend()))) == PUBLIC_ROUTES | ADMIN_ROUTES


@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS)
def test_nothing_administrative_is_done_without_the_key(headers: dict[str, str]) -> None:
    async def run() -> None:
        backend = FakeBackend(is_automatic=True)
        app = _whole_app(backend)
        async with (
            serving(app) as address,
            httpx2.AsyncClient(base_url=f"http://{address}", timeout=PATIENCE_SECONDS) as client,
        ):
            for path in ADMIN_ROUTES:
                for method in _routes(app)[path]:
                    body = {"path": "db:read", "args": {"keys": []}, "tableNames": ["notes"]}
                    answer = await client.request(method, path, json=body, headers=headers)
                    assert answer.status_code in (401, 403), (method, path, answer.text)
        assert backend.calls == []

    asyncio.run(run())
