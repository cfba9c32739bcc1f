"""Clients of a real server: each runs transactions one after the other and records what it was told."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any, Protocol

from convexpy.runtime.timestamps import decode_ts
from tests.faults.convex_client import HttpConnection, SyncClient
from tests.histories.history import Record
from tests.histories.workloads import Plan, decode


class Client(Protocol):
    """One connection."""

    async def run(self, plan: Plan) -> tuple[bool, Any, int | None]:
        """Whether it succeeded, its steps with answers, and its timestamp if the protocol tells one."""


class HttpClient:
    """Calls over HTTP, whose answers have no timestamps."""

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection

    async def run(self, plan: Plan) -> tuple[bool, Any, int | None]:
        """See `Client`."""
        kind = "query" if plan.is_query else "mutation"
        body = json.dumps({"path": plan.path, "args": plan.arguments, "format": "json"}).encode()
        answer = await self._connection.post(f"/api/{kind}", body)
        assert answer.status == 200, (answer.status, answer.body)
        outcome = decode(answer.body)
        if outcome["status"] == "success":
            return True, outcome["value"], None
        assert "errorData" in outcome, outcome
        return False, None, None


class SocketClient:
    """Mutations and short subscriptions over the sync protocol."""

    def __init__(self, session: SyncClient) -> None:
        self._session = session
        self._numbers = itertools.count()
        self._query_set = 0

    async def run(self, plan: Plan) -> tuple[bool, Any, int | None]:
        """See `Client`."""
        if plan.is_query:
            return await self._subscribe_once(plan)
        number = next(self._numbers)
        await self._session.mutate(number, plan.path, plan.arguments)
        response = await self._session.response(number)
        if response["success"]:
            return True, _whole(response["result"]), decode_ts(response["ts"])
        assert "errorData" in response, response
        return False, None, None

    async def _subscribe_once(self, plan: Plan) -> tuple[bool, Any, int | None]:
        """The first result, and the timestamp at which it holds."""
        query = next(self._numbers)
        added = {"type": "Add", "queryId": query, "udfPath": plan.path, "args": [plan.arguments]}
        await self._modify(added)
        while True:
            message = await self._session.next()
            if query in self._session.results:
                break
        result = self._session.results.pop(query)
        assert result["type"] == "QueryUpdated", result
        await self._modify({"type": "Remove", "queryId": query})
        return True, _whole(result["value"]), decode_ts(message["endVersion"]["ts"])

    async def _modify(self, change: dict[str, Any]) -> None:
        base, self._query_set = self._query_set, self._query_set + 1
        await self._session.send(type="ModifyQuerySet", baseVersion=base, newVersion=base + 1, modifications=[change])


async def run_plans(client: Client, process: int, plans: Iterator[Plan], records: list[Record]) -> None:
    """Run what `plans` gives until it ends. Several clients share `plans` and `records`."""
    for plan in plans:
        invoked = time.monotonic_ns()
        is_ok, steps, ts = await client.run(plan)
        completed = time.monotonic_ns()
        records += plan.record(process, invoked, completed, "ok" if is_ok else "fail", steps, ts)


def _whole(value: Any) -> Any:
    if type(value) is float:
        return int(value)
    return [_whole(item) for item in value] if type(value) is list else value
