"""What the scheduler has before it, read from the database as it is committed."""

from __future__ import annotations

from convexpy.limits import FunctionLimits
from convexpy.storage.lmdb_store import LmdbStore
from convexpy.transactions.catalog import load_catalog
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.system_tables import SCHEDULED_FUNCTIONS
from convexpy.transactions.transaction import Transaction


def has_later_functions(store: LmdbStore, now_ns: int) -> bool:
    """Whether a scheduled function is pending that is due after `now_ns`."""
    with store.snapshot() as snapshot:
        transaction = Transaction(snapshot, load_catalog(snapshot), FunctionLimits(), b"", now_ns // 1_000_000)
        rows = transaction.scan(SCHEDULED_FUNCTIONS, SCHEDULED_FUNCTIONS.indexes["by_due"], IndexBounds())
        return any(row["scheduledTime"] * 1e6 > now_ns for row in rows)
