"""Indexes of a push: what is added and dropped, and the filling of those that are new.

A new index is in the catalog from `prepare` on, under a name that no code can say, and every write maintains it; the
documents that are older are entered chunk by chunk. Its row in `_index_builds` says how far that has come, and is there
until it is done. `switch` gives the index its name. A staged one is switched to whether it is done or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from convexpy.errors import InvalidRequest
from convexpy.limits import BACKFILL_BYTES_PER_COMMIT, BACKFILL_ROWS_PER_COMMIT, INDEXES_MAX
from convexpy.runtime.execution import Run
from convexpy.runtime.push_records import require_pending
from convexpy.storage.keys import ID_BYTES, index_entry_key
from convexpy.transactions.catalog_entries import IndexInfo, TableInfo, pending_name
from convexpy.transactions.index_keys import IndexBounds, sort_key_of
from convexpy.transactions.system_tables import INDEX_BUILDS
from convexpy.transactions.tables import change_indexes, index_entries_of, next_index_keyspace
from convexpy.values import decode_id, index_key

Payload = dict[str, Any]
Declared = list[dict[str, Any]]
BUILT_IN = "by_creation_time"


def install_indexes(run: Run, table: TableInfo, declared: Declared, *, is_resumed: bool) -> list[Payload]:
    """Add the declared indexes that a table lacks, as pending, and drop what other pushes have left pending.

    Args:
        is_resumed: a push was cut short, so what is pending and declared goes on from where it was.

    Returns:
        The builds that the push has to wait for: `{"index", "name"}` each.

    Raises:
        InvalidRequest: the table would have too many indexes.
    """
    wanted = {(index["name"], tuple(index["fields"])): index["staged"] for index in declared}
    known = {(index.declared_name, index.fields): index for index in table.indexes.values() if not index.is_pending}
    kept = list(known.values())
    for index in table.indexes.values():
        key = (index.declared_name, index.fields)
        if index.is_pending and is_resumed and key in wanted and key not in known:
            kept.append(index)
            known[key] = index
        elif index.is_pending:
            _forget_build(run, index.keyspace)
    missing = [key for key in wanted if key not in known]
    _check_count(table, len(kept) + len(missing) - 1)
    new = _new_indexes(run, table, missing)
    if len(new) or len(kept) != len(table.indexes):
        entries = {entry["name"]: entry for entry in index_entries_of(table)}
        table = change_indexes(run.transaction, table, [*(entries[index.name] for index in kept), *new])
    return [
        {"index": index.keyspace, "name": f"{table.name}.{index.declared_name}"}
        for index in table.indexes.values()
        if wanted.get((index.declared_name, index.fields)) is False and _build_of(run, index.keyspace) is not None
    ]


def _check_count(table: TableInfo, count: int) -> None:
    if count > INDEXES_MAX:
        raise InvalidRequest(
            f'Table "{table.name}" would have {count} indexes while the new ones are built, and may have '
            f"{INDEXES_MAX}. Remove some in a push of its own, then add the others."
        )


def _new_indexes(run: Run, table: TableInfo, missing: list[tuple[str, tuple[str, ...]]]) -> list[Payload]:
    if not missing:
        return []
    # The emptiness is read as a range: a first document that comes meanwhile makes this run again.
    is_empty = next(iter(run.transaction.scan_by_id(table, b"", b"\xff" * (ID_BYTES + 1))), None) is None
    first = next_index_keyspace(run.transaction)
    new = []
    for keyspace, (name, fields) in enumerate(missing, first):
        new.append({"name": pending_name(name), "fields": list(fields), "keyspace": keyspace, "state": "backfilling"})
        if not is_empty:
            run.transaction.insert(INDEX_BUILDS, {"index": keyspace, "after": None, "rows": 0})
    return new


@dataclass
class IndexChanges:
    """Names for the operator, `table.index` each."""

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    staged: list[str] = field(default_factory=list)
    enabled: list[str] = field(default_factory=list)


def settle_indexes(run: Run, table: TableInfo, declared: Declared, changes: IndexChanges) -> None:
    """Give a table the indexes that are declared, no others, and note what that changes."""
    wanted = {(index["name"], tuple(index["fields"])): index["staged"] for index in declared}
    settled: list[Payload] = []
    for index, entry in zip(table.indexes.values(), index_entries_of(table), strict=True):
        name = f"{table.name}.{index.declared_name}"
        is_staged = False if index.name == BUILT_IN else wanted.get((index.declared_name, index.fields))
        if is_staged is None:
            _forget_build(run, index.keyspace)
            if not index.is_pending:
                changes.removed.append(name)
            continue
        assert is_staged or _build_of(run, index.keyspace) is None, f"{name} is to be read before it is built"
        if is_staged and index.state != "staged":
            changes.staged.append(name)
        elif index.is_pending:
            changes.added.append(name)
        elif index.state == "staged" and not is_staged:
            changes.enabled.append(name)
        settled.append({**entry, "name": index.declared_name, "state": "staged" if is_staged else "ready"})
    if settled != index_entries_of(table):
        change_indexes(run.transaction, table, settled)


def drop_pending_indexes(run: Run, table: TableInfo) -> TableInfo:
    """Take the indexes of a push that failed out of a table."""
    pending = {index.name for index in table.indexes.values() if index.is_pending}
    if not pending:
        return table
    for name in pending:
        _forget_build(run, table.indexes[name].keyspace)
    kept = [entry for entry in index_entries_of(table) if entry["name"] not in pending]
    return change_indexes(run.transaction, table, kept)


# --- filling


def build_chunk(run: Run, payload: Payload) -> Payload:
    """Enter one chunk of older documents into an index: `index`, and `push` if one waits for it.

    Only who changes one of these documents at the same time conflicts with it.

    Returns:
        `{"rows": documents done so far, "is_done"}`; an index that was dropped meanwhile is done.
    """
    if payload.get("push") is not None:
        require_pending(run, payload["push"])
    transaction = run.transaction
    build = _build_of(run, payload["index"])
    if build is None:
        return {"rows": 0, "is_done": True}
    found = index_of_keyspace(run, payload["index"])
    if found is None:
        _forget_build(run, payload["index"])
        return {"rows": build["rows"], "is_done": True}
    table, index = found
    after = bytes.fromhex(build["after"] or "")
    documents, last = transaction.stored_chunk(table, after, BACKFILL_ROWS_PER_COMMIT, BACKFILL_BYTES_PER_COMMIT)
    transaction.add_index_entries(
        # In order, so that those of one page of the database are put one behind the other.
        sorted(index_entry_key(index.prefix, sort_key_of(index, row), internal_id) for internal_id, row in documents)
    )
    rows = build["rows"] + len(documents)
    if last is None:
        _forget_build(run, index.keyspace)
    else:
        build |= {"after": last.hex(), "rows": rows}
        transaction.replace(INDEX_BUILDS, decode_id(build["_id"])[1], build)
    return {"rows": rows, "is_done": last is None}


def unfinished_builds(run: Run) -> list[Payload]:
    """The staged indexes that are not built yet: `{"index", "name"}` each. Builds of indexes that are gone go."""
    builds: list[Payload] = []
    for row in list(run.transaction.scan(INDEX_BUILDS, INDEX_BUILDS.indexes["by_index"], IndexBounds())):
        found = index_of_keyspace(run, row["index"])
        if found is None:
            _forget_build(run, row["index"])
        elif not found[1].is_pending:
            builds.append({"index": row["index"], "name": f"{found[0].name}.{found[1].name}"})
    return builds


def index_of_keyspace(run: Run, keyspace: int) -> tuple[TableInfo, IndexInfo] | None:
    """An index that is in the catalog, and its table."""
    table = run.transaction.catalog.by_index_keyspace.get(keyspace)
    if table is None:
        return None
    return table, next(index for index in table.indexes.values() if index.keyspace == keyspace)


def _build_of(run: Run, keyspace: int) -> Payload | None:
    key = index_key([keyspace])
    bounds = IndexBounds(key, key + b"\xff")
    return next(iter(run.transaction.scan(INDEX_BUILDS, INDEX_BUILDS.indexes["by_index"], bounds)), None)


def _forget_build(run: Run, keyspace: int) -> None:
    build = _build_of(run, keyspace)
    if build is not None:
        run.transaction.delete(INDEX_BUILDS, decode_id(build["_id"])[1])
