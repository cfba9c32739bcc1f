"""What is drawn for the model: values, indexes and filters, and the operations of a transaction made of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from convexpy import Int64
from tests.model import plain
from tests.model.plain import MISSING

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
