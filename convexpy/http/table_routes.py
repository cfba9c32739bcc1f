"""Administration of tables over HTTP. Source: wire-protocol 8, runtime-semantics 3.4."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from convexpy.errors import InvalidRequest
from convexpy.http.authorization import require_admin
from convexpy.http.bodies import read_json
from convexpy.http.errors import HttpRefusal
from convexpy.runtime.identity import Authenticator


class DeleteTablesBody(Struct):
    """What `/api/delete_tables` is sent."""

    tableNames: list[str]  # noqa: N815 - the wire's spelling
    componentPath: str | None = None  # noqa: N815 - the wire's spelling


class TableKeeper(Protocol):
    """See `runtime.deployment.Deployer`."""

    async def delete_tables(self, component: str, names: list[str]) -> None: ...


class TableRoutes:
    """`/api/delete_tables`, for the operator only."""

    def __init__(self, keeper: TableKeeper, authenticator: Authenticator) -> None:
        self._keeper, self._authenticator = keeper, authenticator

    def routes(self) -> list[Route]:
        return [Route("/api/delete_tables", self._delete_tables, methods=["POST"])]

    async def _delete_tables(self, request: Request) -> Response:
        await require_admin(request, self._authenticator)
        body = await read_json(request, DeleteTablesBody)
        try:
            await self._keeper.delete_tables(body.componentPath or "", body.tableNames)
        except InvalidRequest as error:
            raise HttpRefusal(400, "CannotDeleteTable", str(error)) from None
        return Response()
