"""Deleting tables over HTTP: for the operator, with the schema's word against it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from convexpy.errors import InvalidRequest
from convexpy.http.table_routes import TableRoutes
from convexpy.runtime.identity import AdminKeyAuthenticator
from convexpy.server import ServerSettings, create_api_app
from tests.http.test_function_routes import ADMIN, ADMIN_KEY
from tests.patience import PATIENCE_SECONDS
from tests.sync.fake_backend import FakeBackend
from tests.sync.serving import serving


class Keeper:
    """Remembers what it was asked for, and refuses the table `kept`."""

    def __init__(self) -> None:
        self.deleted: list[tuple[str, list[str]]] = []

    async def delete_tables(self, component: str, names: list[str]) -> None:
        if "kept" in names:
            raise InvalidRequest('Failed to delete table "kept" because it appears in the schema')
        self.deleted.append((component, names))


def post(body: dict[str, Any], headers: dict[str, str] = ADMIN) -> tuple[httpx2.Response, Keeper]:
    keeper = Keeper()
    authenticator = AdminKeyAuthenticator(ADMIN_KEY)
    settings = ServerSettings(
        "happy-animal", authenticator, extra_routes=tuple(TableRoutes(keeper, authenticator).routes())
    )

    async def run() -> httpx2.Response:
        app = create_api_app(FakeBackend(is_automatic=True), settings)
        async with (
            serving(app) as address,
            httpx2.AsyncClient(base_url=f"http://{address}", timeout=PATIENCE_SECONDS) as client,
        ):
            return await client.post("/api/delete_tables", json=body, headers=headers)

    return asyncio.run(run()), keeper


@pytest.mark.parametrize(("more", "component"), [({}, ""), ({"componentPath": "mail/queue"}, "mail/queue")])
def test_tables_of_a_component_are_deleted(more: dict[str, str], component: str) -> None:
    response, keeper = post({"tableNames": ["old", "older"], **more})

    assert response.status_code == 200
    assert keeper.deleted == [(component, ["old", "older"])]


def test_a_refusal_says_why() -> None:
    response, keeper = post({"tableNames": ["kept"]})

    assert (response.status_code, response.json()) == (
        400,
        {"code": "CannotDeleteTable", "message": 'Failed to delete table "kept" because it appears in the schema'},
    )
    assert keeper.deleted == []


def test_only_the_operator_may() -> None:
    response, keeper = post({"tableNames": ["old"]}, headers={})

    assert response.status_code in (401, 403)
    assert keeper.deleted == []
