"""The real runtime in one thread, with events in an order that a seed decides: the place for broken engines.

`RuntimeBackend`, `Publisher`, live queries, `execute`, `Transaction` and `Committer` are the product's own. Workers and
the way to the committer are adversaries that do all that real ones may do: a worker runs on any snapshot that is not
older than the call asks for and answers late; commits come in batches of any size and are published late.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
from msgspec import Raw

from convexpy.errors import Conflict
from convexpy.functions import guard
from convexpy.runtime import log_capture
from convexpy.runtime.backend import RuntimeBackend
from convexpy.runtime.execute import execute
from convexpy.runtime.generation import Generation
from convexpy.runtime.interface import FunctionRequest
from convexpy.runtime.messages import Call, Reply
from convexpy.runtime.parts import CommitOutcome
from convexpy.runtime.publishing import Publisher
from convexpy.storage.lmdb_store import LmdbStore, Snapshot
from convexpy.testing import TestBackend
from convexpy.transactions.commit_log import LmdbCommitLog
from convexpy.transactions.commit_messages import CommitRequest, Committed
from convexpy.transactions.committer import Committer
from tests.histories.history import Record
from tests.histories.workloads import Plan, Workload, decode
from tests.manual_environment import ManualEnvironment

APP = Path(__file__).parent / "app"
SNAPSHOTS_KEPT = 3
LOOP_STEPS_PER_EVENT = 4  # enough for an answer to reach its caller
IDLE_STEPS_MAX = 100

_decode = msgspec.msgpack.Decoder(CommitRequest).decode


class Database:
    """A database with the app pushed, for any number of engines one after the other."""

    def __init__(self, store: LmdbStore, generation: Generation) -> None:
        self.store, self.generation = store, generation
        self._names = itertools.count(1)

    def next_name(self) -> str:
        """A name that nothing in the database has."""
        return f"run{next(self._names)}"


@contextmanager
def opened_database() -> Iterator[Database]:
    """In a temporary folder."""
    with TestBackend(APP) as backend:
        generation = backend.server.functions.current
        assert generation is not None
        yield Database(backend.store, generation)


class Workers:
    """Implements `parts.Functions`."""

    def __init__(self, database: Database, chance: random.Random) -> None:
        self._store, self._generation = database.store, database.generation
        self._chance = chance
        self._kept: list[Snapshot] = []
        self.events: list[Callable[[], None]] = []

    def submit(
        self,
        call: Call,
        *,
        prefer: int | None = None,
        is_urgent: bool = False,
        is_staged: bool = False,
        limit_seconds: float | None = None,
    ) -> asyncio.Future[Reply]:
        """See `parts.Functions`."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.events.append(lambda: self._run([call], lambda replies: future.set_result(replies[0])))
        return future

    def submit_together(self, calls: list[Call]) -> asyncio.Future[list[Reply]]:
        """See `parts.Functions`."""
        future: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
        self.events.append(lambda: self._run(calls, future.set_result))
        return future

    def close(self) -> None:
        """Give back all snapshots."""
        for snapshot in self._kept:
            snapshot.close()

    def snapshot_for(self, min_ts: int) -> Snapshot:
        """Any that is new enough."""
        fresh = self._store.snapshot()
        self._kept.append(fresh)
        if len(self._kept) > SNAPSHOTS_KEPT:
            self._kept.pop(self._chance.randrange(SNAPSHOTS_KEPT)).close()
        return self._chance.choice([snapshot for snapshot in self._kept if snapshot.ts >= min_ts])

    def _run(self, calls: list[Call], answer: Callable[[list[Reply]], None]) -> None:
        snapshot = self.snapshot_for(max(call.min_ts for call in calls))
        try:
            replies = [execute(call, snapshot, self._generation) for call in calls]
        finally:
            guard.reset()
        self.events.append(lambda: answer(replies))


class CommitPath:
    """Implements `parts.Commits` and `parts.Turn`: commit a batch, publish it, answer."""

    def __init__(self, committer: Committer, publisher: Publisher, chance: random.Random) -> None:
        self._committer, self._publisher, self._chance = committer, publisher, chance
        self._ids = itertools.count(1)
        self._waiting: list[tuple[int, Raw]] = []
        self._in_turn: list[tuple[int, Raw]] = []
        self._futures: dict[int, asyncio.Future[CommitOutcome]] = {}
        self._unpublished: deque[list[CommitOutcome]] = deque()
        self._turn = asyncio.Lock()
        self.conflicts = 0

    def submit(self, commit: Raw) -> asyncio.Future[CommitOutcome]:
        """See `parts.Commits`."""
        return self._enqueue(self._waiting, commit)

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[_Turn]:
        """See `parts.Commits`."""
        async with self._turn:
            while self._unpublished:
                await asyncio.sleep(0)
            yield _Turn(self)

    def submit_in_turn(self, commit: Raw) -> asyncio.Future[CommitOutcome]:
        """See `parts.Turn`."""
        return self._enqueue(self._in_turn, commit)

    def possible_events(self) -> list[Callable[[], None]]:
        """What may happen next."""
        events: list[Callable[[], None]] = []
        if self._in_turn or (self._waiting and not self._turn.locked()):
            events.append(self._commit)
        if self._unpublished:
            events.append(self._publish)
        return events

    def take(self, outcomes: list[CommitOutcome]) -> None:
        """A batch is durable; it is published later, and only then answered."""
        self._unpublished.append(outcomes)

    def answer(self, outcomes: list[CommitOutcome]) -> None:
        """Tell who submitted and has not been told."""
        for outcome in outcomes:
            future = self._futures.pop(outcome.id, None)
            if future is not None:
                future.set_result(outcome)

    def _enqueue(self, queue: list[tuple[int, Raw]], commit: Raw) -> asyncio.Future[CommitOutcome]:
        number = next(self._ids)
        future = self._futures[number] = asyncio.get_running_loop().create_future()
        queue.append((number, commit))
        return future

    def _commit(self) -> None:
        queue = self._in_turn or self._waiting
        size = self._chance.randint(1, len(queue))
        batch, queue[:size] = queue[:size], []
        outcomes = self._committer.commit([(number, _decode(commit)) for number, commit in batch])
        self.conflicts += sum(not isinstance(outcome, Committed) for outcome in outcomes)
        self.take(outcomes)

    def _publish(self) -> None:
        outcomes = self._unpublished.popleft()
        self._publisher.publish([outcome for outcome in outcomes if isinstance(outcome, Committed)])
        self.answer(outcomes)


class _Turn:
    def __init__(self, path: CommitPath) -> None:
        self._path = path

    def submit(self, commit: Raw) -> asyncio.Future[CommitOutcome]:
        return self._path.submit_in_turn(commit)


class Engine:
    """Clients and a database between them, whose every event a seed puts in its place."""

    def __init__(self, database: Database, seed: int) -> None:
        self._chance = random.Random(seed)
        name = database.next_name()
        # Ids come from it: another engine of the same seed has left its rows in the database.
        self._environment = ManualEnvironment(seed=zlib.crc32(f"{seed} {name}".encode()))
        self.workload = Workload(seed, name)
        committer = Committer(LmdbCommitLog(database.store, self._environment), self._environment)
        self._publisher = Publisher(committer.last_ts, self._environment)
        self._workers = Workers(database, self._chance)
        self._commits = CommitPath(committer, self._publisher, self._chance)
        self._backend = RuntimeBackend(
            self._workers,
            _NoActions(),
            self._commits,
            self._publisher,
            self._environment,
            is_redacted=False,
            report_call=lambda kind, path, caller, reply: None,
        )
        self._backend.use_generation(database.generation.number, {})
        self._clock = itertools.count(1)
        self._loop = asyncio.Runner()
        self.refusals = 0  # callers that heard of a conflict

    @property
    def conflicts(self) -> int:
        """Commits so far that lost a race."""
        return self._commits.conflicts

    def close(self) -> None:
        """Give back what it holds."""
        self._loop.close()
        self._workers.close()

    def run_window(self, transactions: int, clients: int) -> list[Record]:
        """Run so many transactions, all of them to their end."""
        self.workload.begin_window()
        with log_capture.installed():
            return self._loop.run(self._run(transactions, clients))

    async def _run(self, transactions: int, clients: int) -> list[Record]:
        plans = iter([self.workload.next() for _ in range(transactions)])
        records: list[Record] = []
        tasks = [asyncio.create_task(self._be_client(process, plans, records)) for process in range(clients)]
        idle = 0
        while not all(task.done() for task in tasks):
            for _ in range(LOOP_STEPS_PER_EVENT):
                await asyncio.sleep(0)
            possible = [*self._commits.possible_events(), *self._workers.events]
            idle = 0 if possible else idle + 1
            assert idle < IDLE_STEPS_MAX, "everybody waits for something that will never happen"
            if possible:
                event = self._chance.choice(possible)
                if event in self._workers.events:
                    self._workers.events.remove(event)
                event()
        for task in tasks:
            task.result()
        return records

    async def _be_client(self, process: int, plans: Iterator[Plan], records: list[Record]) -> None:
        for plan in plans:
            invoked = next(self._clock)
            request = FunctionRequest(path=plan.path, args=json.dumps(plan.arguments).encode(), format="json")
            run = self._backend.query if plan.is_query else self._backend.mutation
            try:
                outcome = await run(request)
            except Conflict:
                self.refusals += 1
                records += plan.record(process, invoked, next(self._clock), "fail", None)
                continue
            completed = next(self._clock)
            if outcome.ok:
                # The snapshot of a cached result may be older than the call; the result is not.
                ts = None if plan.is_query else outcome.ts
                records += plan.record(process, invoked, completed, "ok", decode(outcome.value), ts)
            else:
                assert outcome.error_data is not None, outcome.error
                records += plan.record(process, invoked, completed, "fail", None)


class _NoActions:
    def submit(self, call: Call) -> asyncio.Future[Reply]:
        raise AssertionError(f"no action is called here: {call.path}")
