"""Where a piece of user code stands, for errors of definitions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def place_of(handler: Callable[..., Any]) -> tuple[str | None, int | None]:
    """File and first line of a function; of a decorated one the line of its `def`."""
    code = getattr(inspect.unwrap(handler), "__code__", None)
    return (None, None) if code is None else (code.co_filename, code.co_firstlineno)
