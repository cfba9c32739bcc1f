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

from convexpy import MutationCtx, define_schema, define_table, v
from convexpy.functions.application import Application, load_application
from convexpy.testing import TestBackend
from tests.model import plain
from tests.model.comparing import Abandoned, perform, require, shown, steps_compared
from tests.model.drawn import INDEXES, index_sets, numbers, operations, reads, tables
from tests.model.plain import Read
from tests.model.reads import query_of, read_of

END = object()

_loaded: list[Application] = []


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
                perform(ctx, working, ids, operation)
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
        asked, start, end = read_of(self.model, self.ids, read), BEGINNING, None
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
        page = self.backend.run(lambda ctx: query_of(ctx, asked).paginate(options))
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
        found = self.backend.run(lambda ctx: [query_of(ctx, read).collect() for read in asked])
        for read, rows in zip(asked, found, strict=True):
            require(shown(rows) == shown(self.model.read(read)), (read, rows))
            steps_compared[0] += 1

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
