"""The one order of all values and its byte keys: runtime-semantics 2.6."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from convexpy.values import UNSET, UNSET_KEY, Int64, compare, equal, index_key, sort_key
from tests.values.strategies import NEGATIVE_NAN, near_values, numbers

ASCENDING: list[Any] = [
    UNSET,
    None,
    Int64(-(2**63)),
    Int64(-1),
    Int64(0),
    Int64(2**63 - 1),
    NEGATIVE_NAN,
    -math.inf,
    -1e308,
    -1,
    -5e-324,
    -0.0,
    0,
    5e-324,
    1,
    1.5,
    2**53,
    math.inf,
    math.nan,
    False,
    True,
    "",
    "\x00",
    "\x00\x00",
    "\x00a",
    "\x01",
    "a",
    "a\x00",
    "a\x00b",
    "aa",
    "\x7f",
    "\x80",
    "\uffff",
    "\U00010000",
    b"",
    b"\x00",
    b"\x00\xff",
    b"\x01",
    b"\xff",
    b"\xff\x00",
    [],
    [None],
    [None, None],
    [0],
    [[]],
    {},
    {"": None},
    {"": None, "a": 1},
    {"a": None},
    {"a": 1},
    {"a": 1, "b": 0},
    {"a": 2},
    {"aa": 0},
    {"b": None},
]


def sign(number: int) -> int:
    return (number > 0) - (number < 0)


def by_bytes(a: bytes, b: bytes) -> int:
    return sign((a > b) - (a < b))


def test_every_kind_has_its_place() -> None:
    """A list in ascending order; each pair is compared both ways, by comparison and by key."""
    for i, low in enumerate(ASCENDING):
        assert compare(low, low) == 0
        for high in ASCENDING[i + 1 :]:
            assert (compare(low, high), compare(high, low)) == (-1, 1), (low, high)
            assert sort_key(low) < sort_key(high), (low, high)


@given(near_values, near_values)
@example({"": UNSET}, {})
@example(["a\x00"], ["a", "\x00"])
def test_keys_are_ordered_as_values_are(a: Any, b: Any) -> None:
    assert compare(a, b) == by_bytes(sort_key(a), sort_key(b))
    assert equal(a, b) == (sort_key(a) == sort_key(b))


_rows = st.tuples(st.one_of(near_values, st.just(UNSET)), st.one_of(near_values, st.just(UNSET)), numbers)


@given(_rows, _rows, st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_composite_keys_are_ordered_as_tuples_even_with_ids_behind(
    a: tuple[Any, Any, Any], b: tuple[Any, Any, Any], id_a: bytes, id_b: bytes
) -> None:
    """Every index ends with a number, the creation time, so whatever follows cannot be taken for a part of a string."""
    expected = next((found for x, y in zip(a, b, strict=True) if (found := compare(x, y))), 0)

    assert by_bytes(index_key(a), index_key(b)) == expected
    assert by_bytes(index_key(a) + id_a, index_key(b) + id_b) == (expected or by_bytes(id_a, id_b))


@given(near_values, near_values, near_values)
def test_what_follows_a_key_stays_below_ff(first: Any, second: Any, longer: Any) -> None:
    """Ranges end in `key + 0xff`: above all that begins with the value, below every greater value."""
    assert sort_key(first) + sort_key(second) < sort_key(first) + b"\xff"
    if compare(longer, first) > 0:
        assert sort_key(longer) > sort_key(first) + b"\xff"


@given(st.lists(near_values, max_size=8), st.randoms(use_true_random=False))
def test_sorting_by_key_is_sorting_by_comparison(items: list[Any], shuffled: random.Random) -> None:
    ordered = sorted(items, key=sort_key)
    shuffled.shuffle(items)
    assert all(compare(low, high) <= 0 for low, high in pairwise(ordered))
    assert sorted(map(sort_key, items)) == [sort_key(item) for item in ordered]


def test_equality_does_not_follow_python() -> None:
    assert equal(3, 3.0)
    assert equal(math.nan, math.nan)
    assert equal({"a": 1, "b": 2}, {"b": 2, "a": 1.0})
    assert equal({"a": 1, "b": UNSET}, {"a": 1})
    assert not equal(True, 1)
    assert not equal(0.0, -0.0)
    assert not equal(Int64(1), 1)
    assert not equal("a", b"a")


def test_a_missing_field_has_a_key_of_its_own() -> None:
    assert sort_key(UNSET) == UNSET_KEY == index_key([UNSET])


@pytest.mark.parametrize("nothing", [(1, 2), {1}, object()])
def test_what_is_no_value_has_no_place(nothing: Any) -> None:
    for compute in (lambda: sort_key(nothing), lambda: compare(nothing, nothing)):
        with pytest.raises(TypeError, match=r"is no Convex value and has no place in their order\.$"):
            compute()
