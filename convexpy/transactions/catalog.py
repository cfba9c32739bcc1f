"""Which tables, indexes and component namespaces exist, as one snapshot sees it.

A catalog is read from `_tables` and `_components` and never changes; a process keeps the one of the latest
`catalog_ts` and reads a new one only when a commit has touched those tables.
"""

from __future__ import annotations

from typing import Any

import msgspec

from convexpy.storage.keys import ID_BYTES, prefix_end
from convexpy.transactions.catalog_entries import IndexInfo, PendingSchema, TableInfo
from convexpy.transactions.past_snapshot import PAST_CATALOG, AnySnapshot
from convexpy.transactions.system_tables import COMPONENTS, SYSTEM_TABLES, TABLES
from convexpy.values import unpack, validator_from_json

ROOT_NAMESPACE = 0


def table_from_row(row: dict[str, Any], row_id: bytes) -> TableInfo:
    """Read a row of `_tables`."""
    indexes = {
        entry["name"]: IndexInfo(entry["name"], entry["keyspace"], tuple(entry["fields"]), entry["state"])
        for entry in row["indexes"]
    }
    return TableInfo(
        row["namespace"],
        row["name"],
        row["keyspace"],
        row["number"],
        indexes,
        row_id,
        _pending_schema(row.get("pending_schema")),
    )


def _pending_schema(entry: dict[str, str] | None) -> PendingSchema | None:
    if entry is None:
        return None
    return PendingSchema(entry["push"], validator_from_json(msgspec.json.decode(entry["validator"])))


def is_deleted(row: dict[str, Any]) -> bool:
    """Whether a row of `_tables` only keeps the numbers of a deleted table from being given out again."""
    return "name" not in row


class Catalog:
    """Tables by name and number, component namespaces by path."""

    def __init__(self, catalog_ts: int, tables: list[TableInfo], components: dict[str, int]) -> None:
        self.catalog_ts = catalog_ts
        self.by_name = {(table.namespace, table.name): table for table in tables}
        self.by_number = {(table.namespace, table.number): table for table in tables}
        self.by_keyspace = {table.keyspace: table for table in (*tables, *SYSTEM_TABLES.values())}
        self.by_index_keyspace = {
            index.keyspace: table for table in self.by_keyspace.values() for index in table.indexes.values()
        }
        self.namespaces = {"": ROOT_NAMESPACE, **components}
        self.component_paths = {namespace: path for path, namespace in self.namespaces.items()}

    def table_of_key(self, key: bytes) -> TableInfo | None:
        """The table that a stored key, of a document or of an index entry, belongs to."""
        keyspace = int.from_bytes(key[:4], "big")
        return self.by_keyspace.get(keyspace) or self.by_index_keyspace.get(keyspace)


def load_catalog(snapshot: AnySnapshot) -> Catalog:
    """Read the whole catalog; costs time in proportion to the number of tables."""
    tables = []
    for key, value in snapshot.document_entries(TABLES.prefix, prefix_end(TABLES.prefix), False):
        row: Any = unpack(value[8:])
        if not is_deleted(row):
            tables.append(table_from_row(row, key[-ID_BYTES:]))
    components: dict[str, int] = {}
    for _, value in snapshot.document_entries(COMPONENTS.prefix, prefix_end(COMPONENTS.prefix), False):
        row = unpack(value[8:])
        components[row["path"]] = row["namespace"]
    return Catalog(snapshot.catalog_ts, tables, components)


class CatalogCache:
    """The latest catalog that this process has read."""

    def __init__(self) -> None:
        self._latest: Catalog | None = None

    def at(self, snapshot: AnySnapshot) -> Catalog:
        """The catalog as `snapshot` sees it."""
        if snapshot.catalog_ts == PAST_CATALOG:
            return load_catalog(snapshot)
        latest = self._latest
        if latest is None or latest.catalog_ts != snapshot.catalog_ts:
            latest = self._latest = load_catalog(snapshot)
        return latest
