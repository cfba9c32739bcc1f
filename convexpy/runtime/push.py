"""What a push does to the database, as system functions of the new generation's workers.

    prepare          components get their namespaces, tables of the schemas exist, new indexes and validators are there
                     as pending: from here on every write maintains the ones and is checked against the others
    check_documents  a chunk of the documents that may not fit the new schema (`push_validation`)
    build_index      a chunk of a new index's missing entries (`push_indexes`)
    switch           one commit for the whole component tree: pending becomes real, dropped indexes are gone, and from
                     here on only the new generation may commit
    abandon          nothing is pending any more

Until `switch` nothing that the running code sees has changed. `prepare` and `switch` write the catalog rows that every
reader and writer of a table has in its read set; so no transaction lies across one of them, and the database needs no
lock. What a push leaves that was cut short is taken over, or away, by the next one's `prepare`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from convexpy.runtime.execution import Run
from convexpy.runtime.push_indexes import (
    IndexChanges,
    build_chunk,
    drop_pending_indexes,
    install_indexes,
    settle_indexes,
    unfinished_builds,
)
from convexpy.runtime.push_records import (
    NO_SCHEMA,
    begin_push,
    encoded,
    end_pushes,
    require_pending,
    schemas_in_force,
    schemas_of,
    stored_module,
)
from convexpy.runtime.push_validation import check_documents, validator_to_check
from convexpy.transactions.catalog_entries import PendingSchema, TableInfo
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.system_tables import COMPONENTS, MODULES
from convexpy.transactions.tables import ensure_table, find_table, set_pending_schema
from convexpy.values import decode_id

Payload = dict[str, Any]


def prepare(run: Run, payload: Payload) -> Payload:
    """Make room for the new code.

    Returns:
        `{"push": its id, "checks": [{"namespace", "table"}…], "builds": [{"index", "name"}…]}`: what is to be checked
        and built before it may switch.

    Raises:
        InvalidRequest: a table would have too many indexes.
    """
    is_resumed = end_pushes(run)
    schemas, before = schemas_of(run), schemas_in_force(run)
    push = begin_push(run, schemas)
    paths: dict[int, str] = {}
    for path, schema in schemas.items():
        namespace = _ensure_component(run, path)
        paths[namespace] = path
        for name in schema["tables"]:
            ensure_table(run.transaction, namespace, name)
    checks: list[Payload] = []
    builds: list[Payload] = []
    for table in _tables(run):
        mounted = paths.get(table.namespace)
        schema = NO_SCHEMA if mounted is None else schemas[mounted]
        validator = None if mounted is None else validator_to_check(before.get(mounted, NO_SCHEMA), schema, table.name)
        if validator is not None:
            checks.append({"namespace": table.namespace, "table": table.name})
        if validator is not None or table.pending_schema is not None:
            pending = None if validator is None else PendingSchema(push, validator)
            table = set_pending_schema(run.transaction, table, pending)
        builds += install_indexes(run, table, _declared(schema, table), is_resumed=is_resumed)
    return {"push": push, "checks": checks, "builds": builds}


def _ensure_component(run: Run, path: str) -> int:
    known = run.namespaces()
    if path in known:
        return known[path]
    namespace = 1
    for row in run.transaction.scan(COMPONENTS, COMPONENTS.indexes["by_namespace"], IndexBounds(), descending=True):
        namespace = int(row["namespace"]) + 1
        break
    run.transaction.insert(COMPONENTS, {"path": path, "namespace": namespace})
    run.new_namespaces[path] = namespace
    return namespace


def _tables(run: Run) -> Iterator[TableInfo]:
    """All tables, as this run has changed them so far."""
    names = run.transaction.catalog.by_name.keys() | run.transaction.new_tables.keys()
    for namespace, name in sorted(names):
        table = find_table(run.transaction, namespace, name)
        assert table is not None
        yield table


def _declared(schema: Payload, table: TableInfo) -> list[Payload]:
    declared: list[Payload] = schema["tables"].get(table.name, {"indexes": []})["indexes"]
    return declared


def switch(run: Run, payload: Payload) -> Payload:
    """Make the new generation the only one that may commit. Nothing is read but rows of the platform.

    Payload: `push`, `generation`, `description` (stored in `_modules`).

    Returns:
        `{"added", "removed", "staged", "enabled"}`: names of indexes for the operator.

    Raises:
        InvalidRequest: somebody wrote a document that does not match its new schema; nothing has changed.
        PushSuperseded: another push was begun.
    """
    require_pending(run, payload["push"])
    schemas = schemas_of(run)
    paths = {run.namespaces()[path]: path for path in schemas}
    changes = IndexChanges()
    for table in _tables(run):
        if table.pending_schema is not None:
            table = set_pending_schema(run.transaction, table, None)
        if table.namespace in paths:
            settle_indexes(run, table, _declared(schemas[paths[table.namespace]], table), changes)
    stored = stored_module(run)
    row = {"path": "", "generation": payload["generation"], "schemas": encoded(schemas), **payload["description"]}
    if stored is None:
        run.transaction.insert(MODULES, row)
    else:
        kept = {"_id": stored["_id"], "_creationTime": stored["_creationTime"]}
        run.transaction.replace(MODULES, decode_id(stored["_id"])[1], {**row, **kept})
    end_pushes(run)
    run.new_generation = payload["generation"]
    return vars(changes)


def abandon(run: Run, payload: Payload) -> None:
    """Leave nothing pending of a push that will not switch."""
    if end_pushes(run):
        for table in _tables(run):
            if table.pending_schema is not None:
                table = set_pending_schema(run.transaction, table, None)
            drop_pending_indexes(run, table)


def _unfinished_builds(run: Run, payload: Payload) -> list[Payload]:
    return unfinished_builds(run)


PUSH_FUNCTIONS: dict[str, Callable[[Run, Any], Any]] = {
    "push.prepare": prepare,
    "push.check_documents": check_documents,
    "push.build_index": build_chunk,
    "push.switch": switch,
    "push.abandon": abandon,
    "push.unfinished_builds": _unfinished_builds,
}
