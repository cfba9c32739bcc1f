"""Transactions against a model: plain dicts that are copied, sorted and compared without keys, logs or files."""

from __future__ import annotations

import copy
import shutil
import tempfile
from functools import cmp_to_key
from itertools import islice
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from convexpy.transactions.commit_messages import Committed
from convexpy.transactions.index_keys import ABOVE, IndexBounds
from convexpy.transactions.transaction import Transaction
from convexpy.transactions.write_log import WriteLog
from convexpy.values import UNSET, compare, equal, index_key, normalize
from tests.transactions.rig import Database, id_of, insert

Rows = dict[bytes, dict[str, Any]]

LONG = "x" * 410
field_values: st.SearchStrategy[Any] = st.sampled_from(
    [UNSET, None, 0, 1, 2.5, "", "a", "a\x00", "b", LONG, LONG + "a", LONG + "b", [1], {}]
)
INDEXES = {"by_a": ["a"], "by_ab": ["a", "b"], "by_creation_time": []}


def ordered(rows: Rows, index: str, descending: bool) -> list[dict[str, Any]]:
    """What an index is, by definition."""

    def in_order(one: tuple[bytes, dict[str, Any]], other: tuple[bytes, dict[str, Any]]) -> int:
        for field in (*INDEXES[index], "_creationTime"):
            if found := compare(one[1].get(field, UNSET), other[1].get(field, UNSET)):
                return found
        return -1 if one[0] < other[0] else int(one[0] > other[0])

    return [row for _, row in sorted(rows.items(), key=cmp_to_key(in_order), reverse=descending)]


class Model(RuleBasedStateMachine):
    """One open transaction at a time, with savepoints; what is committed is what the next one begins with."""

    ids: Bundle[bytes] = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.database = Database(Path(self.folder))
        self.table = self.database.create_table("rows", by_a=["a"], by_ab=["a", "b"])
        self.stored: Rows = {}
        self.rows: Rows = {}
        self.marks: list[tuple[Any, Rows]] = []
        self.transaction = self.database.begin()

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.folder)

    @initialize(target=ids, rows=st.lists(st.tuples(field_values, field_values), max_size=4))
    def begin_with_rows(self, rows: list[tuple[Any, Any]]) -> Any:
        made = [self.insert(a, b) for a, b in rows]
        self.commit()
        return multiple(*made)

    @rule(target=ids, a=field_values, b=field_values)
    def insert(self, a: Any, b: Any) -> bytes:
        row = insert(self.transaction, self.table, a=a, b=b)
        document = self.transaction.get(self.table, row)
        assert document is not None
        assert (document.get("a", UNSET), document.get("b", UNSET)) == (a, b)
        self.rows[row] = document
        return row

    @rule(row=ids, field=st.sampled_from("abc"), value=field_values)
    def patch(self, row: bytes, field: str, value: Any) -> None:
        if row in self.rows:
            changed = {**self.rows[row], field: value}
            self.rows[row] = {name: item for name, item in changed.items() if item is not UNSET}
            self.transaction.replace(self.table, row, normalize(changed))

    @rule(row=consumes(ids))
    def delete(self, row: bytes) -> None:
        if row in self.rows:
            del self.rows[row]
            self.transaction.delete(self.table, row)

    @rule()
    def savepoint(self) -> None:
        self.marks.append((self.transaction.savepoint(), copy.deepcopy(self.rows)))

    @rule()
    def rollback(self) -> None:
        if self.marks:
            mark, self.rows = self.marks.pop()
            self.transaction.rollback(mark)

    @rule()
    def commit(self) -> None:
        if self.transaction.commit_request("model", -1) is None:
            assert self.rows == self.stored
            self.database.end(self.transaction)
        else:
            self.database.committed(self.transaction)
        self.stored = copy.deepcopy(self.rows)
        self._begin()

    @rule()
    def give_up(self) -> None:
        self.database.end(self.transaction)
        self.rows = copy.deepcopy(self.stored)
        self._begin()

    def _begin(self) -> None:
        self.database.environment.advance(1)
        self.marks = []
        self.transaction = self.database.begin()

    @rule(
        index=st.sampled_from(sorted(INDEXES)),
        descending=st.booleans(),
        take=st.one_of(st.none(), st.integers(0, 3)),
        low=st.one_of(st.none(), st.tuples(field_values, st.booleans())),
        high=st.one_of(st.none(), st.tuples(field_values, st.booleans())),
    )
    def read(
        self,
        index: str,
        descending: bool,
        take: int | None,
        low: tuple[Any, bool] | None,
        high: tuple[Any, bool] | None,
    ) -> None:
        bounds = IndexBounds()
        expected = ordered(self.rows, index, descending)
        if INDEXES[index] and low is not None:
            key, accepted = index_key([low[0]]), (0, 1) if low[1] else (1,)
            bounds = bounds._replace(start=key if low[1] else key + ABOVE)
            expected = [row for row in expected if compare(row.get("a", UNSET), low[0]) in accepted]
        if INDEXES[index] and high is not None:
            key, accepted = index_key([high[0]]), (0, -1) if high[1] else (-1,)
            bounds = bounds._replace(end=key + ABOVE if high[1] else key)
            expected = [row for row in expected if compare(row.get("a", UNSET), high[0]) in accepted]
        scan = self.transaction.scan(self.table, self.table.indexes[index], bounds, descending)
        assert list(islice(scan, take)) == expected[:take]

    @invariant()
    def documents_are_the_same_by_id(self) -> None:
        found = self.transaction.scan_by_id(self.table, b"", b"\xff" * 17)
        assert {id_of(row["_id"]): row for row in found} == self.rows


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


@settings(max_examples=400, deadline=None)
@given(
    before=st.lists(field_values, max_size=5),
    index=st.sampled_from(["by_a", "by_creation_time"]),
    take=st.one_of(st.none(), st.integers(1, 3)),
    descending=st.booleans(),
    bound=field_values,
    changes=st.lists(st.tuples(st.integers(0, 5), st.one_of(st.just("delete"), field_values)), min_size=1, max_size=3),
)
def test_a_read_whose_set_was_not_written_gives_the_same_again(
    before: list[Any], index: str, take: int | None, descending: bool, bound: Any, changes: list[tuple[int, Any]]
) -> None:
    """The promise behind both validation and the query cache: no overlap, no difference. Changes are committed after
    the read; if the write log finds none of them in the read set, the same read on the new snapshot is equal."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder))
        table = database.create_table("rows", by_a=["a"])
        setup = database.begin()
        rows = [insert(setup, table, a=value) for value in (*before, 1)]
        database.committed(setup)

        def read(transaction: Transaction) -> list[dict[str, Any]]:
            bounds = IndexBounds(index_key([bound])) if index == "by_a" else IndexBounds()
            return list(islice(transaction.scan(table, table.indexes[index], bounds, descending), take))

        reader = database.begin()
        seen, reads = read(reader), reader.reads()
        log = WriteLog(reader.begin_ts, 1000)
        for place, change in changes:
            writer = database.begin()
            row = rows[place] if place < len(rows) else None
            if row is None:
                rows.append(insert(writer, table, a=None if change == "delete" else change))
            elif (document := writer.get(table, row)) is not None:
                if change == "delete":
                    writer.delete(table, row)
                else:
                    writer.replace(table, row, normalize({**document, "a": change}))
            if writer.commit_request("f", -1) is None:
                continue
            outcome = database.commit(writer, "f")
            assert isinstance(outcome, Committed)
            log.append(outcome.ts, outcome.keys, "f")

        again = read(database.begin())
        if log.first_overlap(reads, reader.begin_ts) is None:
            assert equal(again, seen)
        database.close()
