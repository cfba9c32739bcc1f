"""Tables of calls that make no sense: a row is a call, as Python says it, and what its refusal says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Rows: TypeAlias = list[tuple[str, str]]

WHOLE = "is a whole number from"
FLAG = "is True or False, not"
PARALLELISM = "max_parallelism is a whole number from 0 (paused) to 1000, not"
NO_COUNTS = ("-1", "1.5", "nan", "inf", "'4'", "True")  # what is no number of things


def each(call: str, values: Iterable[str], text: str) -> Rows:
    """The same refusal for several values, each of which stands for the `{}` of the call."""
    return [(call.format(value), text) for value in values]
