"""A push, seen from the server: the new generation's workers prepare the database, then one commit switches.

    load → describe → stage workers → prepare → check documents … → build indexes … → before_push … → switch → then

The running code serves all the while; a failure at any point before the switch leaves it as it is. One push is under
way at a time. A newer one makes it give way, for nobody waits for code that is no longer in the folder. The template
and its pools are asked for through `Stage`, so the in-process runner can push as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from convexpy.errors import ConvexpyError, InvalidRequest, PushSuperseded
from convexpy.limits import BEFORE_PUSH_SECONDS_MAX, HURRIED_COMPLETIONS_PER_COMMIT
from convexpy.runtime.backend import RuntimeBackend
from convexpy.runtime.http_routes import RouteTable
from convexpy.runtime.interface import FunctionRequest
from convexpy.runtime.messages import CallKind
from convexpy.runtime.upkeep import Progress, Upkeep
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
    """What a push has changed. Indexes are named `table.index`."""

    functions: int
    added_indexes: list[str]
    removed_indexes: list[str]
    staged_indexes: list[str]
    enabled_indexes: list[str]
    findings: list[str]

    def describe(self) -> str:
        """What has changed in a line, then each finding from a line of its own."""
        parts = [f"{self.functions} functions"]
        parts += [f"index {name} added" for name in self.added_indexes]
        parts += [f"index {name} removed" for name in self.removed_indexes]
        parts += [f"index {name} staged" for name in self.staged_indexes]
        parts += [f"index {name} enabled" for name in self.enabled_indexes]
        return "\n".join([", ".join(parts), *self.findings])


class Deployer:
    """Pushes generations, one after the other, and keeps the database in order between pushes.

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
        self._upkeep = Upkeep(backend, report)
        self._pushing = asyncio.Lock()
        self._asked = 0
        self._staging: asyncio.Future[Stage] | None = None

    async def push(self, make_stage: Callable[[int], Awaitable[Stage]]) -> Pushed:
        """Make a new generation, settle the database for it, and switch to it.

        Args:
            make_stage: takes the generation's number. It is called when no other push is under way.

        Raises:
            ConvexpyError: the push was refused; the running code is untouched and the stage is discarded.
            PushSuperseded: likewise, because a newer push was asked for.
        """
        self._asked += 1
        number = self._asked
        if self._staging is not None:
            self._staging.cancel()  # an import may take long, or never end, and its code is not in the folder any more
        async with self._pushing:
            self._require_newest(number)
            stage = await self._stage(make_stage, number)
            await self._upkeep.pause()
            try:
                return await self._push(stage, number)
            except BaseException:
                stage.discard()
                raise
            finally:
                if self._backend.generation:
                    self._upkeep.resume()

    async def delete_tables(self, component: str, names: list[str]) -> None:
        """Delete tables with everything in them: gone at once, off the disk little by little.

        Raises:
            InvalidRequest: one of them is not there, or the schema needs it; none is deleted.
        """
        await self._backend.run_system("tables.delete", {"component": component, "tables": names})
        if not self._pushing.locked():
            self._upkeep.resume()

    async def stop(self) -> None:
        """End the work in the background where it is."""
        await self._upkeep.stop()

    async def _stage(self, make_stage: Callable[[int], Awaitable[Stage]], number: int) -> Stage:
        staging = self._staging = asyncio.ensure_future(make_stage(number))
        try:
            return await staging
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                self._require_newest(number)  # it was a newer push that has canceled this one's staging
            raise
        finally:
            self._staging = None

    def _require_newest(self, number: int) -> None:
        if number != self._asked:
            raise PushSuperseded("Another push was begun before this one was live.")

    async def _push(self, stage: Stage, number: int) -> Pushed:
        description = stage.description
        prepared = await self._backend.run_system("push.prepare", {}, is_staged=True)
        push = prepared["push"]
        try:
            for check in prepared["checks"]:
                await self._check(check | {"push": push}, number)
            for build in prepared["builds"]:
                await self._build(build, push, number)
            findings, following = await self._before_push(description)
            self._require_newest(number)
            stored = {name: description[name] for name in ("hash", "auth")}
            payload = {"push": push, "generation": number, "description": stored}
            changes = await self._backend.run_system("push.switch", payload, is_staged=True)
        except PushSuperseded:
            raise  # what is built so far is there for the push that comes, which takes over what it wants as well
        except ConvexpyError:
            await self._abandon()
            raise
        stage.switch()
        kinds = function_kinds(description)
        self._backend.use_generation(number, kinds)
        self._backend.http_routes = RouteTable(description)
        if self._on_switch is not None:
            self._on_switch(description)
        await self._hurry_failing(push)
        for request in following:
            outcome = await self._backend.mutation(request)
            if not outcome.ok:
                self._report(f"{request.path} of component {request.component!r} failed after a push: {outcome.error}")
        return Pushed(
            functions=len(kinds),
            added_indexes=changes["added"],
            removed_indexes=changes["removed"],
            staged_indexes=changes["staged"],
            enabled_indexes=changes["enabled"],
            findings=findings,
        )

    async def _hurry_failing(self, push: str) -> None:
        """Let the new code have at once what the old one could not take."""
        payload = {"push": push, "limit": HURRIED_COMPLETIONS_PER_COMMIT}
        try:
            while await self._backend.run_system("hurry_failing", payload) == HURRIED_COMPLETIONS_PER_COMMIT:
                pass
        except ConvexpyError as error:
            self._report(f"Completions that failed are tried again when they are due, not now: {error}")

    async def _check(self, payload: dict[str, Any], number: int) -> None:
        """Check all documents of a table against its new schema."""
        progress = Progress(self._report, f"Checking table {payload['table']} against the new schema")
        rows, after = 0, None
        while True:
            self._require_newest(number)
            done = await self._backend.run_system("push.check_documents", payload | {"after": after}, is_staged=True)
            rows, after = rows + done["rows"], done["after"]
            if after is None:
                return
            progress.show(rows)

    async def _build(self, build: dict[str, Any], push: str, number: int) -> None:
        """Enter all older documents into an index.

        Where anybody called a function while a chunk was entered, it rests as long as that took: others come first.
        """
        progress = Progress(self._report, f"Building index {build['name']}")
        loop = asyncio.get_running_loop()
        while True:
            self._require_newest(number)
            began, mark = loop.time(), self._backend.mark_calls()
            payload = {"index": build["index"], "push": push}
            done = await self._backend.run_system("push.build_index", payload, is_staged=True)
            if done["is_done"]:
                break
            progress.show(done["rows"])
            is_alone = self._backend.mark_calls() - mark == 2  # the chunk's own call lies between, no other
            await asyncio.sleep(0 if is_alone else loop.time() - began)
        if progress.has_reported:
            self._report(f"Index {build['name']} is built: {done['rows']:,} documents in {progress.seconds:.0f} s.")

    async def _abandon(self) -> None:
        """Take back what is pending, where there is code running to do it; otherwise the next push will."""
        if self._backend.generation:
            try:
                await self._backend.run_system("push.abandon", {})
            except ConvexpyError as error:
                self._report(f"What the push has left behind stays until the next push: {error}")

    async def _before_push(self, description: dict[str, Any]) -> tuple[list[str], list[FunctionRequest]]:
        """Ask every component instance that has `before_push`; a refusal stops the push.

        Returns:
            what they have found, and the mutations to be run after the switch.
        """
        findings: list[str] = []
        following: list[FunctionRequest] = []
        for path, instance in description["instances"].items():
            function = instance.get("before_push")
            if function is None:
                continue
            own, then = await self._look(path, function)
            findings += own
            following += [_request(path, each, {}) for each in then]
        return findings, following

    async def _look(self, path: str, function: str) -> tuple[list[str], list[str]]:
        """Let one component look at its data on the new code, a piece a query."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BEFORE_PUSH_SECONDS_MAX
        findings: list[str] = []
        then: list[str] = []
        more: dict[str, Any] | None = {}
        while more is not None:
            reply = await self._backend.run_staged_query(_request(path, function, more))
            if not reply.ok:
                raise InvalidRequest(f"before_push of component {path!r} failed: {reply.error}")
            found: Any = decode_json(reply.value) or {}
            findings += found.get("findings", [])
            if found.get("refuse"):
                text = "\n".join(findings) or "it gives no reason"
                raise InvalidRequest(f"Component {path!r} refuses this push: {text}")
            if "then" in found and found["then"] not in then:
                then.append(found["then"])
            more = found.get("more")
            if more is not None and loop.time() >= deadline:
                seconds = f"{BEFORE_PUSH_SECONDS_MAX:.0f} s"
                findings.append(f"Component {path!r} had more to look at than {seconds} allow.")
                break
        return findings, then


def _request(component: str, path: str, args: dict[str, Any]) -> FunctionRequest:
    return FunctionRequest(
        component=component, path=path, args=encode_json(args), is_admin=True, is_nested=True, caller="Push"
    )


def function_kinds(description: dict[str, Any]) -> dict[tuple[str, str], CallKind]:
    """The kind of each function, by component path and function path."""
    return {
        (path, name): function["kind"]
        for path, instance in description["instances"].items()
        for name, function in instance["functions"].items()
    }
