"""Is this Python object a Convex value? If not, says where inside it the trouble is.

Plain values only: a set, a tuple, a date, an instance of a class is refused, because what comes back would be something
else. Limits and texts: runtime-semantics 3.2.

A walk keeps no path. Whoever finds trouble raises a `Refusal`, and each container that it passes on its way out adds
its own step, so values without trouble, nearly all of them, pay nothing for the path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from convexpy.errors import InvalidValue
from convexpy.limits import (
    ARRAY_ITEMS_MAX,
    FIELD_NAME_CHARS_MAX,
    FIELD_NAMES_KEPT_MAX,
    IDENTIFIER_CHARS_MAX,
    OBJECT_FIELDS_MAX,
    SAFE_INTEGER_MAX,
    VALUE_DEPTH_MAX,
)
from convexpy.values.types import UNSET, Int64

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_FIELD_NAME = re.compile(r"(?!\$)[ -~]*\Z")
_field_names: set[str] = set()  # that were found to be good: apps use the same few again and again

Leaves = Mapping[type, Callable[[Any], Any] | None]
"""How a walk translates what is neither string nor container, by exact type; None: as it is."""


class Refusal(Exception):
    """What is wrong with a part of a value; containers add where it is while this passes through them.

    Args:
        before: the sentence up to where the place is named, without a full stop.
        after: the rest of it.
        names_whole: the text shows the whole value too.
    """

    def __init__(self, before: str, after: str = "", *, names_whole: bool = False) -> None:
        super().__init__(before)
        self._before, self._after, self._names_whole = before, after, names_whole
        self._steps: list[str] = []

    def inside(self, step: str) -> Refusal:
        """Add the step that leads from a container to the part."""
        self._steps.append(step)
        return self

    def error(self, whole: Any) -> InvalidValue:
        """The error for the user, once the path is complete."""
        where = ""
        if self._steps:
            original = f" in original object {_shown(whole)}" if self._names_whole else ""
            where = f" (present at path {''.join(reversed(self._steps))}{original})"
        return InvalidValue(self._before + where + self._after)


def is_identifier(name: str) -> bool:
    """Whether a name may be a table's, an index's or a top-level field's."""
    return len(name) <= IDENTIFIER_CHARS_MAX and _IDENTIFIER.match(name) is not None and name.strip("_") != ""


def is_document_field(name: str) -> bool:
    """Whether a document may have a field of that name besides those of the platform."""
    # Length first: the cache keeps its arguments.
    return len(name) <= IDENTIFIER_CHARS_MAX and _is_document_field(name)


@lru_cache(maxsize=FIELD_NAMES_KEPT_MAX)
def _is_document_field(name: str) -> bool:
    return is_identifier(name) and not name.startswith("_")


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
    try:
        return _plain_copy(value, VALUE_DEPTH_MAX)
    except _Unusual:
        return translated(value, _AS_THEY_ARE)


class _Unusual(Exception):
    """Something that `_plain_copy` does not decide."""


def _plain_copy(value: Any, depth_left: int) -> Any:
    """`translated` for the values that nearly all are, at half its price: leaves stay as they are, nothing is wrong."""
    kind = type(value)
    if kind is str:
        if value.isascii():
            return value
        raise _Unusual
    if kind in _FIXED:
        return value
    if kind is int:
        if -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
            return value
        raise _Unusual
    if kind is list:
        if depth_left == 0 or len(value) > ARRAY_ITEMS_MAX:
            raise _Unusual
        return [_plain_copy(item, depth_left - 1) for item in value]
    if kind is not dict or depth_left == 0 or len(value) > OBJECT_FIELDS_MAX:
        raise _Unusual
    copied = value.copy()
    for name, item in value.items():
        if type(name) is not str or (name not in _field_names and not is_field_name(name)):
            raise _Unusual
        # The branches from above once more: a call for each leaf would double the time.
        kind = type(item)
        if kind is str:
            if not item.isascii():
                raise _Unusual
        elif kind is int:
            if not -SAFE_INTEGER_MAX <= item <= SAFE_INTEGER_MAX:
                raise _Unusual
        elif item is UNSET:
            del copied[name]
        elif kind not in _FIXED:
            copied[name] = _plain_copy(item, depth_left - 1)
    return copied


def translated(value: Any, leaves: Leaves) -> Any:
    """A deep copy with translated leaves; `UNSET` fields of objects are dropped.

    Raises:
        InvalidValue: no Convex value.
    """
    try:
        return _copy(value, leaves, VALUE_DEPTH_MAX)
    except Refusal as refusal:
        raise refusal.error(value) from None


def _copy(value: Any, leaves: Leaves, depth_left: int) -> Any:
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_unicode(value)
        return value
    if kind in leaves:
        translate = leaves[kind]
        return value if translate is None else translate(value)
    if isinstance(value, dict):
        if depth_left == 0 or len(value) > OBJECT_FIELDS_MAX:
            raise refused_container(value, depth_left)
        return _copy_object(value, leaves, depth_left - 1)
    if kind is list:
        if depth_left == 0 or len(value) > ARRAY_ITEMS_MAX:
            raise refused_container(value, depth_left)
        return _copy_array(value, leaves, depth_left - 1)
    raise _unsupported(value)


def _copy_object(value: dict[Any, Any], leaves: Leaves, depth_left: int) -> dict[str, Any]:
    copied = {}
    for name, item in value.items():
        if type(name) is not str or not is_field_name(name):
            raise refused_field_name(name)
        # Plain leaves are most of what there is; a call for each would double the time.
        kind = type(item)
        if (kind is str and item.isascii()) or leaves.get(kind, UNSET) is None:
            copied[name] = item
            continue
        if item is UNSET:
            continue
        try:
            copied[name] = _copy(item, leaves, depth_left)
        except Refusal as refusal:
            raise refusal.inside(f".{name}") from None
    return copied


def _copy_array(value: list[Any], leaves: Leaves, depth_left: int) -> list[Any]:
    copied: list[Any] = []
    try:
        for item in value:
            copied.append(_copy(item, leaves, depth_left))
    except Refusal as refusal:
        raise refusal.inside(f"[{len(copied)}]") from None
    return copied


def refused_container(value: dict[Any, Any] | list[Any], depth_left: int) -> Refusal:
    """Why an array or object cannot be part of a value: too deep inside it, or too large."""
    if depth_left == 0:
        return Refusal(f"Value is too nested (maximum nesting {VALUE_DEPTH_MAX})")
    if isinstance(value, dict):
        return Refusal(f"Object has too many fields ({len(value)} > maximum number {OBJECT_FIELDS_MAX})")
    return Refusal(f"Array length is too long ({len(value)} > maximum length {ARRAY_ITEMS_MAX})")


def checked_int(number: int) -> int:
    """An `int` that float64 can hold exactly."""
    if not -SAFE_INTEGER_MAX <= number <= SAFE_INTEGER_MAX:
        shown = str(number) if number.bit_length() <= 1024 else f"An int of {number.bit_length()} bits"
        hint = f"Wrap it: Int64({shown}), with v.int64()." if -(2**63) <= number < 2**63 else "Store it as a string."
        raise Refusal(f"{shown} is beyond ±2^53, where float64 has gaps", f". {hint}")
    return number


def is_field_name(name: str) -> bool:
    """Whether an object may have a field of that name."""
    if name in _field_names:
        return True
    if len(name) > FIELD_NAME_CHARS_MAX or _FIELD_NAME.match(name) is None:
        return False
    if len(_field_names) >= FIELD_NAMES_KEPT_MAX:
        _field_names.clear()
    _field_names.add(name)
    return True


def refused_field_name(name: Any) -> Refusal:
    """Why a name cannot be a field's."""
    if type(name) is not str:
        return Refusal(f"Field names are strings, not {_shown(name)}", ".")
    if name.startswith("$"):
        return Refusal(f"Field {_shown(name)} starts with a '$', which is reserved", ".")
    if len(name) > FIELD_NAME_CHARS_MAX:
        return Refusal(f"Field {name[:40]!r}… is too long ({len(name)} > maximum {FIELD_NAME_CHARS_MAX})", ".")
    return Refusal(f"Field {name!r} has characters outside of printable ASCII", ".")


def _check_unicode(text: str) -> None:
    """Refuse a lone surrogate: such a string has no UTF-8 form."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refusal(f"A string is not valid Unicode: it has a lone surrogate at {error.start}", ".") from None


def _unsupported(value: Any) -> Refusal:
    shown = "undefined" if value is UNSET else f"{type(value).__name__} {_shown(value)}"
    hint = " Turn it into a list." if isinstance(value, tuple | set | frozenset) else ""
    return Refusal(f"{shown} is not a supported Convex type", f".{hint}", names_whole=True)


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # a class of the user's, or an int too long to print
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 200 else text[:200] + "…"


_AS_THEY_ARE: Leaves = {float: None, bool: None, type(None): None, Int64: None, bytes: None, int: checked_int}
_FIXED = frozenset({float, bool, type(None), Int64, bytes})  # leaves about which there is nothing to ask
