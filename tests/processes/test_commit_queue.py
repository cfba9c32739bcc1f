"""Who may commit when, and who hears of it first."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from convexpy.errors import WorkerLost
from convexpy.processes import commit_queue as commit_queue_module
from convexpy.processes.commit_queue import CommitQueue, Outcome
from convexpy.processes.supervisor import Supervisor
from convexpy.transactions.commit_messages import CommitRequest, Committed, Conflicted, Reads, Refused
from tests.processes.rig import Reports, run

PARTS = "tests.processes.small_committer:open_parts"


def commit(name: str = "write") -> Raw:
    request = CommitRequest(1, 1, name, Reads([], []), [], [], [], [])
    return Raw(msgspec.msgpack.encode(request))


class Server:
    """A supervisor with the small committer, and what it was told."""

    def __init__(self, folder: Path, is_relaxed: bool = False) -> None:
        self.folder = folder
        self.published: list[int] = []
        self.fatal: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.supervisor = Supervisor(
            folder,
            on_batch=self.publish,
            on_fatal=self.fatal.set_result,
            on_output=lambda _: None,
            report=Reports().append,
            is_relaxed=is_relaxed,
            committer_parts=PARTS,
        )
        self.queue: CommitQueue = self.supervisor.commits
        for pipe in ("begun", "release"):
            os.mkfifo(folder / pipe)

    def publish(self, outcomes: list[Outcome]) -> None:
        self.published += [outcome.id for outcome in outcomes]

    async def held(self) -> asyncio.Future[Outcome]:
        """Have a commit stop in the committer, so that what follows gathers."""
        future = self.queue.submit(commit("hold"))
        await asyncio.to_thread((self.folder / "begun").read_text)
        return future

    async def release(self) -> None:
        await asyncio.to_thread((self.folder / "release").write_text, "go")

    def batches(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "batches").read_text().splitlines()]


@asynccontextmanager
async def server(folder: Path, is_relaxed: bool = False) -> AsyncIterator[Server]:
    server = Server(folder, is_relaxed)
    await server.supervisor.start()
    try:
        yield server
    finally:
        await server.supervisor.stop()


def test_commits_of_one_step_are_one_batch_and_are_published_before_anyone_is_answered(tmp_path: Path) -> None:
    """DESIGN 6: mark stale, move published_ts, only then answer."""

    async def main() -> None:
        async with server(tmp_path) as here:
            published_at_answer: list[list[int]] = []
            futures = [here.queue.submit(commit(name)) for name in ("a", "conflict", "refuse", "b")]
            for future in futures:
                future.add_done_callback(lambda _: published_at_answer.append(list(here.published)))

            a, conflict, refusal, b = await asyncio.gather(*futures)

            assert here.batches() == [["a", "conflict", "refuse", "b"]]
            assert isinstance(a, Committed) and isinstance(b, Committed) and a.ts < b.ts
            assert isinstance(conflict, Conflicted)
            assert isinstance(refusal, Refused)
            assert published_at_answer == [[a.id, conflict.id, refusal.id, b.id]] * 4

    run(main())


def test_commits_gather_while_the_committer_is_busy(tmp_path: Path) -> None:
    """The slower the disk, the larger the batches, up to their bound."""

    async def main() -> None:
        async with server(tmp_path) as here:
            held = await here.held()
            futures = []
            for number in range(600):
                futures.append(here.queue.submit(commit(str(number))))
                if number % 50 == 0:
                    await asyncio.sleep(0)
            await here.release()

            await asyncio.gather(held, *futures)

            _, *batches = here.batches()
            assert [name for batch in batches for name in batch] == [str(number) for number in range(600)]
            assert max(map(len, batches)) <= 256
            assert len(batches) < 600 / 50

    run(main())


def test_while_an_exclusive_turn_is_held_nobody_else_commits(tmp_path: Path) -> None:
    """Its holder reads, runs and commits, and nothing can come between."""

    async def main() -> None:
        async with server(tmp_path) as here:
            held = await here.held()
            order: list[str] = []

            async def exclusive(name: str) -> None:
                async with here.queue.exclusive() as turn:
                    order.append(name)
                    assert held.done()  # all that was sent before has been answered
                    ordinary = here.queue.submit(commit("ordinary"))
                    assert isinstance(await turn.submit(commit(name)), Committed)
                    assert not ordinary.done()

            turns = [asyncio.create_task(exclusive(name)) for name in ("first", "second", "third")]
            await asyncio.sleep(0)
            early = here.queue.submit(commit("early"))
            await here.release()
            await asyncio.gather(*turns, early)
            await here.queue.submit(commit("last"))

            assert order == ["first", "second", "third"]
            names = [batch for batch in here.batches() if batch != ["hold"]]
            assert names == [
                ["first"],
                ["early", "ordinary"],  # between two turns one ordinary batch
                ["second"],
                ["ordinary"],
                ["third"],
                ["ordinary", "last"],
            ] or names == [
                ["first"],
                ["early", "ordinary"],
                ["second"],
                ["ordinary"],
                ["third"],
                ["ordinary"],
                ["last"],
            ]

    run(main())


def test_a_turn_is_given_back_by_an_error_and_by_cancelling(tmp_path: Path) -> None:
    """A turn that is lost would stop every commit for ever."""

    async def main() -> None:
        async with server(tmp_path) as here:
            with pytest.raises(ZeroDivisionError):
                async with here.queue.exclusive():
                    raise ZeroDivisionError

            async def hold_turn() -> None:
                async with here.queue.exclusive():
                    await asyncio.Event().wait()

            async def take_turn() -> None:
                async with here.queue.exclusive():
                    raise AssertionError("it was cancelled before its turn")

            holder = asyncio.create_task(hold_turn())
            await asyncio.sleep(0)
            waiter = asyncio.create_task(take_turn())
            await asyncio.sleep(0)
            waiter.cancel()
            holder.cancel()
            await asyncio.gather(holder, waiter, return_exceptions=True)

            granted = asyncio.create_task(take_turn())
            await asyncio.sleep(0)
            granted.cancel()  # its turn was granted in this very step
            await asyncio.gather(granted, return_exceptions=True)

            assert isinstance(await here.queue.submit(commit()), Committed)

    run(main())


def test_a_transaction_that_fits_no_frame_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not take the others of its batch along."""
    monkeypatch.setattr(commit_queue_module, "_BATCH_BYTES_MAX", 300)

    async def main() -> None:
        async with server(tmp_path) as here:
            refused, *others = [here.queue.submit(commit(name)) for name in ("x" * 300, *"abcdefghijklmnop" * 4)]

            assert isinstance(await refused, Refused)
            assert all(isinstance(outcome, Committed) for outcome in await asyncio.gather(*others))

    run(main())


def test_relaxed_durability_syncs_soon_after_the_last_commit(tmp_path: Path) -> None:
    """A commit that nothing follows must not stay unsynced."""

    async def main() -> None:
        os.mkfifo(tmp_path / "synced")
        async with server(tmp_path, is_relaxed=True) as here:
            await here.queue.submit(commit())

            assert await asyncio.to_thread((tmp_path / "synced").read_text) == "1"
            (tmp_path / "synced").unlink()  # the sync of the orderly end shall not wait for a reader

    run(main())


def test_a_dead_committer_is_fatal_and_its_commits_are_unknown(tmp_path: Path) -> None:
    """The server must exit: the database settles what was committed."""

    async def main() -> None:
        async with server(tmp_path) as here:
            lost = here.queue.submit(commit("die"))

            assert "nothing can be written" in await here.fatal
            with pytest.raises(WorkerLost, match="not known"):
                await lost
            with pytest.raises(WorkerLost):
                await here.queue.submit(commit())

    run(main())


def test_a_committer_that_cannot_open_the_database_says_why(tmp_path: Path) -> None:
    """The sentence is the one that the person who starts the server sees."""

    async def main() -> None:
        (tmp_path / "damaged").touch()

        with pytest.raises(WorkerLost, match=r"data\.mdb is damaged"):
            async with server(tmp_path):
                raise AssertionError("it must not start")

    run(main())


def test_stopping_answers_every_commit_first(tmp_path: Path) -> None:
    """An orderly end leaves nobody in doubt."""

    async def main() -> None:
        async with server(tmp_path) as here:
            held = await here.held()
            queued = here.queue.submit(commit("queued"))
            pid = here.supervisor.committer_pid
            stopping = asyncio.create_task(here.supervisor.stop())
            await asyncio.sleep(0)
            await here.release()
            await stopping

            assert isinstance(await held, Committed)
            assert isinstance(await queued, Committed)
            assert here.batches() == [["hold"], ["queued"]]
            with pytest.raises(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    run(main())
