"""How large a value counts, by Convex's rules (not by any encoding), and how deep it is. Source: wire-protocol 5.2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from convexpy.values.packed import pack
from convexpy.values.types import UNSET, Int64

_FIXED = {type(None): 1, bool: 1, int: 9, float: 9, Int64: 9}
_BYTES_PER_PACKED_BYTE_MAX = 9  # a small number is one byte of msgpack; everything else differs less


def size_of(value: Any) -> int:
    """Convex size in bytes; fields that are `UNSET` do not count, what is no value counts 0."""
    kind = type(value)
    if kind is str:
        return 2 + (len(value) if value.isascii() else len(value.encode()))
    if kind in _FIXED:
        return _FIXED[kind]
    if kind is bytes:
        return 2 + len(value)
    if kind is list:
        return 2 + sum([size_of(item) for item in value])
    if not isinstance(value, dict):
        return 0
    total = 2
    for name, item in value.items():
        # The branches from above once more: a call for each leaf would double the time.
        kind = type(item)
        if kind in _FIXED:
            total += len(name) + 1 + _FIXED[kind]
        elif kind is str and item.isascii():
            total += len(name) + 3 + len(item)
        elif item is not UNSET:
            total += len(name) + 1 + size_of(item)
    return total


def size_beyond(value: Any, bytes_max: int) -> int | None:
    """The Convex size of a value that is larger than `bytes_max`; None, soon found, for one that is not."""
    try:
        if len(pack(value)) * _BYTES_PER_PACKED_BYTE_MAX <= bytes_max:
            return None
    except (TypeError, OverflowError, ValueError):
        pass  # no value as it is: it may have UNSET fields, which do not count
    size = size_of(value)
    return size if size > bytes_max else None


def depth_of(value: Any) -> int:
    """Levels of arrays and objects; a plain value has none."""
    if isinstance(value, dict):
        items: Iterable[Any] = value.values()
    elif type(value) is list:
        items = value
    else:
        return 0
    deepest = 0
    for item in items:
        if type(item) is not str and type(item) not in _FIXED and (depth := depth_of(item)) > deepest:
            deepest = depth
    return 1 + deepest
