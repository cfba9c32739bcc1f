"""The bound to unfinished scheduled functions: who is refused, and that the count is right whatever happens."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from convexpy.storage.lmdb_store import LmdbStore
from convexpy.transactions.backlog import count_backlog, forget_backlog, stored_backlog
from convexpy.transactions.checkup import Checkup
from convexpy.transactions.commit_log import LmdbCommitLog, OutOfSpace
from convexpy.transactions.commit_messages import Committed, Conflicted, Refused
from convexpy.transactions.committer import Committer
from convexpy.transactions.system_tables import SCHEDULED_FUNCTIONS
from convexpy.transactions.transaction import Transaction
from tests.seeds import asked_seed
from tests.transactions.rig import Database, id_of

BOUND = 10


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A deployment that may have ten unfinished scheduled functions."""
    database = Database(tmp_path)
    database.committer = bounded(database)
    yield database
    database.close()


def bounded(database: Database) -> Committer:
    log = LmdbCommitLog(database.store, database.environment)
    return Committer(log, database.environment, backlog_max=BOUND)


def add(transaction: Transaction, count: int = 1) -> list[bytes]:
    """Schedule functions; the ids of their rows."""
    row = {"pending_queue": "", "scheduledTime": 1.0, "state": {"kind": "pending"}}
    return [id_of(transaction.insert(SCHEDULED_FUNCTIONS, dict(row))) for _ in range(count)]


def change(transaction: Transaction, row: bytes, **fields: Any) -> None:
    """Give a row other fields, and take away the one that says that it waits."""
    document = transaction.get(SCHEDULED_FUNCTIONS, row)
    assert document is not None
    document.pop("pending_queue", None)
    document.pop("running", None)
    transaction.replace(SCHEDULED_FUNCTIONS, row, {**document, **fields})


def fill(database: Database, count: int = BOUND) -> list[bytes]:
    transaction = database.begin()
    rows = add(transaction, count)
    database.committed(transaction)
    return rows


def counted(database: Database) -> int | None:
    with database.store.snapshot() as snapshot:
        return stored_backlog(snapshot.last_commit())


def there(database: Database) -> int:
    with database.store.environment.begin() as transaction:
        return count_backlog(database.store, transaction)


def test_what_goes_beyond_the_bound_is_refused_with_a_sentence(database: Database) -> None:
    fill(database, 8)
    transaction = database.begin()
    add(transaction, 3)

    assert database.commit(transaction) == Refused(
        0,
        "Too many scheduled functions pending (limit: 10): 8 are, and this mutation schedules 3 more than it "
        "completes. Nothing of it was stored. Let some of them run, cancel some, or raise limits.functions_pending in "
        "the deployment's settings.",
        is_beyond_bound=True,
    )
    assert (counted(database), there(database)) == (8, 8)
    fill(database, 2)


def test_at_the_bound_whatever_does_not_add_goes_through(database: Database) -> None:
    """A step that schedules the next one, an action that begins, one that ends, a cancellation, other mutations."""
    rows = fill(database)
    step, begin, end, cancel, other = (database.begin() for _ in range(5))
    step.delete(SCHEDULED_FUNCTIONS, rows[0])
    add(step)
    change(begin, rows[1], running=True)
    change(cancel, rows[2], finished_ms=1)
    database.end(other)

    for transaction in (step, begin, cancel):
        database.committed(transaction)
    assert counted(database) == 9

    database.end(end)
    end = database.begin()
    change(end, rows[1], finished_ms=1)
    add(end, 2)
    database.committed(end)
    assert (counted(database), there(database)) == (10, 10)


def test_a_count_beyond_the_bound_may_fall(database: Database) -> None:
    """The bound was lowered, or a folder comes from before there was one."""
    database.committer = Committer(LmdbCommitLog(database.store, database.environment), database.environment)
    rows = fill(database, 20)
    database.committer = bounded(database)
    transaction = database.begin()
    for row in rows[:5]:
        transaction.delete(SCHEDULED_FUNCTIONS, row)
    add(transaction, 4)

    database.committed(transaction)

    assert counted(database) == 19


def test_in_a_batch_each_request_counts_for_the_next(database: Database) -> None:
    rows = fill(database, 6)
    transactions = [database.begin() for _ in range(6)]
    for transaction, count in zip(transactions, (3, 2, 1, 1, 0, 1), strict=True):
        add(transaction, count)
    transactions[4].delete(SCHEDULED_FUNCTIONS, rows[0])
    requests = [(number, database.request(transaction)) for number, transaction in enumerate(transactions)]

    outcomes = database.committer.commit(requests)

    assert [type(outcome) for outcome in outcomes] == [Committed, Refused, Committed, Refused, Committed, Committed]
    assert (counted(database), there(database)) == (10, 10)


def test_who_loses_a_race_is_not_counted(database: Database) -> None:
    rows = fill(database, 9)
    first, second = database.begin(), database.begin()
    for transaction in (first, second):
        change(transaction, rows[0], pending_queue="", scheduledTime=2.0)
        add(transaction)
    database.committed(first)
    assert isinstance(database.commit(second), Conflicted)
    assert counted(database) == 10


def test_who_finds_no_space_is_not_counted(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: LmdbCommitLog, *arguments: object, **options: object) -> None:
        raise OutOfSpace("The disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(LmdbCommitLog, "append", fail)
        transaction = database.begin()
        add(transaction, BOUND)
        refused = database.commit(transaction)
        assert isinstance(refused, Refused) and not refused.is_beyond_bound

    fill(database)
    assert (counted(database), there(database)) == (BOUND, BOUND)


def test_a_folder_that_nobody_has_counted_is_counted_when_it_is_opened(database: Database, tmp_path: Path) -> None:
    rows = fill(database)
    transaction = database.begin()
    change(transaction, rows[0], running=True)
    change(transaction, rows[1], finished_ms=1)
    database.committed(transaction)
    forget_backlog(database.store)
    assert counted(database) is None

    database.committer = bounded(database)

    transaction = database.begin()
    add(transaction, 2)
    assert isinstance(database.commit(transaction), Refused)
    fill(database, 1)
    assert counted(database) == BOUND


def test_a_copy_made_from_the_log_counts_the_same(database: Database, tmp_path: Path) -> None:
    log = LmdbCommitLog(database.store, database.environment)
    origin = log.last_ts, b"s" * 32
    database.committer = Committer(log, database.environment)
    rows = fill(database, 7)
    transaction = database.begin()
    transaction.delete(SCHEDULED_FUNCTIONS, rows[0])
    database.committed(transaction)
    (tmp_path / "copy").mkdir()

    with closing(LmdbStore(tmp_path / "copy", readonly=False, sync=False, map_bytes=2**24)) as copy:
        replica = LmdbCommitLog(copy, database.environment, origin=origin)
        replica.append(replica.last_ts, list(log.tail(origin[0])))
        assert replica.backlog == log.backlog == 6


def test_a_wrong_count_is_reported_and_can_be_forgotten(database: Database) -> None:
    fill(database)
    forget_backlog(database.store)
    database.committer = bounded(database)
    with database.store.environment.begin(write=True) as transaction:
        for key, _ in list(transaction.cursor(db=database.store.indexes)):
            if key.startswith(SCHEDULED_FUNCTIONS.indexes["by_due"].prefix):
                transaction.delete(key, db=database.store.indexes)
                break
    fill_one = database.begin()
    change(fill_one, add(fill_one)[0], finished_ms=1)
    database.committed(fill_one)

    checkup = Checkup(database.store)

    texts = [problem.text for problem in checkup.problems()]
    assert (
        "9 scheduled functions are not finished, but 10 were counted. The server counts anew when it starts." in texts
    )
    assert checkup.is_backlog_wrong


def test_whatever_is_written_the_count_is_that_of_the_index(database: Database) -> None:
    """Random transactions in random batches, some of which lose; then what is counted is what is there."""
    chance = random.Random(asked_seed("BACKLOG_SEED"))
    rows: list[bytes] = fill(database, 5)
    for _ in range(150):
        requests = []
        for number in range(chance.randrange(1, 4)):
            transaction = database.begin()
            add(transaction, chance.randrange(3))
            for row in chance.sample(rows, min(len(rows), chance.randrange(3))):
                if transaction.get(SCHEDULED_FUNCTIONS, row) is None:
                    continue
                match chance.randrange(4):
                    case 0:
                        transaction.delete(SCHEDULED_FUNCTIONS, row)
                    case 1:
                        change(transaction, row, running=True)
                    case 2:
                        change(transaction, row, finished_ms=1)
                    case 3:
                        change(transaction, row, pending_queue="", scheduledTime=float(chance.randrange(9)))
            request = transaction.commit_request("test", -1)
            if request is not None:
                requests.append((number, request))
            database.end(transaction)
        for (_, request), outcome in zip(requests, database.committer.commit(requests), strict=True):
            if isinstance(outcome, Committed):
                rows += [write.key[4:] for write in request.documents if write.old is None]
        assert counted(database) == there(database) <= BOUND
    assert [problem.text for problem in Checkup(database.store).problems()] == []
