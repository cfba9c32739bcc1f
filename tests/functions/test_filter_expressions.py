"""Filter expressions: total order, strict arithmetic, booleans only. Source: runtime-semantics 2.5."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from convexpy.errors import QueryError
from convexpy.functions.filter_expressions import FilterBuilder, matches
from convexpy.values import UNSET, Int64, equal

Build = Callable[[FilterBuilder], Any]
DOCUMENT = {"n": 7, "i": Int64(-7), "s": "x", "o": {"deep": None}, "yes": True, "big": Int64(2**63 - 1)}
Q = FilterBuilder()


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda q: q.eq(q.field("n"), 7.0), True),
        (lambda q: q.eq(q.field("i"), -7), False),
        (lambda q: q.lt(q.field("i"), q.field("n")), True),
        (lambda q: q.gt(q.field("s"), 10**6), True),
        (lambda q: q.eq(q.field("missing"), UNSET), True),
        (lambda q: q.neq(q.field("o.deep"), UNSET), True),
        (lambda q: q.eq(q.field("s.deep"), UNSET), True),
        (lambda q: q.gte(None, UNSET), True),
        (lambda q: q.lte(q.field("yes"), "x"), True),
        (lambda q: q.and_(False, q.field("s")), False),
        (lambda q: q.or_(True, q.field("s")), True),
        (lambda q: q.not_(q.field("yes")), False),
        (lambda q: True, True),
    ],
)
def test_conditions(build: Build, expected: bool) -> None:
    assert matches(build(Q), DOCUMENT) is expected


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda q: q.add(q.field("n"), 0.5), 7.5),
        (lambda q: q.div(q.field("n"), 2), 3.5),
        (lambda q: q.div(q.field("n"), 0), math.inf),
        (lambda q: q.div(q.field("n"), -0.0), -math.inf),
        (lambda q: q.div(0, 0), math.nan),
        (lambda q: q.mod(-7, 3), -1.0),
        (lambda q: q.mod(7, 0), math.nan),
        (lambda q: q.div(q.field("i"), Int64(2)), Int64(-3)),
        (lambda q: q.mod(q.field("i"), Int64(2)), Int64(-1)),
        (lambda q: q.neg(q.field("i")), Int64(7)),
        (lambda q: q.neg(0), -0.0),
        (lambda q: q.sub(q.mul(q.field("n"), 2), 4), 10),
    ],
)
def test_arithmetic(build: Build, expected: Any) -> None:
    assert equal(build(Q).evaluate(DOCUMENT), expected)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda q: q.add(q.field("i"), 1),
            "`add` needs two int64 or two float64, not int64 and float64.",
        ),
        (lambda q: q.mul(q.field("missing"), 1), "not undefined and float64."),
        (lambda q: q.add(q.field("big"), Int64(1)), "Filter operator `add` failed on 9223372036854775807 and 1: "),
        (lambda q: q.div(Int64(1), Int64(0)), "Filter operator `div` failed on 1 and 0: "),
        (lambda q: q.mod(Int64(1), Int64(0)), "Filter operator `mod` failed on 1 and 0: "),
        (lambda q: q.neg(Int64(-(2**63))), "Filter operator `neg` failed on -9223372036854775808: "),
        (lambda q: q.neg(q.field("yes")), "Cannot negate a boolean in a filter."),
        (lambda q: q.field("s"), "`filter` in a filter needs a boolean, not string."),
        (lambda q: q.and_(True, 1), "`and_` in a filter needs a boolean, not float64."),
        (lambda q: q.not_(None), "`not_` in a filter needs a boolean, not null."),
    ],
)
def test_mistakes_are_refused(build: Build, text: str) -> None:
    with pytest.raises(QueryError) as refused:
        matches(build(Q), DOCUMENT)
    assert text in str(refused.value)


def test_python_operators_are_refused() -> None:
    with pytest.raises(QueryError, match="has no truth value before it sees a document"):
        Q.eq(1, 1) and Q.eq(2, 2)


def test_a_filter_has_at_most_256_operators() -> None:
    condition = Q.eq(Q.field("n"), 7)
    for _ in range(254):
        condition = Q.not_(condition)
    assert matches(condition, DOCUMENT)
    with pytest.raises(QueryError, match="at most 256 operators"):
        Q.not_(condition)
