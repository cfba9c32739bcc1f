"""What a push does to the database, as system functions of the new generation's workers.

    prepare        components get their namespaces, tables of the schemas exist, new indexes are there as backfilling
    backfill       a batch of one index's missing entries; writers keep the index from `prepare` on
    switch         one commit: every document matches its schema, new indexes are ready, dropped ones are gone, and
                   from here on only the new generation may commit
    drop_entries   a batch of a dropped index's entries

Until `switch` nothing that the old code sees has changed. A failed push leaves pending indexes behind; the next push
takes them over or drops them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convexpy.errors import InvalidRequest, ValidationFailed
from convexpy.functions.database import NamespaceTables
from convexpy.limits import BACKFILL_ROWS_PER_COMMIT
from convexpy.runtime.execution import Run
from convexpy.storage.keys import ID_BYTES, index_entry_key
from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.index_keys import IndexBounds, sort_key_of
from convexpy.transactions.system_tables import COMPONENTS, MODULES
from convexpy.transactions.tables import change_indexes, ensure_table, find_table, next_index_keyspace
from convexpy.values import decode_id, index_key

Payload = dict[str, Any]
NO_SCHEMA: Payload = {"tables": {}, "schema_validation": False}
_WHOLE_TABLE = (b"", b"\xff" * (ID_BYTES + 1))


def prepare(run: Run, payload: Payload) -> dict[str, Any]:
    """Make room for the new code; answers `{"backfill": [[namespace, table, index]…]}`."""
    instances = run.generation.application.instances
    for path in instances:
        _ensure_component(run, path)
    backfill: list[list[Any]] = []
    for path, instance in instances.items():
        if instance.schema is None:
            continue
        namespace = run.namespaces()[path]
        for name, declared in instance.schema.export()["tables"].items():
            table = ensure_table(run.transaction, namespace, name)
            backfill += [[namespace, name, index] for index in _add_indexes(run, table, declared["indexes"])]
    return {"backfill": backfill}


def _ensure_component(run: Run, path: str) -> None:
    if path in run.namespaces():
        return
    namespace = 1
    for row in run.transaction.scan(COMPONENTS, COMPONENTS.indexes["by_namespace"], IndexBounds(), descending=True):
        namespace = int(row["namespace"]) + 1
        break
    run.transaction.insert(COMPONENTS, {"path": path, "namespace": namespace})
    run.new_namespaces[path] = namespace


def _add_indexes(run: Run, table: TableInfo, declared: list[dict[str, Any]]) -> list[str]:
    """Add the declared indexes that the table lacks; answers the names of those that need a backfill."""
    kept = _index_entries(table)
    known = {(entry["name"], tuple(entry["fields"])): entry for entry in kept}
    is_empty = next(iter(run.transaction.scan_by_id(table, *_WHOLE_TABLE)), None) is None
    missing = []
    for index in declared:
        pending = known.get((_pending_name(index["name"]), tuple(index["fields"])))
        if (index["name"], tuple(index["fields"])) in known:
            continue
        if pending is None:
            keyspace = max(next_index_keyspace(run.transaction), *(entry["keyspace"] + 1 for entry in kept))
            # Under a name that no code can say: the old code may have an index of this name with other fields.
            kept.append(
                {
                    "name": _pending_name(index["name"]),
                    "fields": index["fields"],
                    "keyspace": keyspace,
                    "state": "backfilling",
                }
            )
        if not is_empty:
            missing.append(_pending_name(index["name"]))
    if len(kept) > len(table.indexes):
        change_indexes(run.transaction, table, kept)
    return missing


def _index_entries(table: TableInfo) -> list[dict[str, Any]]:
    return [
        {"name": index.name, "fields": list(index.fields), "keyspace": index.keyspace, "state": index.state}
        for index in table.indexes.values()
    ]


def _pending_name(name: str) -> str:
    return f"{name} (pending)"


def backfill(run: Run, payload: Payload) -> str | None:
    """Add the entries of one batch of documents; answers the last id done, None at the end.

    Payload: `namespace`, `table`, `index`, `after` (an id, or None to begin).
    """
    table = find_table(run.transaction, payload["namespace"], payload["table"])
    assert table is not None, f"table {payload['table']} is being backfilled but does not exist"
    index = table.indexes[payload["index"]]
    after = payload["after"]
    start = b"" if after is None else decode_id(after)[1] + b"\x00"
    entries = []
    last: str | None = None
    for row in run.transaction.scan_by_id(table, start, _WHOLE_TABLE[1]):
        last = row["_id"]
        entries.append(index_entry_key(index.prefix, sort_key_of(index, row), decode_id(row["_id"])[1]))
        if len(entries) == BACKFILL_ROWS_PER_COMMIT:
            break
    run.transaction.add_index_entries(entries)
    return last if len(entries) == BACKFILL_ROWS_PER_COMMIT else None


def switch(run: Run, payload: Payload) -> dict[str, Any]:
    """Make the new generation the only one that may commit.

    Payload: `generation`, `description` (stored in `_modules`).

    Returns:
        `{"dropped": [index keyspace…], "added": [...], "removed": [...]}`; names for the operator.

    Raises:
        InvalidRequest: a document does not match its schema; the text names it, and nothing has changed.
    """
    application = run.generation.application
    dropped: list[int] = []
    added: list[str] = []
    removed: list[str] = []
    stored = _stored_module(run)
    before = {} if stored is None else stored["schemas"]
    schemas: dict[str, Any] = {}
    for path, instance in application.instances.items():
        namespace = run.namespaces()[path]
        export = NO_SCHEMA if instance.schema is None else instance.schema.export()
        schemas[path] = export
        _validate_documents(run, path, namespace, before.get(path, NO_SCHEMA), export)
        for table in [found for found in run.transaction.catalog.by_name.values() if found.namespace == namespace]:
            declared = export["tables"].get(table.name, {"indexes": []})["indexes"]
            _settle_indexes(run, table, declared, dropped, added, removed)
    row = {
        "path": "",
        "hash": payload["description"]["hash"],
        "schemas": schemas,
        "auth": payload["description"]["auth"],
        "generation": payload["generation"],
    }
    if stored is None:
        run.transaction.insert(MODULES, row)
    else:
        kept = {"_id": stored["_id"], "_creationTime": stored["_creationTime"]}
        run.transaction.replace(MODULES, decode_id(stored["_id"])[1], {**row, **kept})
    run.new_generation = payload["generation"]
    return {"dropped": dropped, "added": added, "removed": removed}


def _stored_module(run: Run) -> dict[str, Any] | None:
    key = index_key([""])
    bounds = IndexBounds(key, key + b"\xff")
    return next(iter(run.transaction.scan(MODULES, MODULES.indexes["by_path"], bounds)), None)


def _validate_documents(run: Run, path: str, namespace: int, before: Payload, after: Payload) -> None:
    """Check every document of the tables whose validator is new or was not enforced. The scan is in the read set: who
    writes meanwhile makes the push run again."""
    schema = run.generation.application.instances[path].schema
    if schema is None:
        return
    host = _SchemaHost(run, namespace)
    enforced = before["tables"] if before["schema_validation"] else {}
    for name, declared in after["tables"].items():
        validator = schema.enforced_validator(name)
        known = enforced.get(name)
        if validator is None or (known is not None and known["validator"] == declared["validator"]):
            continue
        table = find_table(run.transaction, namespace, name)
        if table is None:
            continue
        for row in run.transaction.scan_by_id(table, *_WHOLE_TABLE):
            fields = {key: value for key, value in row.items() if key not in ("_id", "_creationTime")}
            try:
                validator.check(fields, NamespaceTables(host))  # type: ignore[arg-type]
            except ValidationFailed as error:
                raise InvalidRequest(
                    f'Document with ID "{row["_id"]}" in table "{name}" does not match the schema: {error}'
                ) from error


class _SchemaHost:
    """Just enough of a run for `v.id(...)` to find table names."""

    def __init__(self, run: Run, namespace: int) -> None:
        self.transaction, self.namespace = run.transaction, namespace


def _settle_indexes(
    run: Run,
    table: TableInfo,
    declared: list[dict[str, Any]],
    dropped: list[int],
    added: list[str],
    removed: list[str],
) -> None:
    wanted = {(index["name"], tuple(index["fields"])): index["staged"] for index in declared}
    settled: list[dict[str, Any]] = []
    for index in table.indexes.values():
        name = index.name.removesuffix(" (pending)")
        state = index.state
        if name != "by_creation_time":
            staged = wanted.get((name, index.fields))
            if staged is None:
                dropped.append(index.keyspace)
                if name == index.name:
                    removed.append(f"{table.name}.{name}")
                continue
            state = "staged" if staged else "ready"
            if name != index.name:
                added.append(f"{table.name}.{name}")
        settled.append({"name": name, "fields": list(index.fields), "keyspace": index.keyspace, "state": state})
    if settled != _index_entries(table):
        change_indexes(run.transaction, table, settled)


def drop_entries(run: Run, payload: Payload) -> bool:
    """Delete a batch of the entries of an index that no table has any more; answers whether there are more."""
    return run.transaction.drop_index_entries(payload["keyspace"], BACKFILL_ROWS_PER_COMMIT)


PUSH_FUNCTIONS: dict[str, Callable[[Run, Any], Any]] = {
    "push.prepare": prepare,
    "push.backfill": backfill,
    "push.switch": switch,
    "push.drop_entries": drop_entries,
}
