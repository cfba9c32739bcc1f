"""The committer: who conflicts, what is durable at which timestamp, and what a failure leaves behind (nothing)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from convexpy.limits import WRITE_LOG_SECONDS_MAX, LogLimits
from convexpy.storage.lmdb_store import LmdbStore, StoreError
from convexpy.storage.reserve import SpaceReserve
from convexpy.transactions import commit_log as commit_log_module
from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.checkup import Checkup
from convexpy.transactions.commit_log import LmdbCommitLog, decode_commit
from convexpy.transactions.commit_messages import CommitRequest, Committed, Conflicted, DocumentWrite, Reads, Refused
from convexpy.transactions.committer import Committer
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.transaction import Transaction
from convexpy.values import index_key
from tests.manual_environment import ManualEnvironment
from tests.transactions.rig import Database, insert, patch


@pytest.fixture
def row(database: Database, messages: TableInfo) -> bytes:
    """One stored message with n = 1."""
    transaction = database.begin()
    made = insert(transaction, messages, n=1)
    database.committed(transaction)
    return made


# --- conflicts


def test_blind_inserts_do_not_conflict(database: Database, messages: TableInfo) -> None:
    writers = [database.begin() for _ in range(5)]
    for n, writer in enumerate(writers):
        insert(writer, messages, n=n)
    for writer in writers:
        database.committed(writer)


def both_delete(transaction: Transaction, table: TableInfo, row: bytes) -> None:
    transaction.delete(table, row)


def both_patch(transaction: Transaction, table: TableInfo, row: bytes) -> None:
    patch(transaction, table, row, n=2)


@pytest.mark.parametrize("change", [both_delete, both_patch])
def test_of_two_changes_of_one_row_the_second_loses(
    database: Database, messages: TableInfo, row: bytes, change: Callable[[Transaction, TableInfo, bytes], None]
) -> None:
    first, second = database.begin(), database.begin()
    for transaction in (first, second):
        change(transaction, messages, row)
    ts = database.committed(first, "tasks:first")

    outcome = database.commit(second)

    assert isinstance(outcome, Conflicted)
    assert (outcome.ts, outcome.written_by, outcome.key) == (ts, "tasks:first", messages.prefix + row)


def test_a_reader_after_the_commit_does_not_conflict(database: Database, messages: TableInfo, row: bytes) -> None:
    first = database.begin()
    patch(first, messages, row, n=2)
    database.committed(first)
    second = database.begin()
    patch(second, messages, row, n=3)
    database.committed(second)


def test_within_a_batch_the_earlier_request_counts(database: Database, messages: TableInfo, row: bytes) -> None:
    """The third only inserts, so it is not disturbed by the second's loss."""
    transactions = [database.begin() for _ in range(3)]
    patch(transactions[0], messages, row, n=2)
    patch(transactions[1], messages, row, n=3)
    insert(transactions[2], messages, n=4)
    requests = [(n, database.request(transaction, f"f{n}")) for n, transaction in enumerate(transactions)]

    outcomes = database.committer.commit(requests)

    first, second, third = outcomes
    assert isinstance(first, Committed)
    assert isinstance(second, Conflicted)
    assert isinstance(third, Committed)
    assert (second.written_by, second.ts) == ("f0", first.ts)
    assert [outcome.id for outcome in outcomes] == [0, 1, 2]
    assert first.ts < third.ts == database.committer.last_ts
    with database.store.snapshot() as snapshot:
        assert snapshot.ts == third.ts


def test_a_transaction_older_than_the_write_log_loses(database: Database, messages: TableInfo, row: bytes) -> None:
    """Nobody knows any more what was written since it began."""
    old = database.begin()
    insert(old, messages, n=2)
    for _ in range(2):
        other = database.begin()
        insert(other, messages, n=3)
        database.committed(other)
        database.environment.advance(WRITE_LOG_SECONDS_MAX + 1)
    other = database.begin()
    insert(other, messages, n=4)
    database.committed(other)

    assert database.commit(old) == Conflicted(0, 0, b"", "commits older than the write log keeps")


def test_after_a_restart_older_snapshots_lose(tmp_path: Path) -> None:
    database = Database(tmp_path)
    messages = database.create_table("messages")
    old, fresh = database.begin(), database.begin()
    writer = database.begin()
    insert(writer, messages, n=1)
    database.committed(writer)
    insert(old, messages, n=2)

    database.committer = Committer(LmdbCommitLog(database.store, database.environment), database.environment)

    assert isinstance(database.commit(old), Conflicted)
    database.end(fresh)
    fresh = database.begin()
    insert(fresh, messages, n=3)
    database.committed(fresh)
    database.close()


# --- timestamps and the log


def test_timestamps_rise_when_the_clock_steps_back(database: Database, messages: TableInfo) -> None:
    stamps = []
    for _ in range(5):
        transaction = database.begin()
        insert(transaction, messages, n=1)
        stamps.append(database.committed(transaction))
        database.environment.advance(-3600)
    assert stamps == list(range(stamps[0], stamps[0] + 5))


def test_timestamps_follow_the_clock_when_it_runs(database: Database, messages: TableInfo) -> None:
    database.environment.advance(5)
    transaction = database.begin()
    insert(transaction, messages, n=1)
    assert database.committed(transaction) == database.environment.now_ns()


def test_timestamps_rise_over_reopening_with_a_wrong_clock(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.create_table("messages")
    last = database.committer.last_ts
    with database.store.snapshot() as snapshot:
        secret = snapshot.instance_secret()
    database.close()

    store = LmdbStore(tmp_path, readonly=False, sync=False)
    environment = ManualEnvironment(now_ns=1, seed=9)
    committer = Committer(LmdbCommitLog(store, environment), environment)
    assert committer.last_ts == last
    write = DocumentWrite(b"\x00\x00\x04\x00" + b"i" * 16, b"\x80", None)
    outcome = committer.commit([(7, CommitRequest(last, -1, "f", Reads([], []), [write], [], [], []))])
    with store.snapshot() as snapshot:
        assert outcome == [Committed(7, last + 1, [write.key])]
        assert (snapshot.ts, snapshot.instance_secret()) == (last + 1, secret)
    store.close()


def test_a_new_database_begins_above_zero(database: Database) -> None:
    with database.store.snapshot() as snapshot:
        assert snapshot.ts == snapshot.catalog_ts == database.committer.last_ts > 0
        assert len(snapshot.instance_secret()) == 32


def test_every_commit_leaves_a_row_in_the_log(database: Database, messages: TableInfo, row: bytes) -> None:
    transaction = database.begin()
    patch(transaction, messages, row, n=2)
    request = database.request(transaction)
    ts = database.committed(transaction, "tasks:raise")

    with database.store.snapshot() as snapshot:
        entries = list(snapshot.log_entries(ts, ts + 1))
    ((_, value),) = entries
    commit = decode_commit(value)
    assert (commit.function, commit.documents) == ("tasks:raise", request.documents)
    assert (commit.index_puts, commit.index_deletes) == (request.index_puts, request.index_deletes)


def log_length(database: Database) -> int:
    with database.store.snapshot() as snapshot:
        return len(list(snapshot.log_entries(0, 2**63)))


def test_old_log_rows_go_a_few_at_a_time(
    database: Database, messages: TableInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By age here; each commit takes away a bounded number, so none pays for all."""
    monkeypatch.setattr(commit_log_module, "LOG_TRIM_ROWS_PER_COMMIT", 3)
    for n in range(9):
        transaction = database.begin()
        insert(transaction, messages, n=n)
        database.committed(transaction)
    before = log_length(database)
    database.environment.advance(LogLimits().log_retention_seconds + 1)

    lengths = []
    for n in range(6):
        transaction = database.begin()
        insert(transaction, messages, n=n)
        database.committed(transaction)
        lengths.append(log_length(database))

    assert lengths[:3] == [before - 2, before - 4, before - 6]
    assert lengths[-1] == 6


def use_log(database: Database, limits: LogLimits) -> None:
    """As a server that is started again with other settings."""
    log = LmdbCommitLog(database.store, database.environment, limits=limits)
    database.committer = Committer(log, database.environment)


def test_a_deployment_may_keep_its_log_for_a_shorter_time(database: Database, messages: TableInfo) -> None:
    """Also what was logged before it was told so."""
    for n in range(3):
        transaction = database.begin()
        insert(transaction, messages, n=n)
        database.committed(transaction)
    database.environment.advance(61)
    use_log(database, LogLimits(log_retention_seconds=60))

    for n in range(2):
        transaction = database.begin()
        insert(transaction, messages, n=n)
        database.committed(transaction)

    assert log_length(database) == 2


def test_a_log_that_is_too_large_is_trimmed(database: Database, messages: TableInfo) -> None:
    use_log(database, LogLimits(log_retention_bytes=100_000))
    for _ in range(20):
        transaction = database.begin()
        insert(transaction, messages, n="x" * 20_000)
        database.committed(transaction)
    assert 2 <= log_length(database) <= 5  # 20 kB each, in pages of 4 kB


# --- generations


def generation_request(generation: int, new_generation: int | None = None) -> CommitRequest:
    write = DocumentWrite(b"\x00\x00\x04\x00" + bytes([generation + 1]) * 16, b"\x80", None)
    return CommitRequest(2**62, generation, "f", Reads([], []), [write], [], [], [], new_generation=new_generation)


def test_code_of_an_old_generation_may_not_commit_after_a_push(database: Database) -> None:
    def commit(request: CommitRequest) -> str:
        outcome = database.committer.commit([(0, request)])[0]
        return outcome.written_by if isinstance(outcome, Conflicted) else type(outcome).__name__

    assert commit(generation_request(1)) == "Committed"  # no push yet since this committer began
    assert commit(generation_request(1, new_generation=2)) == "Committed"
    assert commit(generation_request(1)) == "a push of new code"
    assert commit(generation_request(2)) == "Committed"
    assert commit(generation_request(-1)) == "Committed"  # the platform's own
    assert commit(generation_request(1, new_generation=2)) == "a newer push"
    assert commit(generation_request(3)) == "a push of new code"


# --- failures


@pytest.fixture
def small_database(tmp_path: Path) -> Database:
    """A file that may not grow beyond 1 MiB."""
    return Database(tmp_path, map_bytes=1024 * 1024)


def test_a_commit_for_which_there_is_no_room_leaves_nothing_behind(small_database: Database) -> None:
    """Neither in the file, nor in the write log; and it does not take along those of its batch that fit."""
    database = small_database
    messages = database.create_table("messages", by_n=["n"])
    first, large, reader = database.begin(), database.begin(), database.begin()
    list(reader.scan(messages, messages.indexes["by_n"], IndexBounds(index_key([2]), index_key([3]))))
    insert(reader, messages, n=3)
    insert(first, messages, n=1)
    insert(large, messages, n=2, text="x" * 900_000)
    requests = [(5, database.request(first)), (7, database.request(large)), (6, generation_request(1, 2))]

    outcomes = database.committer.commit(requests)

    kept, refused, pushed = outcomes
    assert isinstance(kept, Committed) and isinstance(pushed, Committed)
    text = "The database file has reached its maximum size. Nothing of this mutation was stored. "
    assert refused == Refused(7, text + "Delete something, or free space.")
    with database.store.snapshot() as snapshot:
        assert snapshot.ts == pushed.ts
        assert len(list(snapshot.index_keys(messages.indexes["by_n"].prefix, b"\xff", False))) == 1
    database.end(reader)
    retried = database.begin()
    list(retried.scan(messages, messages.indexes["by_n"], IndexBounds(index_key([2]), index_key([3]))))
    insert(retried, messages, n=3)
    database.committed(retried)  # nothing was written to its range
    database.close()


def test_a_push_for_which_there_is_no_room_did_not_happen(small_database: Database) -> None:
    database = small_database
    write = DocumentWrite(b"\x00\x00\x04\x00" + b"i" * 16, b"x" * 2_000_000, None)
    push = CommitRequest(2**62, 1, "f", Reads([], []), [write], [], [], [], new_generation=2)

    assert isinstance(database.committer.commit([(0, push)])[0], Refused)

    assert isinstance(database.committer.commit([(0, generation_request(1))])[0], Committed)
    database.close()


def test_a_full_database_can_be_emptied(tmp_path: Path) -> None:
    """By single deletes of large and of small documents, and by what the platform writes beside them."""
    database = Database(tmp_path, map_bytes=4 * 1024 * 1024)
    database.committer = Committer(
        LmdbCommitLog(database.store, database.environment, reserve=SpaceReserve(database.store)),
        database.environment,
    )
    messages = database.create_table("messages", by_n=["n"])
    rows: list[bytes] = []
    for size in (200_000, 1_000):
        while True:
            transaction = database.begin()
            row = insert(transaction, messages, n=len(rows), text="x" * size)
            if isinstance(database.commit(transaction), Refused):
                break
            rows.append(row)
    assert len(rows) > 10

    for row in rows:
        transaction = database.begin()
        transaction.delete(messages, row)
        insert(transaction, messages, n=-1)
        assert isinstance(database.commit(transaction), Committed)

    transaction = database.begin()
    insert(transaction, messages, n=0, text="x" * 100_000)
    database.committed(transaction)
    assert [problem.text for problem in Checkup(database.store).problems()] == []
    database.close()


@pytest.mark.parametrize("text", ["Input/output error", "MDB_PANIC: Update of meta page failed"])
def test_a_disk_that_fails_ends_the_committer(
    database: Database, messages: TableInfo, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """After a failed sync the kernel may have dropped what it was to write, and a later sync succeeds all the same."""

    def fail(self: LmdbCommitLog, *arguments: object, **options: object) -> None:
        raise StoreError(text)

    transaction = database.begin()
    insert(transaction, messages, n=1)
    request = database.request(transaction)
    monkeypatch.setattr(LmdbCommitLog, "append", fail)

    with pytest.raises(StoreError, match=text):
        database.committer.commit([(0, request), (1, request)])


def test_a_bug_in_a_request_leaves_nothing_behind_either(database: Database, messages: TableInfo) -> None:
    """The error goes up, to end the committer; but what it says on the way out is true."""
    before = database.committer.last_ts
    good = database.begin()
    insert(good, messages, n=1)
    bad = CommitRequest(before, -1, "f", Reads([], []), [DocumentWrite("no bytes", b"", None)], [], [], [])  # type: ignore[arg-type]

    with pytest.raises(TypeError):
        database.committer.commit([(0, database.request(good)), (1, bad)])

    assert database.committer.last_ts == before
    database.committed(good)
