"""Can any order of events break isolation?

Everyone on call tries to leave, each in a transaction that reads all the others and writes only itself. One must
remain. Each write is right by itself, so only a check of what was *read* can stop the last two. Replay one seed:
pytest -k "stays_on_call and [17]".
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator

import pytest

from convexpy.transactions.commit_messages import CommitRequest, Committed, Conflicted
from convexpy.transactions.committer import Committer
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.transaction import Transaction
from tests.transactions.rig import Database, equal_to, id_of, insert, patch

ON_CALL = 4
SEEDS = 200


class UncheckedCommitter(Committer):
    """The mutant: commits whatever it gets, as a database with snapshots but without validation would."""

    def _validate(self, request_id: int, request: CommitRequest) -> Conflicted | None:
        return None


class Staff:
    """A table of people, `is_on_call` indexed, and the counts that make a run worth something."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.table = database.create_table("staff", by_on_call=["is_on_call"])
        self.conflicts = 0

    def fill(self) -> list[bytes]:
        """Everybody is on call; whoever was there before is gone."""
        transaction = self.database.begin()
        for row in list(transaction.scan(self.table, self.table.indexes["by_on_call"], IndexBounds())):
            transaction.delete(self.table, id_of(row["_id"]))
        people = [insert(transaction, self.table, is_on_call=True) for _ in range(ON_CALL)]
        self.database.committed(transaction)
        self.conflicts = 0
        return people

    def on_call(self, transaction: Transaction) -> list[bytes]:
        """Who is on call, as the transaction sees it."""
        rows = transaction.scan(self.table, self.table.indexes["by_on_call"], equal_to(True))
        return [id_of(row["_id"]) for row in rows]

    def count_on_call(self) -> int:
        transaction = self.database.begin()
        count = len(self.on_call(transaction))
        self.database.end(transaction)
        return count

    def leave_if_another_stays(self, who: bytes) -> Generator[None, None, None]:
        """Retried until it commits or stays; anything may happen wherever it yields."""
        while True:
            transaction = self.database.begin()
            others = [person for person in self.on_call(transaction) if person != who]
            yield
            if not others:
                self.database.end(transaction)
                return
            patch(transaction, self.table, who, is_on_call=False)
            yield
            if isinstance(self.database.commit(transaction, "staff:leave"), Committed):
                return
            self.conflicts += 1
            yield


def run(seed: int, tasks: list[Generator[None, None, None]]) -> None:
    """One thread, one seed, one order of events: the same seed is the same run."""
    order = random.Random(seed)
    while tasks:
        task = order.choice(tasks)
        try:
            next(task)
        except StopIteration:
            tasks.remove(task)


def everybody_tries_to_leave(staff: Staff, seed: int) -> None:
    run(seed, [staff.leave_if_another_stays(person) for person in staff.fill()])


@pytest.fixture(scope="module")
def staff(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staff]:
    """One real database for all seeds."""
    database = Database(tmp_path_factory.mktemp("staff"))
    yield Staff(database)
    database.close()


@pytest.fixture(scope="module")
def unchecked_staff(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staff]:
    database = Database(tmp_path_factory.mktemp("unchecked"), committer=UncheckedCommitter)
    yield Staff(database)
    database.close()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_somebody_stays_on_call(staff: Staff, seed: int) -> None:
    everybody_tries_to_leave(staff, seed)

    assert staff.count_on_call() == 1
    assert staff.conflicts > 0, "nobody met: this run proves nothing"


def test_the_judge_sees_what_validation_prevents(unchecked_staff: Staff) -> None:
    """Without it nearly every one of the same orders leaves nobody on call."""
    violations = 0
    for seed in range(SEEDS):
        everybody_tries_to_leave(unchecked_staff, seed)
        violations += unchecked_staff.count_on_call() == 0
    assert violations > SEEDS * 0.9
