"""Values for property tests: all kinds, and kinds of near misses that an order or a codec could confuse."""

from __future__ import annotations

import math
import struct
from typing import Any

from hypothesis import strategies as st

from convexpy.values import Int64
from convexpy.values.types import INT64_MAX, INT64_MIN

NEGATIVE_NAN = struct.unpack("<d", b"\x00\x00\x00\x00\x00\x00\xf8\xff")[0]

_floats = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, NEGATIVE_NAN, 5e-324, 1e16, 1e22, 2.0**53]),
)
_ints = st.one_of(st.integers(-3, 3), st.integers(-(2**53), 2**53), st.sampled_from([2**53, -(2**53)]))
_int64s = st.one_of(
    st.integers(INT64_MIN, INT64_MAX), st.sampled_from([INT64_MIN, -1, 0, 1, 2**53 + 1, INT64_MAX])
).map(Int64)
_texts = st.text(st.characters(codec="utf-8"))
_names = st.text(st.characters(min_codepoint=32, max_codepoint=126)).filter(lambda name: not name.startswith("$"))
_near_texts = st.text(st.sampled_from("\x00\x01a\x7f\x80ÿ\ud7ff\uffff\U00010000\U0010ffff"), max_size=4)
_near_blobs = st.lists(st.sampled_from([0, 1, 2, 10, 254, 255]), max_size=4).map(bytes)
_near_names = st.sampled_from(["", " ", "a", "a ", "aa", "b", "~"])


def _trees(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
        max_leaves=8,
    )


numbers = st.one_of(_floats, _ints, _int64s)
values = _trees(st.one_of(st.none(), st.booleans(), _ints, _floats, _int64s, _texts, st.binary(max_size=20)), _names)
"""Any value at all."""

near_values = _trees(st.one_of(st.none(), st.booleans(), numbers, _near_texts, _near_blobs), _near_names)
"""Values that resemble each other: shared prefixes, zero bytes, empty names, the borders of UTF-8."""


def bits(value: Any) -> Any:
    """Something that is equal for two values only if they are the same, type and bit for bit."""
    kind = type(value)
    if kind is float:
        return (kind, struct.pack("<d", value))
    if kind is list:
        return (kind, [bits(item) for item in value])
    if kind is dict:
        return (kind, {name: bits(item) for name, item in value.items()})
    return (kind, value)
