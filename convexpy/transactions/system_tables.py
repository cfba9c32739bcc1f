"""The platform's own tables: fixed numbers, so that they exist before any catalog does.

Everything that must survive is a document in some table; that makes it transactional and reactive for free.
"""

from __future__ import annotations

from convexpy.storage.keys import INDEX_BIT
from convexpy.transactions.catalog_entries import IndexInfo, TableInfo

SYSTEM_NAMESPACE = -1
FIRST_USER_KEYSPACE = 1024
FIRST_USER_INDEX = INDEX_BIT | 1024
FIRST_USER_TABLE_NUMBER = 10_001


def _table(keyspace: int, name: str, **indexes: list[str]) -> TableInfo:
    entries = {
        index: IndexInfo(index, INDEX_BIT | (keyspace * 16 + ordinal), tuple(fields), "ready", is_sparse=bool(fields))
        for ordinal, (index, fields) in enumerate(indexes.items())
    }
    return TableInfo(SYSTEM_NAMESPACE, name, keyspace, 512 + keyspace, entries)


TABLES = _table(
    1,
    "_tables",
    by_name=["namespace", "name"],
    by_number=["namespace", "number"],
    by_keyspace=["keyspace"],
    by_last_index=["last_index"],
)
COMPONENTS = _table(2, "_components", by_path=["path"], by_namespace=["namespace"])
MODULES = _table(3, "_modules", by_path=["path"])
SCHEDULED_FUNCTIONS = _table(
    4,
    "_scheduled_functions",
    by_due=["pending_queue", "scheduledTime"],
    by_finished=["finished_ms"],
    by_running=["running"],
    by_creation_time=[],
    by_failing=["is_failing", "scheduledTime"],
)
SESSION_REQUESTS = _table(5, "_session_requests", by_creation_time=[])
QUEUES = _table(6, "_queues", by_name=["namespace", "name"])
PUSHES = _table(12, "_pushes", by_state=["state"])
INDEX_BUILDS = _table(13, "_index_builds", by_index=["index"])
STORAGE = _table(9, "_storage", by_uuid=["uuid"], by_creation_time=[])

SYSTEM_TABLES = {
    table.name: table
    for table in (
        TABLES,
        COMPONENTS,
        MODULES,
        SCHEDULED_FUNCTIONS,
        SESSION_REQUESTS,
        QUEUES,
        STORAGE,
        PUSHES,
        INDEX_BUILDS,
    )
}
CATALOG_KEYSPACES = (TABLES.keyspace, COMPONENTS.keyspace)
