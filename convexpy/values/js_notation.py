"""Values as a JavaScript developer would write them, for error texts: `{name: "Ada", age: 36.0}`.

An error text is often about something that is no value, so anything at all can be shown: other classes, cycles, ints
beyond float64, lone surrogates, field names that are no strings.
"""

from __future__ import annotations

import json
import math
from typing import Any

from convexpy.limits import VALUE_DEPTH_MAX
from convexpy.values.checking import is_identifier
from convexpy.values.types import UNSET, Int64


def js_text(value: Any) -> str:
    """JavaScript notation; floats always with a decimal point, and an ellipsis for cycles and what is too deep."""
    return _shown(value, ()).encode(errors="backslashreplace").decode()


def _shown(value: Any, containers: tuple[int, ...]) -> str:
    """The text of a part; `containers` are the identities of those it lies in."""
    if value is UNSET:
        return "undefined"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Int64):
        return f"{int(value)}n"
    if isinstance(value, int):
        return _number(float(value)) if value.bit_length() <= 1023 else f"<int of {value.bit_length()} bits>"
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bytes):
        return f"Bytes({value.hex()})"
    if isinstance(value, list):
        if _is_endless(value, containers):
            return "[…]"
        return "[" + ", ".join([_shown(item, (*containers, id(value))) for item in value]) + "]"
    if isinstance(value, dict):
        if _is_endless(value, containers):
            return "{…}"
        fields = sorted(value.items(), key=lambda field: field[0] if isinstance(field[0], str) else _name(field[0]))
        shown = [f"{_name(name)}: {_shown(item, (*containers, id(value)))}" for name, item in fields]
        return "{" + ", ".join(shown) + "}"
    try:
        return repr(value)
    except Exception:  # a class of the user's
        return f"<{type(value).__name__}>"


def _is_endless(container: Any, containers: tuple[int, ...]) -> bool:
    return len(containers) == VALUE_DEPTH_MAX or id(container) in containers


def _number(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return repr(number)


def _name(name: Any) -> str:
    if not isinstance(name, str):
        return f"[{_shown(name, ())}]"
    return name if is_identifier(name) else json.dumps(name, ensure_ascii=False)
