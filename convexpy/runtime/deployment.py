"""A push, seen from the server: the new generation's workers prepare the database, then one commit switches.

    load → describe → stage workers → prepare → backfill … → before_push → switch → drop old entries

A failure at any point before the switch leaves the running code as it is. The template and its pools are asked for
through `Stage`, so the in-process runner can push as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from convexpy.errors import ConvexpyError, InvalidRequest
from convexpy.runtime.backend import RuntimeBackend
from convexpy.runtime.http_routes import RouteTable
from convexpy.runtime.interface import FunctionRequest
from convexpy.runtime.messages import CallKind
from convexpy.values import decode_json, encode_json


class Stage(Protocol):
    """A new generation whose workers are ready, beside the one that serves."""

    @property
    def description(self) -> dict[str, Any]:
        """`Application.describe()`."""

    def switch(self) -> None:
        """Serve with it from now on."""

    def discard(self) -> None:
        """End it; the running generation goes on."""


class Pushed(NamedTuple):
    """What a push has changed."""

    functions: int
    added_indexes: list[str]
    removed_indexes: list[str]
    findings: list[str]


class Deployer:
    """Pushes generations, one after the other.

    Args:
        report: takes a sentence for the operator.
        on_switch: takes the description of code in the loop step in which that begins to serve.
    """

    def __init__(
        self,
        backend: RuntimeBackend,
        report: Callable[[str], None],
        on_switch: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._backend = backend
        self._report = report
        self._on_switch = on_switch
        self._cleaning: set[asyncio.Task[None]] = set()
        self._pushing = asyncio.Lock()

    async def push(self, stage: Stage, generation: int) -> Pushed:
        """Settle the database for `stage` and switch to it.

        Raises:
            ConvexpyError: the push was refused; the running code is untouched and `stage` is discarded.
        """
        async with self._pushing:
            try:
                return await self._push(stage, generation)
            except BaseException:
                stage.discard()
                raise

    async def _push(self, stage: Stage, generation: int) -> Pushed:
        backend = self._backend
        description = stage.description
        prepared = await backend.run_system("push.prepare", {}, is_staged=True)
        for namespace, table, index in prepared["backfill"]:
            after: str | None = None
            while True:
                payload = {"namespace": namespace, "table": table, "index": index, "after": after}
                after = await backend.run_system("push.backfill", payload, is_staged=True)
                if after is None:
                    break
        findings = await self._before_push(description)
        changes = await backend.run_system(
            "push.switch",
            {"generation": generation, "description": {name: description[name] for name in ("hash", "auth")}},
            is_staged=True,
        )
        stage.switch()
        kinds = function_kinds(description)
        backend.use_generation(generation, kinds)
        backend.http_routes = RouteTable(description)
        if self._on_switch is not None:
            self._on_switch(description)
        if changes["dropped"]:
            task = asyncio.get_running_loop().create_task(self._drop_entries(changes["dropped"]))
            self._cleaning.add(task)
            task.add_done_callback(self._cleaning.discard)
        return Pushed(len(kinds), changes["added"], changes["removed"], findings)

    async def _before_push(self, description: dict[str, Any]) -> list[str]:
        """Ask every component instance that has `before_push`; a refusal stops the push."""
        findings: list[str] = []
        for path, instance in description["instances"].items():
            function = instance.get("before_push")
            if function is None:
                continue
            request = FunctionRequest(
                component=path, path=function, args=encode_json({}), is_admin=True, is_nested=True, caller="Push"
            )
            reply = await self._backend.run_staged_query(request)
            if not reply.ok:
                raise InvalidRequest(f"before_push of component {path!r} failed: {reply.error}")
            found: Any = decode_json(reply.value) or {}
            own = found.get("findings", [])
            findings += own
            if found.get("refuse"):
                raise InvalidRequest(f"Component {path!r} refuses this push: {'; '.join(own) or 'it gives no reason'}")
        return findings

    async def _drop_entries(self, keyspaces: list[int]) -> None:
        for keyspace in keyspaces:
            try:
                while await self._backend.run_system("push.drop_entries", {"keyspace": keyspace}):
                    await asyncio.sleep(0)
            except ConvexpyError as error:
                self._report(f"Entries of a dropped index are still there: {error}")


def function_kinds(description: dict[str, Any]) -> dict[tuple[str, str], CallKind]:
    """The kind of each function, by component path and function path."""
    return {
        (path, name): function["kind"]
        for path, instance in description["instances"].items()
        for name, function in instance["functions"].items()
    }
