"""What is a value and what is not: runtime-semantics 3.2, limits of wire-protocol 5.2."""

from __future__ import annotations

import datetime
import enum
import gc
import re
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from convexpy.errors import InvalidValue
from convexpy.values import UNSET, Int64, check_value, encode_json, is_identifier, normalize
from tests.values.strategies import bits, values


class Colour(str, enum.Enum):  # noqa: UP042  (its members are instances of str, which is the trap)
    RED = "red"


CHECKERS: list[Callable[[Any], Any]] = [check_value, normalize, encode_json]


def nested(levels: int) -> Any:
    value: Any = []
    for level in range(levels - 1):
        value = [value] if level % 2 else {"a": value}
    return value


CYCLE: list[Any] = []
CYCLE.append(CYCLE)

REFUSED: list[tuple[Any, str]] = [
    ((1, 2), "tuple (1, 2) is not a supported Convex type. Turn it into a list."),
    (
        {"a": [{"b": {1}}]},
        "set {1} is not a supported Convex type (present at path .a[0].b in original object {'a': [{'b': {1}}]})."
        " Turn it into a list.",
    ),
    ([1, UNSET], "undefined is not a supported Convex type (present at path [1] in original object [1, UNSET])."),
    (UNSET, "undefined is not a supported Convex type."),
    (
        [datetime.date(2024, 1, 2)],
        "date datetime.date(2024, 1, 2) is not a supported Convex type (present at path [0] in original object "
        "[datetime.date(2024, 1, 2)]).",
    ),
    (bytearray(b"x"), "bytearray bytearray(b'x') is not a supported Convex type."),
    (Colour.RED, "Colour <Colour.RED: 'red'> is not a supported Convex type."),
    (
        {"n": [2**53 + 1]},
        "9007199254740993 is beyond ±2^53, where float64 has gaps (present at path .n[0]). "
        "Wrap it: Int64(9007199254740993), with v.int64().",
    ),
    (2**63, "9223372036854775808 is beyond ±2^53, where float64 has gaps. Store it as a string."),
    (10**5000, "An int of 16610 bits is beyond ±2^53, where float64 has gaps. Store it as a string."),
    (
        [{1}, 10**5000],
        "set {1} is not a supported Convex type (present at path [0] in original object <list>). Turn it into a list.",
    ),
    ({"a": "x\ud800"}, "A string is not valid Unicode: it has a lone surrogate at 1 (present at path .a)."),
    ({"a": {1: 2}}, "Field names are strings, not 1 (present at path .a)."),
    ({Colour.RED: 2}, "Field names are strings, not <Colour.RED: 'red'>."),
    ({"$a": 2}, "Field '$a' starts with a '$', which is reserved."),
    ([{"é": 2}], "Field 'é' has characters outside of printable ASCII (present at path [0])."),
    ({"\x7f": 2}, "Field '\\x7f' has characters outside of printable ASCII."),
    ({"a\n": 2}, "Field 'a\\n' has characters outside of printable ASCII."),
    ({"n" * 1025: 2}, f"Field '{'n' * 40}'… is too long (1025 > maximum 1024)."),
    ([[0] * 8193], "Array length is too long (8193 > maximum length 8192) (present at path [0])"),
    (
        {"a": {str(n): n for n in range(1025)}},
        "Object has too many fields (1025 > maximum number 1024) (present at path .a)",
    ),
    (CYCLE, f"Value is too nested (maximum nesting 64) (present at path {'[0]' * 64})"),
]


@pytest.mark.parametrize("check", CHECKERS)
@pytest.mark.parametrize(("value", "text"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_value_is_refused_with_its_place(check: Callable[[Any], Any], value: Any, text: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        check(value)
    assert str(refused.value) == text


@pytest.mark.parametrize("check", CHECKERS)
@pytest.mark.parametrize(
    "value",
    [
        [0] * 8192,
        {str(n): n for n in range(1024)},
        nested(64),
        {"n" * 1024: 1},
        {"": {"_x": 1, " ~": 2}},
        [2**53, -(2**53)],
        [Int64(2**63 - 1), Int64(-(2**63))],
        "\U0010ffff\x00",
    ],
    ids=["array", "object", "depth", "name", "odd names", "ints", "int64", "text"],
)
def test_the_bound_itself_is_allowed(check: Callable[[Any], Any], value: Any) -> None:
    check(value)


@pytest.mark.parametrize("check", CHECKERS)
def test_one_level_more_is_too_nested(check: Callable[[Any], Any]) -> None:
    with pytest.raises(InvalidValue, match=r"^Value is too nested \(maximum nesting 64\)"):
        check(nested(65))


@given(values)
def test_a_copy_is_the_same_and_shares_nothing(value: Any) -> None:
    copied = normalize(value)

    assert bits(copied) == bits(value)
    assert not containers(copied) & containers(value)


def containers(value: Any) -> set[int]:
    if isinstance(value, list):
        return {id(value)}.union(*map(containers, value))
    if isinstance(value, dict):
        return {id(value)}.union(*map(containers, value.values()))
    return set()


def test_fields_without_value_vanish_at_every_depth() -> None:
    assert normalize({"a": UNSET, "b": [{"c": UNSET, "d": None}]}) == {"b": [{"d": None}]}


def test_a_dict_of_another_class_becomes_a_plain_one() -> None:
    assert type(normalize(OrderedDict(a=1))) is dict


def test_a_long_original_is_clipped() -> None:
    with pytest.raises(InvalidValue) as refused:
        check_value({"text": "x" * 10_000, "bad": {1}})
    assert len(str(refused.value)) < 500
    assert re.search(r"present at path \.bad in original object \{'text': 'x{190}…\)", str(refused.value))


def test_refused_names_are_not_kept() -> None:
    """Checks of names are cached; a client that sends long ones must not fill the memory with them."""
    tracemalloc.start()
    try:
        for n in range(20):
            with pytest.raises(InvalidValue):
                check_value({f"{n}" + "n" * 500_000: 1})
        gc.collect()  # what only waits for the collector is not kept
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 1_000_000


@pytest.mark.parametrize("name", ["a", "_a", "A9_", "_0", "a" * 64])
def test_identifiers(name: str) -> None:
    assert is_identifier(name)


@pytest.mark.parametrize("name", ["", "_", "___", "9a", "a-b", "é", "a" * 65, "a\n", "a b"])
def test_names_that_are_no_identifiers(name: str) -> None:
    assert not is_identifier(name)
