"""Random transactions, pages and pushes, through `execute` and the committer on a real LMDB, beside plain Python.

Every answer is compared, and so is the number of documents read for it. A step is one operation that was compared.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from convexpy import UNSET, ConvexpyError, Int64, MutationCtx, define_schema, define_table, v
from convexpy.functions.application import Application, load_application
from convexpy.testing import TestBackend
from tests.model import plain
from tests.model.nested import next_body
from tests.model.plain import MISSING, Read

LONG = "x" * 450
NAN = float("nan")
VALUES = [
    *(MISSING, MISSING, None, Int64(1), Int64(-1), 0, -0.0, 0.0, -0.0, 1, 2.5, NAN, False, True),
    *("", "a", "a\0", "b", b"", b"\xff", LONG, LONG + "a", LONG + "\0", [], [1], [1, None], {}, {"b": 1}, {"b": "x"}),
]
INDEXES = {"by_a": ["a"], "by_ab": ["a", "b"], "by_inner": ["a.b"], "by_ba": ["b", "a.b"]}
FILTERS: list[plain.Filter | None] = [
    *(None, None, ("a", "gt", None), ("a", "gt", 1), ("a", "gt", "a"), ("a", "eq", MISSING), ("a", "eq", 0)),
    *(("a.b", "eq", 1), ("a.b", "eq", MISSING), ("b", "lte", -0.0), ("b", "lte", True)),
]
values = st.sampled_from(VALUES)
tables = st.sampled_from(["one", "two"])
index_sets = st.lists(st.sampled_from(sorted(INDEXES)), unique=True, max_size=3)
numbers = st.integers(0, 30)
END = object()

_loaded: list[Application] = []
steps_compared = [0]


class Edge(NamedTuple):
    """Where a page begins or ends: the cursor, and the key of the row that it is just behind."""

    cursor: str | None
    place: Any


class Page(NamedTuple):
    """A page that was given out."""

    read: Read
    start: Edge
    end: Edge


BEGINNING = Edge(None, None)


class Abandoned(Exception):
    """A transaction that is given up at its end."""


class Difference(Exception):
    """Engine and model do not agree. What either of them raises by itself is something else: a crash."""


def require(agrees: bool, facts: Any) -> None:
    """Both must say the same."""
    if not agrees:
        raise Difference(facts)


def application(indexes: dict[str, dict[str, list[str]]]) -> Application:
    """The app with a schema of these indexes."""
    if not _loaded:
        _loaded.append(load_application(Path(__file__).parent / "app"))
    definitions = {}
    for name, own in indexes.items():
        table = define_table(v.any())
        for index, fields in own.items():
            table = table.index(index, fields)
        definitions[name] = table
    made = copy.copy(_loaded[0])
    made.instances = {"": replace(made.instances[""], schema=define_schema(definitions))}
    return made


def engine_value(value: Any) -> Any:
    return UNSET if value is MISSING else value


def shown(result: Any) -> Any:
    """What can be compared by `==`: NaN is itself, True is not 1, 3 is 3.0."""
    if isinstance(result, plain.Database | Abandoned):
        raise TypeError(result)
    return plain.place(result)


@st.composite
def reads(draw: st.DrawFn) -> tuple[Any, ...]:
    """A read to be: which index it takes is decided by those that are there."""
    return (
        draw(tables),
        draw(st.integers(0, 5)),
        draw(st.integers(0, 4)),
        draw(st.tuples(numbers, numbers, values, values, values, values)),
        draw(st.sampled_from([None, True, False])),
        draw(st.sampled_from([None, True, False])),
        draw(st.booleans()),
        draw(st.sampled_from(FILTERS)),
        draw(st.sampled_from([None, 0, 1, 2, 5])),
    )


writes = st.one_of(
    st.tuples(st.just("insert"), tables, values, values),
    st.tuples(st.just("insert"), tables, values, values),
    st.tuples(st.sampled_from(["patch", "replace"]), numbers, st.sampled_from("abc"), values),
    st.tuples(st.sampled_from(["delete", "get"]), numbers),
)
operations = st.one_of(
    writes,
    st.tuples(st.just("read"), reads()),
    st.tuples(st.just("change while reading"), reads(), writes),
    st.tuples(st.just("nested"), st.lists(writes, max_size=3), st.booleans()),
)


class Machine(RuleBasedStateMachine):
    """One deployment and its model."""

    on_end: Callable[[bool], None] = staticmethod(lambda has_failed: None)

    def __init__(self) -> None:
        super().__init__()
        self.backend: TestBackend | None = None
        self.ids: list[str] = []
        self.pages: list[Page] = []

    def teardown(self) -> None:
        error = sys.exc_info()[1]
        if self.backend is not None:
            self.backend.__exit__(None, None, None)
        self.on_end(isinstance(error, Exception))

    @initialize(one=index_sets, two=index_sets)
    def begin(self, one: list[str], two: list[str]) -> None:
        indexes = {"one": {name: INDEXES[name] for name in one}, "two": {name: INDEXES[name] for name in two}}
        self.backend = TestBackend(application(indexes)).__enter__()
        self.model = plain.Database(indexes)

    @rule(table=tables, names=index_sets, is_restart=st.booleans())
    def push(self, table: str, names: list[str], is_restart: bool) -> None:
        """Other indexes, over the rows that are there; cursors of indexes that go are forgotten. Or a restart, after
        which everything that was committed is there, and cursors that were given out go on."""
        assert self.backend is not None
        steps_compared[0] += 1
        if is_restart:
            self.backend.restart()
            return
        self.model.tables[table].indexes = {name: INDEXES[name] for name in names}
        self.backend.push(application({name: own.indexes for name, own in self.model.tables.items()}))
        self.pages = [page for page in self.pages if page.read.table != table]
        self.look_at_all()

    @rule(program=st.lists(operations, min_size=1, max_size=6), is_abandoned=st.sampled_from([False, False, True]))
    def transact(self, program: list[Any], is_abandoned: bool) -> None:
        assert self.backend is not None
        working = self.model.copy()
        ids = list(self.ids)

        def run(ctx: MutationCtx) -> None:
            for operation in program:
                self.perform(ctx, working, ids, operation)
            if is_abandoned:
                raise Abandoned

        try:
            self.backend.run(run)
        except Abandoned:
            return
        self.model, self.ids = working, ids
        self.look_at_all()

    @rule(program=st.lists(operations, min_size=2, max_size=8))
    def transact_much(self, program: list[Any]) -> None:
        """Rules are drawn evenly, and most of what can go wrong is in transactions."""
        self.transact(program, is_abandoned=False)

    @rule(
        read=reads(), size=st.integers(1, 4), choice=numbers, kind=st.sampled_from(["first", "next", "again", "again"])
    )
    def page(self, read: tuple[Any, ...], size: int, choice: int, kind: str) -> None:
        """A first page, the one behind a page that was given out, or such a page again, up to where it ended."""
        assert self.backend is not None
        asked, start, end = self.read_of(self.model, self.ids, read), BEGINNING, None
        if self.pages and kind != "first":
            before = self.pages[choice % len(self.pages)]
            asked = before.read
            start, end = (before.end, None) if kind == "next" else (before.start, before.end)
        rows = self.rows_behind(asked, start.place)
        if end is not None:
            last = end.place
            if last is not END:
                rows = [row for row in rows if not self.is_before(asked, last, self.key(asked, row))]
            expected = [row for row in rows if self.model.passes(asked, row)]
        else:
            last, expected = END, []
            for row in rows:
                if self.model.passes(asked, row):
                    expected.append(row)
                if len(expected) == size:
                    last = self.key(asked, row)
                    break
        options = {"numItems": size, "cursor": start.cursor, "endCursor": None if end is None else end.cursor}
        page = self.backend.run(lambda ctx: self.query(ctx, asked).paginate(options))
        require(shown(page["page"]) == shown(expected), (asked, options, page["page"], expected))
        require(page["isDone"] is (last is END), (asked, options, page["isDone"]))
        self.pages.append(Page(asked, start, Edge(page["continueCursor"], last)))
        del self.pages[:-12]
        steps_compared[0] += 1

    def look_at_all(self) -> None:
        """Every index whole, in both directions."""
        assert self.backend is not None
        asked = [
            Read(table, index, descending=descending)
            for table, own in self.model.tables.items()
            for index in ["by_creation_time", "by_id", *own.indexes]
            for descending in (False, True)
        ]
        found = self.backend.run(lambda ctx: [self.query(ctx, read).collect() for read in asked])
        for read, rows in zip(asked, found, strict=True):
            require(shown(rows) == shown(self.model.read(read)), (read, rows))
            steps_compared[0] += 1

    # --- one operation, in the engine and in the model

    def perform(self, ctx: MutationCtx, model: plain.Database, ids: list[str], operation: Any) -> None:
        steps_compared[0] += 1
        kind, *rest = operation
        if kind == "read":
            self.compare_read(ctx, model, ids, rest[0])
        elif kind == "change while reading":
            self.change_while_reading(ctx, model, ids, *rest)
        elif kind == "nested":
            self.nest(ctx, model, ids, *rest)
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
            self.change(ctx, model, ids[rest[0] % len(ids)], kind, rest[1:])

    def change(self, ctx: MutationCtx, model: plain.Database, id: str, kind: str, rest: list[Any]) -> None:
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

    def nest(self, ctx: MutationCtx, model: plain.Database, ids: list[str], body: list[Any], fails: bool) -> None:
        before, ids_before = model.copy(), list(ids)

        def run(inner: MutationCtx) -> None:
            for operation in body:
                self.perform(inner, model, ids, operation)
            if fails:
                raise Abandoned

        next_body.append(run)
        try:
            ctx.run_mutation("things:nested")
        except Abandoned:
            model.tables = before.tables
            ids[:] = ids_before

    def compare_read(self, ctx: MutationCtx, model: plain.Database, ids: list[str], drawn: tuple[Any, ...]) -> None:
        read = self.read_of(model, ids, drawn)
        usage = ctx._host.transaction.usage
        before = usage.documents_read
        query = self.query(ctx, read)
        found = query.collect() if read.take is None else query.take(read.take)
        require(shown(found) == shown(model.read(read)), (read, found))
        if not has_long_keys(model, read) and not bounds_ids(model, read):
            require(usage.documents_read - before == model.documents_read(read), (read, "documents read"))
        for row in found:
            row.clear()  # what was read belongs to the reader
        expected = model.read(replace(read, take=None))
        first = self.query(ctx, read).first()
        require(shown(first) == shown(expected[0] if expected else None), (read, "first", first))
        try:
            unique: Any = self.query(ctx, read).unique()
        except ConvexpyError as error:
            ids_shown = ", ".join(row["_id"] for row in expected[:2])
            text = f"unique() query returned more than one result from table {read.table}: [{ids_shown}, ...]"
            require(str(error) == text, (read, str(error)))
        else:
            is_same = len(expected) < 2 and shown(unique) == shown(expected[0] if expected else None)
            require(is_same, (read, "unique", unique))

    def change_while_reading(
        self, ctx: MutationCtx, model: plain.Database, ids: list[str], drawn: tuple[Any, ...], write: Any
    ) -> None:
        """After the first row: what changes in place comes changed, what moves or goes does not come any more."""
        read = replace(self.read_of(model, ids, drawn), filter=None, take=None)
        begun = [(row["_id"], model.key(read, row)) for row in model.in_range(read)]
        rows = iter(self.query(ctx, read))
        found, expected = [], []
        for number, (id, key) in enumerate(begun):
            current = model.tables[read.table].rows.get(id)
            if current is not None and model.key(read, current) == key:
                expected.append(current)
                found.append(next(rows, None))
            if number == 0:
                self.perform(ctx, model, ids, write)
        found += list(rows)
        require(shown(found) == shown(expected), (read, found))

    # --- reads

    def read_of(self, model: plain.Database, ids: list[str], drawn: tuple[Any, ...]) -> Read:
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

    def query(self, ctx: MutationCtx, read: Read) -> Any:
        fields = self.fields_of(read)

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

    def fields_of(self, read: Read) -> list[str]:
        return {"by_id": ["_id"]}.get(read.index, [*INDEXES.get(read.index, []), "_creationTime", "_id"])

    def key(self, read: Read, row: plain.Document) -> Any:
        return self.model.key(read, row)

    def is_before(self, read: Read, one: Any, other: Any) -> bool:
        return bool(one > other if read.descending else one < other)

    def rows_behind(self, read: Read, position: Any) -> list[plain.Document]:
        if position is END:
            return []
        rows = self.model.in_range(read)
        return (
            rows if position is None else [row for row in rows if self.is_before(read, position, self.key(read, row))]
        )


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
