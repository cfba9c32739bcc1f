"""Deletes tables, and what is stored of tables and indexes that are in no catalog any more.

A table is gone with one commit; its documents and entries go in portions afterwards, like those of a dropped index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from convexpy.errors import InvalidRequest
from convexpy.limits import SWEPT_BYTES_PER_COMMIT, SWEPT_KEYS_PER_COMMIT
from convexpy.runtime.execution import Run
from convexpy.runtime.push_records import NO_SCHEMA, schemas_in_force, schemas_under_way
from convexpy.storage.keys import INDEX_BIT
from convexpy.transactions.leftovers import first_leftover
from convexpy.transactions.tables import delete_table, find_table

Payload = dict[str, Any]


def delete_tables(run: Run, payload: Payload) -> None:
    """Delete tables of one component, all or none: `tables` (names), `component` (its path).

    Raises:
        InvalidRequest: there is no such component or table, or the schema needs one of them.
    """
    path = payload["component"]
    namespace = run.namespaces().get(path)
    if namespace is None:
        raise InvalidRequest(f'Component "{path}" not found.')
    schemas = [known.get(path, NO_SCHEMA) for known in (schemas_in_force(run), schemas_under_way(run))]
    for name in payload["tables"]:
        table = find_table(run.transaction, namespace, name)
        if table is None:
            raise InvalidRequest(f'Failed to delete table "{name}" because it does not exist.')
        for schema in schemas:
            _require_unused(schema, name)
        delete_table(run.transaction, table)


def _require_unused(schema: Payload, name: str) -> None:
    if name in schema["tables"]:
        raise InvalidRequest(f'Failed to delete table "{name}" because it appears in the schema')
    for other, declared in schema["tables"].items():
        if name in _tables_named_in(declared["validator"]):
            raise InvalidRequest(
                f'Failed to delete table "{name}" because v.id("{name}") appears in the schema of table "{other}"'
            )


def _tables_named_in(described: Any) -> Iterator[str]:
    """The tables of all `v.id(…)` in a validator's JSON."""
    if isinstance(described, dict):
        if described.get("type") == "id":
            yield described["tableName"]
        for part in described.values():
            yield from _tables_named_in(part)
    elif isinstance(described, list):
        for part in described:
            yield from _tables_named_in(part)


def sweep(run: Run, payload: Payload) -> int | None:
    """Delete a portion of what is left over, looking from the number `from` on.

    Returns:
        The number to look from next; None: nothing is left over.
    """
    transaction = run.transaction
    keyspace = first_leftover(transaction.snapshot, transaction.catalog, payload["from"])
    if keyspace is None:
        return None
    if keyspace & INDEX_BIT:
        has_more = transaction.drop_index_entries(keyspace, SWEPT_KEYS_PER_COMMIT)
    else:
        has_more = transaction.drop_documents(keyspace, SWEPT_KEYS_PER_COMMIT, SWEPT_BYTES_PER_COMMIT)
    return keyspace if has_more else keyspace + 1


TABLE_FUNCTIONS: dict[str, Callable[[Run, Any], Any]] = {"tables.delete": delete_tables, "tables.sweep": sweep}
