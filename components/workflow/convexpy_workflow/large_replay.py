"""Large values of a journal, read while a replay runs and let go again: a few at a time are in memory.

A replay wants them in the order of the resolutions: arguments when the handler asks for the step again, the outcome
when it is fed. So they are read ahead in that order, a batch a query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from convexpy import pack, unpack

AHEAD_MAX = 128  # values that one query is asked for; it gives as many as its bound of bytes allows

Fields = dict[str, Any]
Load = Callable[[list[str]], list[bytes]]


class LargeValue:
    """A value that lies beside its row. Implements `replay.LaterArgs`."""

    __slots__ = ("_id", "_values")

    def __init__(self, values: LargeValues, value_id: str) -> None:
        self._values, self._id = values, value_id

    def load(self) -> Any:
        """Read the value; a fresh copy each time."""
        return unpack(self._values.packed(self._id))

    def is_packed_as(self, value: Any) -> bool:
        """See `replay.LaterArgs`."""
        return pack(value) == self._values.packed(self._id)


class LargeValues:
    """The large values of one journal.

    Args:
        load: gives the first of the asked values, packed, at least one.
        ids: all of them, in the order in which they will be wanted.
    """

    def __init__(self, load: Load, ids: Iterable[str]) -> None:
        self._load = load
        self._ids = list(ids)
        self._places = {value_id: place for place, value_id in enumerate(self._ids)}
        self._at_hand: dict[str, bytes] = {}

    def packed(self, value_id: str) -> bytes:
        """Give one value's bytes; reads it with those that follow if it is not at hand."""
        if value_id not in self._at_hand:
            place = self._places[value_id]
            ids = self._ids[place : place + AHEAD_MAX]
            self._at_hand = dict(zip(ids, self._load(ids), strict=False))
        return self._at_hand[value_id]


def large_values_of(steps: Iterable[Fields], load: Load) -> LargeValues:
    """Find the large values in the rows of a journal's steps."""
    wanted: list[tuple[float, int, int, str]] = []
    for row in steps:
        position = int(row["position"])
        if "args_aside" in row:
            wanted.append((row["issued"], 1, position, row["args_aside"]))
        if "outcome_aside" in row and "resolved" in row:
            wanted.append((row["resolved"], 0, position, row["outcome_aside"]))
        elif "outcome_aside" in row:
            wanted.append((float("inf"), 0, position, row["outcome_aside"]))
    wanted.sort()
    return LargeValues(load, (value_id for *_, value_id in wanted))


def large_value(row: Fields, name: str, values: LargeValues) -> LargeValue | None:
    """Find where a value of a step's row lies, None if it is in the row."""
    aside = row.get(f"{name}_aside")
    return None if aside is None else LargeValue(values, aside)


def with_large_values(row: Fields, values: LargeValues) -> Fields:
    """Give a step's row with its arguments and its outcome in their places."""
    whole = dict(row)
    for name in ("args", "outcome"):
        if (large := large_value(row, name, values)) is not None:
            whole[name] = large.load()
            del whole[f"{name}_aside"]
    return whole
