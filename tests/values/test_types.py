"""`Int64` and `UNSET`, the two kinds that Python lacks, and values in JavaScript notation."""

from __future__ import annotations

import copy
import math
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from convexpy.values import UNSET, Int64, Unset, js_text


@pytest.mark.parametrize(
    ("apply", "other", "expected"),
    [
        (operator.add, 3, 10),
        (operator.sub, 3, 4),
        (operator.mul, 3, 21),
        (operator.floordiv, 2, 3),
        (operator.mod, 4, 3),
        (operator.pow, 2, 49),
        (operator.and_, 3, 3),
        (operator.or_, 8, 15),
        (operator.xor, 1, 6),
        (operator.lshift, 1, 14),
        (operator.rshift, 1, 3),
    ],
)
def test_arithmetic_with_int_stays_in_the_type(apply: Callable[[Any, Any], Any], other: int, expected: int) -> None:
    for result in (apply(Int64(7), other), apply(Int64(7), Int64(other))):
        assert (type(result), result) == (Int64, expected)


def test_from_the_right_too_and_with_one_operand() -> None:
    results = [10 + Int64(3), 10 - Int64(3), 2 * Int64(3), 7 // Int64(2), 7 % Int64(4), -Int64(3), +Int64(3)]
    results += [abs(Int64(-3)), ~Int64(0), 6 & Int64(3), 6 | Int64(1), 6 ^ Int64(3), 2 ** Int64(3), 1 << Int64(2)]
    results += [8 >> Int64(1), *divmod(Int64(7), 2), *divmod(7, Int64(2)), round(Int64(15), -1)]

    assert {type(result) for result in results} == {Int64}
    assert results == [13, 7, 6, 3, 3, -3, 3, 3, -1, 2, 7, 5, 8, 4, 4, 3, 1, 3, 1, 20]


@pytest.mark.parametrize(
    "compute",
    [
        lambda: Int64(2**63),
        lambda: Int64(-(2**63) - 1),
        lambda: Int64(2**63 - 1) + 1,
        lambda: -Int64(-(2**63)),
        lambda: abs(Int64(-(2**63))),
        lambda: Int64(2**62) * 2,
        lambda: Int64(1) << 63,
        lambda: Int64(10) ** 19,
        lambda: Int64(10) ** 5000,
        lambda: divmod(Int64(-(2**63)), -1),
    ],
)
def test_leaving_64_bits_is_an_error(compute: Callable[[], Any]) -> None:
    with pytest.raises(OverflowError, match=r"does not fit in an Int64 \(-9223372036854775808 to 9223372036854"):
        compute()


def test_floats_win() -> None:
    assert type(Int64(1) / Int64(2)) is float
    assert type(Int64(1) + 0.5) is float


def test_int64_as_text() -> None:
    assert (repr(Int64(-5)), str(Int64(-5)), f"{Int64(-5)}", Int64("12")) == ("Int64(-5)", "-5", "-5", 12)


def test_int64_survives_copies() -> None:
    for made in (pickle.loads(pickle.dumps(Int64(5))), copy.deepcopy(Int64(5))):
        assert type(made) is Int64


def test_unset_is_one_falsy_thing() -> None:
    assert Unset() is UNSET
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET
    assert copy.deepcopy(UNSET) is UNSET
    assert (not UNSET, repr(UNSET)) == (True, "UNSET")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (UNSET, "undefined"),
        (True, "true"),
        (1, "1.0"),
        (1.5, "1.5"),
        (-0.0, "-0.0"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (Int64(5), "5n"),
        ('a"b\né', '"a\\"b\\né"'),
        (b"\x00\xff", "Bytes(00ff)"),
        ([1, "a"], '[1.0, "a"]'),
        ({"b": 1, "a": {}, "c d": None}, '{a: {}, b: 1.0, "c d": null}'),
        ({1}, "{1}"),
    ],
    ids=repr,
)
def test_values_in_javascript_notation(value: Any, text: str) -> None:
    assert js_text(value) == text


class Mute:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def endless() -> list[Any]:
    value: list[Any] = []
    value += [value, {"again": value}]
    return value


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (10**400, "<int of 1329 bits>"),
        (-(10**5000), "<int of 16610 bits>"),
        ({1: 2, "a": 3, None: 4}, "{[1.0]: 2.0, [null]: 4.0, a: 3.0}"),
        ("x\ud800", '"x\\ud800"'),
        ({"\ud800": 1}, '{"\\ud800": 1.0}'),
        ([Mute()], "[<Mute>]"),
        (endless(), "[[…], {again: […]}]"),
        (deep(65), "[" * 64 + "[…]" + "]" * 64),
        (deep(64), "[" * 64 + "]" * 64),
    ],
    ids=["int", "long int", "names", "surrogate", "surrogate name", "mute", "cycle", "too deep", "deep"],
)
def test_what_is_no_value_has_a_text_too(thing: Any, text: str) -> None:
    """Error texts and log lines show whatever a user's code holds, and always as valid Unicode."""
    assert js_text(thing) == text
