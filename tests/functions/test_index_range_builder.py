"""Index ranges as `with_index` builds them: their shape, their bounds, and the texts of runtime-semantics 2.4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from convexpy.errors import InvalidValue, QueryError
from convexpy.functions.index_range_builder import IndexRangeBuilder
from convexpy.transactions.catalog_entries import IndexInfo
from convexpy.transactions.index_keys import ABOVE, IndexBounds
from convexpy.values import UNSET, index_key

INDEX = IndexInfo("by_ab", 0x80000400, ("a", "b"), "ready")
Build = Callable[[IndexRangeBuilder], Any]


def built(build: Build) -> IndexBounds:
    builder = IndexRangeBuilder("t.by_ab")
    build(builder)
    return builder.bounds(INDEX)


@pytest.mark.parametrize(
    ("build", "start", "end"),
    [
        (lambda q: q, b"", ABOVE),
        (lambda q: q.eq("a", 1), index_key([1]), index_key([1]) + ABOVE),
        (lambda q: q.eq("b", 2).eq("a", 1), index_key([1, 2]), index_key([1, 2]) + ABOVE),
        (lambda q: q.eq("a", UNSET), index_key([UNSET]), index_key([UNSET]) + ABOVE),
        (lambda q: q.gt("a", UNSET), index_key([UNSET]) + ABOVE, ABOVE),
        (lambda q: q.gte("a", 1).lt("a", 5), index_key([1]), index_key([5])),
        (lambda q: q.lte("a", 5).gt("a", 1), index_key([1]) + ABOVE, index_key([5]) + ABOVE),
        (lambda q: q.eq("a", 1).lt("b", "x"), index_key([1]), index_key([1, "x"])),
        (
            lambda q: q.eq("a", 1).eq("b", 2).gte("_creationTime", 9),
            index_key([1, 2, 9]),
            index_key([1, 2]) + ABOVE,
        ),
    ],
)
def test_a_range_is_a_range_of_sort_keys(build: Build, start: bytes, end: bytes) -> None:
    assert built(build) == IndexBounds(start, end)


FIELDS = "Index fields: [`a`, `b`, `_creationTime`]."


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda q: q.eq("c", 1), "the index doesn't index this field. " + FIELDS),
        (lambda q: q.eq("b", 1), FIELDS + " Query fields: [`b`]. First incorrect field: a."),
        (lambda q: q.gt("b", 1), FIELDS + " Query fields: [`b`]. First incorrect field: a."),
        (lambda q: q.eq("b", 1).gt("a", 1), FIELDS + " Query fields: [`b`, `a`]. First incorrect field: a."),
        (lambda q: q.eq("a", 1).gt("a", 1), FIELDS + " Query fields: [`a`, `a`]. First incorrect field: b."),
        (lambda q: q.eq("a", 1).lt("_creationTime", 1), " First incorrect field: b."),
        (
            lambda q: q.eq("a", 1).eq("b", 1).eq("_creationTime", 1).gt("a", 1),
            "didn't use the index fields in order.",
        ),
        (lambda q: q.eq("a", 1).eq("a", 1), "Already defined equality bound in index range. Can't add another"),
        (lambda q: q.gt("a", 1).gte("a", 1), "Already defined lower bound in index range. Can't add another"),
        (lambda q: q.lt("a", 1).lte("a", 1), "Already defined upper bound in index range. Can't add another"),
        (lambda q: q.lt("a", 1).eq("b", 1), "Already defined inequality bound in index range. Can't add equality"),
        (lambda q: q.gt("a", 1).lt("b", 1), "Upper and lower bounds in `range` can only be applied to a single index"),
    ],
)
def test_a_wrong_range_is_refused(build: Build, text: str) -> None:
    with pytest.raises(QueryError) as refused:
        built(build)
    assert text in str(refused.value)


@pytest.mark.parametrize("value", [2**53 + 1, "\ud800", (1, 2), 10**400])
def test_bounds_that_are_no_values_are_refused(value: Any) -> None:
    """Their sort key would be a neighbour's, or none."""
    with pytest.raises(InvalidValue):
        IndexRangeBuilder("numbers.by_n").eq("n", value)
    with pytest.raises(InvalidValue):
        IndexRangeBuilder("numbers.by_n").gt("n", value)
