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
from convexpy.values.checking import normalize, refuse_field_name
from convexpy.values.types import Int64

_encode = msgspec.json.Encoder(order="sorted").encode
_decoder = msgspec.json.Decoder()
_F64 = struct.Struct("<d")
_I64 = struct.Struct("<q")
_SPECIAL_NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}

Translate = Callable[[Any], Any]


def encode_json(value: Any) -> bytes:
    """Convex-encoded JSON of a value; keys sorted, no spaces.

    Raises:
        InvalidValue: no Convex value; names the part and its path.
    """
    return _encode(_translate(normalize(value), _lossless_int64, _lossless_bytes, _lossless_float))


def encode_clean_json(value: Any) -> bytes:
    """Plain JSON: int64 as decimal string, bytes as base64, NaN and infinities by name."""
    return _encode(_translate(normalize(value), lambda number: str(int(number)), _base64, _named_float))


def encode_export_json(value: Any) -> bytes:
    """Export JSON: int64 as a bare integer, the rest lossless."""
    return _encode(_translate(normalize(value), int, _lossless_bytes, _export_float))


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "convex_encoded_json": encode_json,
    "json": encode_clean_json,
    "export_json": encode_export_json,
}


def encode_as(value: Any, format: str) -> bytes:
    """A value in a named form."""
    return _ENCODERS[format](value)


def _translate(value: Any, int64: Translate, blob: Translate, real: Translate) -> Any:
    kind = type(value)
    if kind is int:
        return float(value)
    if kind is float:
        return real(value) if value == 0 or not math.isfinite(value) else value
    if kind is dict:
        return {name: _translate(item, int64, blob, real) for name, item in value.items()}
    if kind is list:
        return [_translate(item, int64, blob, real) for item in value]
    if kind is Int64:
        return int64(value)
    if kind is bytes:
        return blob(value)
    return value


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _lossless_int64(number: Int64) -> Any:
    return {"$integer": _base64(_I64.pack(number))}


def _lossless_bytes(raw: bytes) -> Any:
    return {"$bytes": _base64(raw)}


def _lossless_float(number: float) -> Any:
    if number == 0 and math.copysign(1, number) > 0:
        return number
    return {"$float": _base64(_F64.pack(number))}


def _named_float(number: float) -> Any:
    return number if number == 0 else _SPECIAL_NAMES.get(number, "NaN")


def _export_float(number: float) -> Any:
    return number if number == 0 else {"$float": _base64(_F64.pack(number))}


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
    return _read(tree, "", VALUE_DEPTH_MAX)


def _read(tree: Any, path: str, depth_left: int) -> Any:
    kind = type(tree)
    if kind is str or tree is None or kind is bool:
        return tree
    if kind is float:
        if tree.is_integer() and -SAFE_INTEGER_MAX <= tree <= SAFE_INTEGER_MAX:
            return int(tree) if tree != 0 or math.copysign(1, tree) > 0 else tree
        return tree
    if kind is int:
        return tree if -SAFE_INTEGER_MAX <= tree <= SAFE_INTEGER_MAX else float(tree)
    if depth_left == 0:
        raise InvalidValue(f"Value is too nested (maximum nesting {VALUE_DEPTH_MAX}) at path {path}")
    if kind is list:
        if len(tree) > ARRAY_ITEMS_MAX:
            raise InvalidValue(f"Array length is too long ({len(tree)} > maximum length {ARRAY_ITEMS_MAX})")
        return [_read(item, f"{path}[{position}]", depth_left - 1) for position, item in enumerate(tree)]
    if len(tree) == 1:
        name = next(iter(tree))
        if name.startswith("$"):
            return _read_special(name, tree[name], path)
    if len(tree) > OBJECT_FIELDS_MAX:
        raise InvalidValue(f"Object has too many fields ({len(tree)} > maximum number {OBJECT_FIELDS_MAX})")
    value = {}
    for name, item in tree.items():
        if name.startswith("$") or not (name.isascii() and name.isprintable()) or len(name) > 1024:
            refuse_field_name(name, path)
        value[name] = _read(item, f"{path}.{name}", depth_left - 1)
    return value


def _read_special(name: str, text: Any, path: str) -> Any:
    if name not in ("$integer", "$bytes", "$float"):
        raise InvalidValue(f"Unknown special value {name!r} at path {path or '.'}")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise InvalidValue(f"{name} at path {path or '.'} is no padded base64: {text!r}") from None
    if name == "$bytes":
        return raw
    if len(raw) != 8:
        raise InvalidValue(f"{name} at path {path or '.'} has {len(raw)} bytes, expected 8")
    if name == "$integer":
        return Int64(_I64.unpack(raw)[0])
    number = _F64.unpack(raw)[0]
    if math.isfinite(number) and not (number == 0 and math.copysign(1, number) < 0):
        raise InvalidValue(f"$float at path {path or '.'} holds {number}, which must be a plain number")
    return number
