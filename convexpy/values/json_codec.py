"""Values as JSON, in the three forms that clients know. Source: wire-protocol 5.1, 5.3.

    convex_encoded_json   lossless: {"$integer"}, {"$bytes"}, {"$float"}; every number with a point or an exponent
    json                  plain: int64, bytes and special floats as strings; lossy
    export_json           int64 as a bare integer, {"$bytes"}, {"$float"}

One walk over the tree checks and translates, msgspec writes and reads the text.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Callable
from typing import Any

import msgspec

from convexpy.errors import InvalidValue
from convexpy.limits import ARRAY_ITEMS_MAX, OBJECT_FIELDS_MAX, SAFE_INTEGER_MAX, VALUE_DEPTH_MAX
from convexpy.values.checking import (
    Leaves,
    Refusal,
    checked_int,
    is_field_name,
    refused_container,
    refused_field_name,
    translated,
)
from convexpy.values.types import Int64

_encode = msgspec.json.Encoder(order="sorted").encode
_decoder = msgspec.json.Decoder()
_F64 = struct.Struct("<d")
_I64 = struct.Struct("<q")
_SPECIAL_NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}


def encode_json(value: Any) -> bytes:
    """Convex-encoded JSON of a value; keys sorted, no spaces.

    Raises:
        InvalidValue: no Convex value; names the part and its path.
    """
    return _encode(translated(value, _LOSSLESS))


def encode_clean_json(value: Any) -> bytes:
    """Plain JSON: int64 as decimal string, bytes as base64, NaN and infinities by name."""
    return _encode(translated(value, _CLEAN))


def encode_export_json(value: Any) -> bytes:
    """Export JSON: int64 as a bare integer, the rest lossless."""
    return _encode(translated(value, _EXPORT))


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "convex_encoded_json": encode_json,
    "json": encode_clean_json,
    "export_json": encode_export_json,
}


def encode_as(value: Any, format: str) -> bytes:
    """A value in a named form."""
    return _ENCODERS[format](value)


def _float_of_int(number: int) -> float:
    return float(checked_int(number))


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _lossless_int64(number: Int64) -> Any:
    return {"$integer": _base64(_I64.pack(number))}


def _lossless_bytes(raw: bytes) -> Any:
    return {"$bytes": _base64(raw)}


def _lossless_float(number: float) -> Any:
    if number - number == 0 and (number != 0 or math.copysign(1, number) > 0):  # finite, and not -0.0
        return number
    return {"$float": _base64(_F64.pack(number))}


def _named_float(number: float) -> Any:
    return number if math.isfinite(number) else _SPECIAL_NAMES.get(number, "NaN")


def _export_float(number: float) -> Any:
    return number if math.isfinite(number) else {"$float": _base64(_F64.pack(number))}


_PLAIN: Leaves = {bool: None, type(None): None, int: _float_of_int}
_LOSSLESS: Leaves = {**_PLAIN, float: _lossless_float, Int64: _lossless_int64, bytes: _lossless_bytes}
_CLEAN: Leaves = {**_PLAIN, float: _named_float, Int64: str, bytes: _base64}
_EXPORT: Leaves = {**_PLAIN, float: _export_float, Int64: int, bytes: _lossless_bytes}


def decode_json(raw: bytes | str) -> Any:
    """The value of convex-encoded JSON.

    An integral number within ±2^53 arrives as `int` (`3` and `3.0` alike), any other number as `float`.

    Raises:
        InvalidValue: malformed JSON, or no Convex value.
    """
    try:
        tree = _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise InvalidValue(f"Invalid JSON: {error}") from None
    try:
        return _read(tree, VALUE_DEPTH_MAX)
    except Refusal as refusal:
        raise refusal.error(tree) from None


def _read(tree: Any, depth_left: int) -> Any:
    kind = type(tree)
    if kind is str or tree is None or kind is bool:
        return tree
    if kind is float:
        if tree.is_integer() and -SAFE_INTEGER_MAX <= tree <= SAFE_INTEGER_MAX:
            return int(tree) if tree != 0 or math.copysign(1, tree) > 0 else tree
        return tree
    if kind is int:
        return tree if -SAFE_INTEGER_MAX <= tree <= SAFE_INTEGER_MAX else _nearest_float(tree)
    if kind is list:
        if depth_left == 0 or len(tree) > ARRAY_ITEMS_MAX:
            raise refused_container(tree, depth_left)
        return _read_array(tree, depth_left - 1)
    if len(tree) == 1:
        name = next(iter(tree))
        if name.startswith("$"):
            return _read_special(name, tree[name])
    if depth_left == 0 or len(tree) > OBJECT_FIELDS_MAX:
        raise refused_container(tree, depth_left)
    return _read_object(tree, depth_left - 1)


def _read_array(tree: list[Any], depth_left: int) -> list[Any]:
    items: list[Any] = []
    try:
        for item in tree:
            items.append(_read(item, depth_left))
    except Refusal as refusal:
        raise refusal.inside(f"[{len(items)}]") from None
    return items


def _read_object(tree: dict[str, Any], depth_left: int) -> dict[str, Any]:
    fields = {}
    for name, item in tree.items():
        if not is_field_name(name):
            raise refused_field_name(name)
        if type(item) is str:
            fields[name] = item
            continue
        try:
            fields[name] = _read(item, depth_left)
        except Refusal as refusal:
            raise refusal.inside(f".{name}") from None
    return fields


def _nearest_float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        raise Refusal("A number is out of the range of float64") from None


def _read_special(name: str, text: Any) -> Any:
    if name not in ("$integer", "$bytes", "$float"):
        raise Refusal(f"Unknown special value {name[:40]!r}")
    try:
        raw = binascii.a2b_base64(text)
        is_canonical = binascii.b2a_base64(raw, newline=False) == text.encode()  # no decoder mode checks all of it
    except (binascii.Error, TypeError, ValueError):
        is_canonical = False
    if not is_canonical:
        raise Refusal(f"{name} is no padded base64")
    if name == "$bytes":
        return raw
    if len(raw) != 8:
        raise Refusal(f"{name} has {len(raw)} bytes, expected 8")
    if name == "$integer":
        return Int64(_I64.unpack(raw)[0])
    number = _F64.unpack(raw)[0]
    if math.isfinite(number) and not (number == 0 and math.copysign(1, number) < 0):
        raise Refusal(f"$float holds {number}, which must be a plain number")
    return number
