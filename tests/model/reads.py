"""One read as it was drawn: what it is where these rows and indexes are, and the engine's query for it."""

from __future__ import annotations

from typing import Any

from convexpy import UNSET, MutationCtx
from tests.model import plain
from tests.model.drawn import INDEXES
from tests.model.plain import MISSING, Read


def engine_value(value: Any) -> Any:
    return UNSET if value is MISSING else value


def read_of(model: plain.Database, ids: list[str], drawn: tuple[Any, ...]) -> Read:
    """The read that was drawn, with an index that is there and values that fit its fields."""
    table, place, equals, pool, low, high, descending, filter, take = drawn
    names = ["by_creation_time", "by_id", *model.tables[table].indexes]
    read = Read(table, names[place % len(names)], descending=descending, filter=filter, take=take)
    fields = model.fields(read)
    one, other, *plain_values = pool
    known = [row for own in model.tables.values() for row in own.rows.values()] or [{"_id": "", "_creationTime": 1}]

    def value_for(field: str, choice: int, value: Any) -> Any:
        is_taken = field in ("_id", "_creationTime") or choice % 2
        return plain.at(known[choice % len(known)], field) if is_taken else value

    equals = min(equals, len(fields))
    read.equal = tuple(
        value_for(field, one, value) for field, value in zip(fields[:equals], plain_values, strict=False)
    )
    if equals < len(fields):
        own = fields[equals]
        read.low = None if low is None else (value_for(own, one, plain_values[2]), low)
        read.high = None if high is None else (value_for(own, other, plain_values[3]), high)
    return read


def query_of(ctx: MutationCtx, read: Read) -> Any:
    fields = fields_of(read)

    def build(q: Any) -> Any:
        for field, value in zip(fields, read.equal, strict=False):
            q = q.eq(field, engine_value(value))
        for bound, names in ((read.low, ("gt", "gte")), (read.high, ("lt", "lte"))):
            if bound is not None:
                q = getattr(q, names[bound[1]])(fields[len(read.equal)], engine_value(bound[0]))
        return q

    query = ctx.db.query(read.table).with_index(read.index, build).order("desc" if read.descending else "asc")
    if read.filter is not None:
        path, comparison, value = read.filter
        query = query.filter(lambda q: getattr(q, comparison)(q.field(path), engine_value(value)))
    return query


def fields_of(read: Read) -> list[str]:
    return {"by_id": ["_id"]}.get(read.index, [*INDEXES.get(read.index, []), "_creationTime", "_id"])


def bounds_ids(model: plain.Database, read: Read) -> bool:
    """An index is read by keys that ids are no part of, so all rows of one creation time are looked at."""
    bounded = len(read.equal) + (read.low is not None or read.high is not None)
    return read.index != "by_id" and bounded == len(model.fields(read))


def has_long_keys(model: plain.Database, read: Read) -> bool:
    """Rows whose stored keys are cut are read in groups, so more of them than are asked for."""
    rows = model.tables[read.table].rows.values()
    return read.index not in ("by_id", "by_creation_time") and any(
        isinstance(row.get(name), str) and len(row[name]) > 300 for row in rows for name in "ab"
    )
