"""JSON forms of values: wire-protocol 5.1 and 5.3."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given

from convexpy.errors import InvalidValue
from convexpy.values import UNSET, Int64, decode_json, encode_as, encode_clean_json, encode_export_json, encode_json
from tests.values.strategies import bits, values

VECTORS: list[tuple[Any, str]] = [
    (Int64(1), '{"$integer":"AQAAAAAAAAA="}'),
    (Int64(123), '{"$integer":"ewAAAAAAAAA="}'),
    (Int64(-1), '{"$integer":"//////////8="}'),
    (Int64(2**63 - 1), '{"$integer":"/////////38="}'),
    (Int64(-(2**63)), '{"$integer":"AAAAAAAAAIA="}'),
    (math.nan, '{"$float":"AAAAAAAA+H8="}'),
    (math.inf, '{"$float":"AAAAAAAA8H8="}'),
    (-math.inf, '{"$float":"AAAAAAAA8P8="}'),
    (-0.0, '{"$float":"AAAAAAAAAIA="}'),
    (b"\x00\x01\x02\xff", '{"$bytes":"AAEC/w=="}'),
]


@pytest.mark.parametrize(("value", "text"), VECTORS, ids=lambda part: str(part))
def test_the_vectors_of_the_protocol_hold_both_ways(value: Any, text: str) -> None:
    assert encode_json(value) == text.encode()
    assert bits(decode_json(text)) == bits(value)


def as_received(value: Any) -> Any:
    """What a value is after the wire, where int and float are one type."""
    if type(value) is float and value.is_integer() and abs(value) <= 2**53:
        is_negative_zero = value == 0 and math.copysign(1, value) < 0
        return value if is_negative_zero else int(value)
    if type(value) is list:
        return [as_received(item) for item in value]
    if type(value) is dict:
        return {name: as_received(item) for name, item in value.items()}
    return value


@given(values)
def test_a_value_comes_back_bit_for_bit(value: Any) -> None:
    """Only integral floats change: they come back as `int`, which is the same value of the same Convex type."""
    assert bits(decode_json(encode_json(value))) == bits(as_received(value))


@given(values)
def test_numbers_are_written_with_a_point_or_an_exponent(value: Any) -> None:
    """Clients that tell JSON's 1 from 1.0 (the Python HTTP client) must get floats."""
    bare: list[str] = []
    json.loads(encode_json(value), parse_int=lambda text: bare.append(text) or 0)  # type: ignore[func-returns-value]
    assert bare == []


@given(values)
def test_keys_are_sorted_and_nothing_is_padded(value: Any) -> None:
    raw = encode_json(value).decode()
    assert json.dumps(json.loads(raw, object_pairs_hook=sorted_only), separators=(",", ":"), ensure_ascii=False) == (
        json.dumps(json.loads(raw), separators=(",", ":"), ensure_ascii=False)
    )
    assert encode_json({"b": [], "a": 1}) == b'{"a":1.0,"b":[]}'


def sorted_only(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert [name for name, _ in pairs] == sorted(name for name, _ in pairs)
    return dict(pairs)


def test_integral_numbers_within_the_safe_range_arrive_as_int() -> None:
    arrived = decode_json("[3, 3.0, 9007199254740992, -9007199254740992.0, 9007199254740994, 0.5, -0.0, 1e300]")

    assert [type(item) for item in arrived] == [int, int, int, int, float, float, float, float]
    assert math.copysign(1, arrived[6]) == -1


def test_fields_without_value_are_left_out() -> None:
    assert encode_json({"a": UNSET, "b": {"c": UNSET}}) == b'{"b":{}}'


def test_the_plain_form_is_for_people() -> None:
    value = {"n": 1, "i": Int64(-5), "b": b"\x00\xff", "x": [math.nan, math.inf, -math.inf, -0.0], "s": "é"}

    assert encode_clean_json(value).decode() == (
        '{"b":"AP8=","i":"-5","n":1.0,"s":"é","x":["NaN","Infinity","-Infinity",-0.0]}'
    )


def test_the_export_form_keeps_integers_bare() -> None:
    value = {"n": 1, "i": Int64(-(2**63)), "b": b"\x00\xff", "x": [math.nan, -0.0]}

    assert encode_export_json(value).decode() == (
        '{"b":{"$bytes":"AP8="},"i":-9223372036854775808,"n":1.0,"x":[{"$float":"AAAAAAAA+H8="},-0.0]}'
    )


def test_forms_have_names() -> None:
    assert [encode_as(Int64(1), name) for name in ("convex_encoded_json", "json", "export_json")] == [
        b'{"$integer":"AQAAAAAAAAA="}',
        b'"1"',
        b"1",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "Invalid JSON: "),
        ("{", "Invalid JSON: "),
        ("", "Invalid JSON: "),
        ('"\\ud800"', "Invalid JSON: "),
        ('"\ud800"', "Invalid JSON: "),
        ("[" * 5000, "Invalid JSON: "),
        ("1e999", "Invalid JSON: "),
        ("1" + "0" * 400, "A number is out of the range of float64"),
        ('{"a":[1,{"$undefined":null}]}', "Unknown special value '$undefined' (present at path .a[1])"),
        ('{"$set":[]}', "Unknown special value '$set'"),
        ('{"$map":[]}', "Unknown special value '$map'"),
        ('{"$commitTs":null}', "Unknown special value '$commitTs'"),
        ('{"a":{"$integer":"AQAAAAAAAAA=","b":1}}', "Field '$integer' starts with a '$', which is reserved (present"),
        ('{"b":1,"$a":1}', "Field '$a' starts with a '$', which is reserved."),
        ('{"$integer":"AQ=="}', "$integer has 1 bytes, expected 8"),
        ('{"$float":"AQ=="}', "$float has 1 bytes, expected 8"),
        ('{"$float":"AAAAAAAA8D8="}', "$float holds 1.0, which must be a plain number"),
        ('{"$float":"AAAAAAAAAAA="}', "$float holds 0.0, which must be a plain number"),
        ('{"$bytes":"AAEC/w"}', "$bytes is no padded base64"),
        ('{"$bytes":"AB=="}', "$bytes is no padded base64"),
        ('{"$bytes":"AA==AA=="}', "$bytes is no padded base64"),
        ('{"$bytes":"-_-_"}', "$bytes is no padded base64"),
        ('{"$integer":"AQAAAAAAAAF="}', "$integer is no padded base64"),
        ('{"$bytes":"=="}', "$bytes is no padded base64"),
        ('{"$bytes":"AAAA="}', "$bytes is no padded base64"),
        ('{"$bytes":"A\\nAA="}', "$bytes is no padded base64"),
        ('{"$bytes":"é"}', "$bytes is no padded base64"),
        ('{"$bytes":null}', "$bytes is no padded base64"),
        ('{"$bytes":{}}', "$bytes is no padded base64"),
        ('{"a":{"é":1}}', "Field 'é' has characters outside of printable ASCII (present at path .a)."),
        ('{"a\\n":1}', "Field 'a\\n' has characters outside of printable ASCII."),
    ],
    ids=lambda part: part[:30],
)
def test_text_that_is_no_value_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidValue, match="^" + re.escape(reason)):
        decode_json(text)


@pytest.mark.parametrize("leaf", [Int64(7), b"x", math.nan])
def test_special_leaves_may_lie_as_deep_as_any(leaf: Any) -> None:
    """Their objects are notation, not levels of the value."""
    value = leaf
    for _ in range(64):
        value = [value]

    assert bits(decode_json(encode_json(value))) == bits(value)


@pytest.mark.parametrize(
    ("inside", "reason"),
    [
        ("[" * 65 + "]" * 65, "Value is too nested (maximum nesting 64) (present at path " + "[0]" * 64 + ")"),
        ("[" + ",".join("1" * 8193) + "]", "Array length is too long (8193 > maximum length 8192)"),
        (
            "{" + ",".join(f'"f{n}":1' for n in range(1025)) + "}",
            "Object has too many fields (1025 > maximum number 1024)",
        ),
        ('{"' + "n" * 1025 + '":1}', "Field '" + "n" * 40 + "'… is too long (1025 > maximum 1024)."),
    ],
    ids=["depth", "array", "object", "name"],
)
def test_limits_hold_on_arrival(inside: str, reason: str) -> None:
    with pytest.raises(InvalidValue, match="^" + re.escape(reason) + "$"):
        decode_json(inside)
