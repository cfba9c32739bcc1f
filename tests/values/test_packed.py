"""Stored bytes of values, and how large values count."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from convexpy.values import UNSET, Int64, depth_of, normalize, pack, size_of, unpack
from tests.values.strategies import bits, values


@given(values)
def test_storage_keeps_every_kind_and_every_bit(value: Any) -> None:
    """Unlike the wire it tells `int` from `float`, so code gets back what it stored."""
    assert bits(unpack(pack(value))) == bits(value)


def test_a_fresh_value_each_time() -> None:
    packed = pack({"a": []})
    unpack(packed)["a"].append(1)
    assert unpack(packed) == {"a": []}


def test_fields_without_value_are_not_stored() -> None:
    assert unpack(pack(normalize({"a": UNSET, "b": 1}))) == {"b": 1}


def test_what_nobody_has_normalized_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="UNSET is no Convex value"):
        pack({"a": UNSET})


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (None, 1),
        (True, 1),
        (1, 9),
        (1.5, 9),
        (Int64(1), 9),
        ("", 2),
        ("abc", 5),
        ("é", 4),
        ("\U00010000", 6),
        (b"abc", 5),
        ([], 2),
        ([1, None], 12),
        ({}, 2),
        ({"a": None}, 5),
        ({"a": None, "gone": UNSET}, 5),
        ({"name": "Ada", "tags": ["x"]}, 2 + 5 + 5 + 5 + 5),
    ],
    ids=repr,
)
def test_size_counts_by_convex_rules(value: Any, size: int) -> None:
    assert size_of(value) == size


def test_depth_counts_containers() -> None:
    values: list[Any] = [1, [], {}, [[]], {"a": [{}]}, [[], [[]]]]
    assert [depth_of(value) for value in values] == [0, 1, 1, 2, 3, 3]
