"""Is this Python object a Convex value? If not, says where inside it the trouble is.

Plain values only: a set, a tuple, a date, an instance of a class is refused, because what comes back would be something
else. Limits and texts: runtime-semantics 3.2.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from convexpy.errors import InvalidValue
from convexpy.limits import (
    ARRAY_ITEMS_MAX,
    FIELD_NAME_CHARS_MAX,
    IDENTIFIER_CHARS_MAX,
    OBJECT_FIELDS_MAX,
    SAFE_INTEGER_MAX,
    VALUE_DEPTH_MAX,
)
from convexpy.values.types import UNSET, Int64

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_FIELD_NAME = re.compile(r"(?!\$)[ -~]*\Z")


def is_identifier(name: str) -> bool:
    """Whether a name may be a table's, an index's or a top-level field's."""
    return len(name) <= IDENTIFIER_CHARS_MAX and _IDENTIFIER.match(name) is not None and name.strip("_") != ""


def check_value(value: Any) -> None:
    """Refuse what is no Convex value.

    Raises:
        InvalidValue: names the part and its path.
    """
    normalize(value)


def normalize(value: Any) -> Any:
    """A deep copy of a value; `UNSET` fields of objects are dropped.

    Raises:
        InvalidValue: no Convex value.
    """
    return _copy(value, value, "", VALUE_DEPTH_MAX)


def _copy(value: Any, whole: Any, path: str, depth_left: int) -> Any:
    kind = type(value)
    if kind is str:
        if not value.isascii():
            check_unicode(value, path)
        return value
    if kind is float or kind is bool or value is None or kind is Int64 or kind is bytes:
        return value
    if kind is int:
        if not -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
            raise InvalidValue(
                f"{value} is beyond ±2^53, where float64 has gaps{_at(path)}. Wrap it: Int64({value}), with v.int64()."
            )
        return value
    if isinstance(value, dict):
        if depth_left == 0:
            raise InvalidValue(f"Value is too nested (maximum nesting {VALUE_DEPTH_MAX}){_at(path)}")
        return _copy_object(value, whole, path, depth_left - 1)
    if kind is list:
        if depth_left == 0:
            raise InvalidValue(f"Value is too nested (maximum nesting {VALUE_DEPTH_MAX}){_at(path)}")
        if len(value) > ARRAY_ITEMS_MAX:
            raise InvalidValue(f"Array length is too long ({len(value)} > maximum length {ARRAY_ITEMS_MAX}){_at(path)}")
        return [_copy(item, whole, f"{path}[{position}]", depth_left - 1) for position, item in enumerate(value)]
    unsupported(value, whole, path)


def _copy_object(value: dict[Any, Any], whole: Any, path: str, depth_left: int) -> dict[str, Any]:
    if len(value) > OBJECT_FIELDS_MAX:
        raise InvalidValue(f"Object has too many fields ({len(value)} > maximum number {OBJECT_FIELDS_MAX}){_at(path)}")
    copied = {}
    for name, item in value.items():
        if type(name) is not str or len(name) > FIELD_NAME_CHARS_MAX or not _FIELD_NAME.match(name):
            refuse_field_name(name, path)
        if item is not UNSET:
            copied[name] = _copy(item, whole, f"{path}.{name}", depth_left)
    return copied


def refuse_field_name(name: Any, path: str) -> NoReturn:
    """Say why a name cannot be a field's."""
    if not isinstance(name, str):
        raise InvalidValue(f"Field names are strings, not {name!r}{_at(path)}.")
    if name.startswith("$"):
        raise InvalidValue(f"Field {name!r} starts with a '$', which is reserved{_at(path)}.")
    if len(name) > FIELD_NAME_CHARS_MAX:
        raise InvalidValue(
            f"Field {name[:40]!r}… is too long ({len(name)} > maximum {FIELD_NAME_CHARS_MAX}){_at(path)}."
        )
    raise InvalidValue(f"Field {name!r} has characters outside of printable ASCII{_at(path)}.")


def check_unicode(text: str, path: str) -> None:
    """Refuse a lone surrogate: such a string has no UTF-8 form."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(
            f"A string is not valid Unicode: it has a lone surrogate at {error.start}{_at(path)}."
        ) from None


def unsupported(value: Any, whole: Any, path: str) -> NoReturn:
    """Say that a Python object is no Convex value."""
    shown = "undefined" if value is UNSET else f"{type(value).__name__} {_clip(repr(value))}"
    where = f" (present at path {path} in original object {_clip(repr(whole))})" if path else ""
    hint = " Turn it into a list." if isinstance(value, tuple | set | frozenset) else ""
    raise InvalidValue(f"{shown} is not a supported Convex type{where}.{hint}")


def _at(path: str) -> str:
    return f" (present at path {path})" if path else ""


def _clip(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "…"
