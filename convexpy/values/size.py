"""How large a value counts, by Convex's rules (not by any encoding), and how deep it is. Source: wire-protocol 5.2."""

from __future__ import annotations

from typing import Any

from convexpy.values.types import UNSET, Int64

_FIXED = {type(None): 1, bool: 1, int: 9, float: 9, Int64: 9}
_PLAIN = frozenset((*_FIXED, str, bytes))


def size_of(value: Any) -> int:
    """Convex size in bytes; fields that are `UNSET` do not count, what is no value counts 0."""
    kind = type(value)
    if kind is str:
        return 2 + (len(value) if value.isascii() else len(value.encode()))
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed
    if kind is bytes:
        return 2 + len(value)
    if kind is list:
        return 2 + sum([size_of(item) for item in value])
    if isinstance(value, dict):
        size = 2
        for name, item in value.items():
            # Plain leaves are most of what there is; a call for each would double the time.
            kind = type(item)
            if kind is str and item.isascii():
                size += len(name) + 3 + len(item)
            elif kind in _FIXED:
                size += len(name) + 1 + _FIXED[kind]
            elif item is not UNSET:
                size += len(name) + 1 + size_of(item)
        return size
    return 0


def depth_of(value: Any) -> int:
    """Levels of arrays and objects; a plain value has none."""
    kind = type(value)
    if kind is not list and not isinstance(value, dict):
        return 0
    deepest = 0
    for item in value if kind is list else value.values():
        if type(item) in _PLAIN:  # nearly all; a call for each would take most of the time
            continue
        depth = depth_of(item)
        if depth > deepest:
            deepest = depth
    return deepest + 1
