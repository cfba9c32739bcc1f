"""The one order of all values, as byte keys for the database and as a comparison.

undefined < null < int64 < float64 < boolean < string < bytes < array < object. int64 sorts before every float64; floats
by IEEE total order, so NaN has a place and -0 < 0; strings by UTF-8 bytes; arrays by items, objects by sorted
(name, value) pairs. `int` and `float` are both float64. Source: runtime-semantics 2.6.

A key is one tag byte (below 0x20) and a payload that delimits itself, so keys concatenate to composite keys. In a
string 0x00 is written 0x00 0xff and 0x00 ends it; what follows is a tag or nothing, and both are below 0xff.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from convexpy.values.types import UNSET, Int64

UNSET_KEY = b"\x01"
_NULL, _INT64, _FLOAT64, _FALSE, _TRUE, _STRING, _BYTES, _ARRAY, _OBJECT = (bytes((tag,)) for tag in range(2, 11))
_END = b"\x00"
_PAIR = b"\x01"  # before each field of an object: an empty name must not look like the end

_U64 = struct.Struct(">Q")
_I64 = struct.Struct(">q")
_F64 = struct.Struct(">d")
_SIGN = 1 << 63
_ALL = (1 << 64) - 1


def sort_key(value: Any) -> bytes:
    """The byte key of a value or of `UNSET`: `sort_key(a) < sort_key(b)` iff `compare(a, b) < 0`."""
    kind = type(value)
    if kind is str:
        return _STRING + _escaped(value.encode())
    if kind is float or kind is int:
        return _FLOAT64 + _float_bits(float(value))
    if value is None:
        return _NULL
    if value is UNSET:
        return UNSET_KEY
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is Int64:
        return _INT64 + _U64.pack(int(value) + _SIGN)
    if kind is bytes:
        return _BYTES + _escaped(value)
    if kind is list:
        return _ARRAY + b"".join([sort_key(item) for item in value]) + _END
    if isinstance(value, dict):
        pairs = [
            _PAIR + _escaped(name.encode()) + sort_key(value[name])
            for name in sorted(value)
            if value[name] is not UNSET
        ]
        return _OBJECT + b"".join(pairs) + _END
    raise TypeError(f"{value!r} is no Convex value and has no place in their order.")


def index_key(values: Iterable[Any]) -> bytes:
    """The composite key of several values."""
    return b"".join([sort_key(value) for value in values])


def _escaped(raw: bytes) -> bytes:
    return raw.replace(b"\x00", b"\x00\xff") + _END


def _float_bits(value: float) -> bytes:
    bits = _U64.unpack(_F64.pack(value))[0]
    return _U64.pack(bits ^ _ALL if bits & _SIGN else bits | _SIGN)


def compare(a: Any, b: Any) -> int:
    """-1, 0 or 1: how two values, or `UNSET`, stand in the order of all values."""
    rank_a, rank_b = _rank(a), _rank(b)
    if rank_a != rank_b:
        return -1 if rank_a < rank_b else 1
    if rank_a == 3:
        x, y = float(a), float(b)
        if x != y or x == 0 or x != x:
            return _order(_float_rank(x), _float_rank(y))
        return 0
    if rank_a == 7:
        for item_a, item_b in zip(a, b, strict=False):
            if found := compare(item_a, item_b):
                return found
        return _order(len(a), len(b))
    if rank_a == 8:
        return _compare_objects(a, b)
    if rank_a in (2, 4, 6):
        return _order(a, b)
    if rank_a == 5:
        return _order(a, b)  # Python's order of code points is the order of UTF-8 bytes
    return 0


def equal(a: Any, b: Any) -> bool:
    """Whether two values are the same value: 3 and 3.0 are, True and 1 are not, NaN is itself."""
    if a is b:
        return True
    if type(a) is str and type(b) is str:
        return bool(a == b)
    if isinstance(a, dict) and isinstance(b, dict):
        return _are_equal_objects(a, b)
    return compare(a, b) == 0


def _are_equal_objects(a: dict[str, Any], b: dict[str, Any]) -> bool:
    for name, item in a.items():
        other = b.get(name, UNSET)
        if item is not other and not equal(item, other):
            return False
    # All that `a` has is in `b`; does `b` have more?
    return len(a) == len(b) or all(name in a or item is UNSET for name, item in b.items())


def _compare_objects(a: dict[str, Any], b: dict[str, Any]) -> int:
    names_a = [name for name in sorted(a) if a[name] is not UNSET]
    names_b = [name for name in sorted(b) if b[name] is not UNSET]
    for name_a, name_b in zip(names_a, names_b, strict=False):
        if name_a != name_b:
            return _order(name_a, name_b)
        if found := compare(a[name_a], b[name_b]):
            return found
    return _order(len(names_a), len(names_b))


def _order(x: Any, y: Any) -> int:
    return -1 if x < y else int(x > y)


def _float_rank(value: float) -> int:
    bits = int(_I64.unpack(_F64.pack(value))[0])
    return bits if bits >= 0 else -(bits & (_SIGN - 1)) - 1


_RANKS = {type(None): 1, Int64: 2, int: 3, float: 3, bool: 4, str: 5, bytes: 6, list: 7, dict: 8}


def _rank(value: Any) -> int:
    if value is UNSET:
        return 0
    rank = _RANKS.get(type(value))
    if rank is None:
        if isinstance(value, dict):
            return 8
        raise TypeError(f"{value!r} is no Convex value and has no place in their order.")
    return rank
