"""How large a value counts, by Convex's rules (not by any encoding), and how deep it is. Source: wire-protocol 5.2."""

from __future__ import annotations

from typing import Any

from convexpy.values.types import UNSET, Int64


def size_of(value: Any) -> int:
    """Convex size in bytes; fields that are `UNSET` do not count, what is no value counts 0."""
    kind = type(value)
    if kind is str:
        return 2 + (len(value) if value.isascii() else len(value.encode()))
    if value is None or kind is bool:
        return 1
    if kind is int or kind is float or kind is Int64:
        return 9
    if kind is bytes:
        return 2 + len(value)
    if kind is list:
        return 2 + sum([size_of(item) for item in value])
    if isinstance(value, dict):
        return 2 + sum([len(name) + 1 + size_of(item) for name, item in value.items() if item is not UNSET])
    return 0


def depth_of(value: Any) -> int:
    """Levels of arrays and objects; a plain value has none."""
    if isinstance(value, dict):
        return 1 + max((depth_of(item) for item in value.values()), default=0)
    if type(value) is list:
        return 1 + max((depth_of(item) for item in value), default=0)
    return 0
