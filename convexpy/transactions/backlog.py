"""How many scheduled functions are not finished: counted commit by commit, so that there can be a bound to them.

No document holds the number, for whoever schedules would conflict with all others who do. It lies beside the last
commit's timestamp, in the same value of LMDB's `meta`, and is written with it.

A row that waits has an entry in `by_due`, one whose action has begun has one in `by_running`, and none has both: so the
entries that a commit puts and deletes tell what it changes. To begin an action changes nothing, nor does a step that
schedules the next one.
"""

from __future__ import annotations

from typing import Any, Protocol

from convexpy.storage.keys import decode_ts, encode_ts, prefix_end
from convexpy.storage.lmdb_store import LAST_COMMIT_TS, LmdbStore
from convexpy.transactions.commit_messages import DocumentWrite
from convexpy.transactions.system_tables import SCHEDULED_FUNCTIONS

UNFINISHED_INDEXES = ("by_due", "by_running")

_ROWS = SCHEDULED_FUNCTIONS.prefix
_UNFINISHED = tuple(SCHEDULED_FUNCTIONS.indexes[name].prefix for name in UNFINISHED_INDEXES)
_TS_BYTES = 8


class Written(Protocol):
    """What a commit writes, be it asked for or logged."""

    documents: list[DocumentWrite]
    index_puts: list[bytes]
    index_deletes: list[bytes]


def backlog_change(commit: Written) -> int:
    """By how many unfinished functions a commit changes their number."""
    for write in commit.documents:
        if write.key.startswith(_ROWS):
            break
    else:
        return 0  # as nearly all commits
    puts = sum(key.startswith(_UNFINISHED) for key in commit.index_puts)
    return puts - sum(key.startswith(_UNFINISHED) for key in commit.index_deletes)


def encode_last_commit(ts: int, backlog: int) -> bytes:
    """The value of `LAST_COMMIT_TS`: who only asks for the timestamp reads its first eight bytes."""
    return encode_ts(ts) + encode_ts(backlog)


def stored_backlog(last_commit: bytes) -> int | None:
    """The number in a value of `LAST_COMMIT_TS`; None where nobody has counted yet."""
    return decode_ts(last_commit[_TS_BYTES:]) if len(last_commit) > _TS_BYTES else None


def count_backlog(store: LmdbStore, transaction: Any) -> int:
    """Count the entries themselves: some 0.3 s for a million."""
    count = 0
    with transaction.cursor(db=store.indexes) as cursor:
        for prefix in _UNFINISHED:
            end = prefix_end(prefix)
            if cursor.set_range(prefix):
                for key in cursor.iternext(keys=True, values=False):
                    if key >= end:
                        break
                    count += 1
    return count


def forget_backlog(store: LmdbStore) -> None:
    """Take a number that is wrong out of the database: who opens it next counts anew."""
    with store.environment.begin(write=True) as transaction:
        last_commit = transaction.get(LAST_COMMIT_TS, db=store.meta) or b""
        transaction.put(LAST_COMMIT_TS, last_commit[:_TS_BYTES], db=store.meta)
