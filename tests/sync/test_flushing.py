"""What changed is sent soon, and never before the answer to the mutation that changed it. See `sync.flushing`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from convexpy.limits import FLUSHES_PER_STEP
from convexpy.runtime.identity import AdminKeyAuthenticator
from convexpy.runtime.interface import FunctionRequest, Outcome
from convexpy.server import ServerSettings, create_api_app
from convexpy.sync.flushing import Flusher
from tests.sync.fake_backend import FakeBackend
from tests.sync.serving import serving
from tests.sync.test_websocket import ADMIN_KEY, Served, Socket


class SeenEarly(FakeBackend):
    """Its queries are run by workers that have seen a commit before it is published: both come in one step."""

    def __init__(self) -> None:
        super().__init__(is_automatic=True)
        self.begun = asyncio.Event()
        self._landing: asyncio.Future[Outcome]

    async def mutation(self, request: FunctionRequest, session: tuple[str, int] | None = None) -> Outcome:
        self._landing = asyncio.get_running_loop().create_future()
        self.begun.set()
        return await self._landing

    def land(self) -> None:
        """Publish the mutation's commit, the new result of whoever reads it, and its outcome."""
        ts = self.commit("n", 1)
        self._run_all()
        self._landing.set_result(Outcome(ok=True, value=b"null", ts=ts))

    def touch(self) -> None:
        """Another commit, and its results."""
        self.commit("other", self.published_ts)
        self._run_all()

    def _run_all(self) -> None:
        for entry in list(self.entries.values()):
            self._run(entry)

    def _want(self, entry: Any) -> None:
        if entry.outcome is None:
            super()._want(entry)  # a first result comes by itself
        else:
            entry.is_running = True


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("says_something", [False, True])
def test_the_answer_comes_before_the_result_that_shows_it(steps: int, says_something: bool) -> None:
    """A change of something else comes so many steps before; the client may say something in between."""

    async def scenario() -> None:
        backend = SeenEarly()
        app = create_api_app(backend, ServerSettings("test", AdminKeyAuthenticator(ADMIN_KEY)))
        async with serving(app) as address, Served(backend, address).connect() as connection:
            socket = Socket(connection)
            await socket.send(type="Connect", sessionId="4339ecba-272a-47a4-a95c-26938a22326a")
            add = {"type": "Add", "queryId": 0, "udfPath": "db:read", "args": [{"keys": ["n", "other"]}]}
            await socket.send(type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[add])
            await socket.receive()
            await socket.send(type="Mutation", requestId=0, udfPath="db:write", args=[{}])
            await backend.begun.wait()
            backend.touch()
            for _ in range(steps):
                await asyncio.sleep(0)
            if says_something:
                await socket.send(type="Event", eventType="hello", event={})
            backend.land()

            kinds = []
            while True:
                message = await socket.receive()
                kinds.append(message["type"])
                shown = [change["value"]["n"] for change in message.get("modifications", [])]
                if message["type"] == "Transition" and 1 in shown:
                    break
            assert "MutationResponse" in kinds

    asyncio.run(scenario())


class Noting:
    """A sender that notes in which steps it was asked to send."""

    def __init__(self, awaits_answer: bool = False) -> None:
        self.awaits_answer = awaits_answer
        self.count = 0

    def flush(self) -> None:
        self.count += 1


def test_all_send_though_only_some_in_one_step() -> None:
    async def scenario() -> None:
        flusher = Flusher()
        senders = [Noting() for _ in range(3 * FLUSHES_PER_STEP + 1)]
        for sender in senders:
            flusher.note_change(sender)
        for _ in range(10):
            await asyncio.sleep(0)
        assert [sender.count for sender in senders] == [1] * len(senders)

    asyncio.run(scenario())


def test_who_awaits_nothing_is_not_put_off_by_more_changes() -> None:
    async def scenario() -> None:
        flusher, calm, waiting = Flusher(), Noting(), Noting(awaits_answer=True)
        for _ in range(10):
            flusher.note_change(calm)
            flusher.note_change(waiting)
            await asyncio.sleep(0)
        assert calm.count >= 3 and waiting.count == 0
        assert flusher.is_early(waiting) and not flusher.is_early(calm)

        flusher.note_answer(waiting)
        assert not flusher.is_early(waiting)

    asyncio.run(scenario())
