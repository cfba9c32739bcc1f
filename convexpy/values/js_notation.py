"""Values as a JavaScript developer would write them, for error texts: `{name: "Ada", age: 36.0}`."""

from __future__ import annotations

import json
import math
from typing import Any

from convexpy.values.checking import is_identifier
from convexpy.values.types import UNSET, Int64


def js_text(value: Any) -> str:
    """JavaScript notation; floats always with a decimal point."""
    if value is UNSET:
        return "undefined"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Int64):
        return f"{int(value)}n"
    if isinstance(value, int | float):
        return _number(float(value))
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bytes):
        return f"Bytes({value.hex()})"
    if isinstance(value, list):
        return "[" + ", ".join(js_text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_name(name)}: {js_text(item)}" for name, item in sorted(value.items())) + "}"
    return repr(value)


def _number(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return repr(number)


def _name(name: str) -> str:
    return name if is_identifier(name) else json.dumps(name, ensure_ascii=False)
