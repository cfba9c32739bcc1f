"""One operation of a transaction, in the engine and in the model: what each answers is compared at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from convexpy import ConvexpyError, MutationCtx
from tests.model import plain
from tests.model.nested import next_body
from tests.model.plain import MISSING
from tests.model.reads import bounds_ids, engine_value, has_long_keys, query_of, read_of

steps_compared = [0]


class Abandoned(Exception):
    """A transaction that is given up at its end."""


class Difference(Exception):
    """Engine and model do not agree. What either of them raises by itself is something else: a crash."""


def require(agrees: bool, facts: Any) -> None:
    """Both must say the same."""
    if not agrees:
        raise Difference(facts)


def shown(result: Any) -> Any:
    """What can be compared by `==`: NaN is itself, True is not 1, 3 is 3.0."""
    if isinstance(result, plain.Database | Abandoned):
        raise TypeError(result)
    return plain.place(result)


def perform(ctx: MutationCtx, model: plain.Database, ids: list[str], operation: Any) -> None:
    """Perform one of `drawn.operations`; `ids` are the documents that there are, or were."""
    steps_compared[0] += 1
    kind, *rest = operation
    if kind == "read":
        compare_read(ctx, model, ids, rest[0])
    elif kind == "change while reading":
        change_while_reading(ctx, model, ids, *rest)
    elif kind == "nested":
        nest(ctx, model, ids, *rest)
    elif kind == "insert":
        table, a, b = rest
        fields = {name: value for name, value in (("a", a), ("b", b)) if value is not MISSING}
        made = ctx.db.insert(table, {"a": engine_value(a), "b": engine_value(b)})
        document = ctx.db.get(made)
        if document is None or made in ids:
            raise Difference(("inserted", document, made))
        model.tables[table].rows[made] = {**fields, "_id": made, "_creationTime": document["_creationTime"]}
        require(shown(document) == shown(model.tables[table].rows[made]), (document, fields))
        ids.append(made)
    elif ids:
        change(ctx, model, ids[rest[0] % len(ids)], kind, rest[1:])


def change(ctx: MutationCtx, model: plain.Database, id: str, kind: str, rest: list[Any]) -> None:
    rows = next((table.rows for table in model.tables.values() if id in table.rows), None)
    verb = {"patch": "Update", "replace": "Replace", "delete": "Delete"}.get(kind)
    try:
        if kind == "get":
            found = ctx.db.get(id)
            require(shown(found) == shown(None if rows is None else rows[id]), (id, found))
        elif kind == "delete":
            ctx.db.delete(id)
            rows.pop(id) if rows is not None else None
        else:
            getattr(ctx.db, kind)(id, {rest[0]: engine_value(rest[1])})
            if rows is not None:
                before = rows[id]
                kept = before if kind == "patch" else {name: before[name] for name in ("_id", "_creationTime")}
                after = {**kept, rest[0]: rest[1]}
                rows[id] = {name: value for name, value in after.items() if value is not MISSING}
    except ConvexpyError as error:
        require(rows is None and str(error) == f"{verb} on nonexistent document ID {id}", str(error))
    else:
        require(rows is not None or kind == "get", (kind, id))


def nest(ctx: MutationCtx, model: plain.Database, ids: list[str], body: list[Any], fails: bool) -> None:
    before, ids_before = model.copy(), list(ids)

    def run(inner: MutationCtx) -> None:
        for operation in body:
            perform(inner, model, ids, operation)
        if fails:
            raise Abandoned

    next_body.append(run)
    try:
        ctx.run_mutation("things:nested")
    except Abandoned:
        model.tables = before.tables
        ids[:] = ids_before


def compare_read(ctx: MutationCtx, model: plain.Database, ids: list[str], drawn: tuple[Any, ...]) -> None:
    read = read_of(model, ids, drawn)
    usage = ctx._host.transaction.usage
    before = usage.documents_read
    query = query_of(ctx, read)
    found = query.collect() if read.take is None else query.take(read.take)
    require(shown(found) == shown(model.read(read)), (read, found))
    if not has_long_keys(model, read) and not bounds_ids(model, read):
        require(usage.documents_read - before == model.documents_read(read), (read, "documents read"))
    for row in found:
        row.clear()  # what was read belongs to the reader
    expected = model.read(replace(read, take=None))
    first = query_of(ctx, read).first()
    require(shown(first) == shown(expected[0] if expected else None), (read, "first", first))
    try:
        unique: Any = query_of(ctx, read).unique()
    except ConvexpyError as error:
        ids_shown = ", ".join(row["_id"] for row in expected[:2])
        text = f"unique() query returned more than one result from table {read.table}: [{ids_shown}, ...]"
        require(str(error) == text, (read, str(error)))
    else:
        is_same = len(expected) < 2 and shown(unique) == shown(expected[0] if expected else None)
        require(is_same, (read, "unique", unique))


def change_while_reading(
    ctx: MutationCtx, model: plain.Database, ids: list[str], drawn: tuple[Any, ...], write: Any
) -> None:
    """After the first row: what changes in place comes changed, what moves or goes does not come any more."""
    read = replace(read_of(model, ids, drawn), filter=None, take=None)
    begun = [(row["_id"], model.key(read, row)) for row in model.in_range(read)]
    rows = iter(query_of(ctx, read))
    found, expected = [], []
    for number, (id, key) in enumerate(begun):
        current = model.tables[read.table].rows.get(id)
        if current is not None and model.key(read, current) == key:
            expected.append(current)
            found.append(next(rows, None))
        if number == 0:
            perform(ctx, model, ids, write)
    found += list(rows)
    require(shown(found) == shown(expected), (read, found))
