"""The Python kinds of Convex values, and the two that Python lacks: `UNSET` and `Int64`."""

from __future__ import annotations

from typing import Any, Final, NewType, final

Id = NewType("Id", str)
"""A document id; `Annotated[Id, "table"]` names its table."""

Value = None | bool | int | float | str | bytes | list[Any] | dict[str, Any]
Fields = dict[str, Value]


@final
class Unset:
    """The type of `UNSET`: a field that is not there. It is not `None`, and it is falsy."""

    __slots__ = ()
    _instance: Unset | None = None

    def __new__(cls) -> Unset:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> tuple[type[Unset], tuple[()]]:
        return (Unset, ())


UNSET: Final = Unset()

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


class Int64(int):
    """A 64-bit integer, a type of its own beside float64 (`v.int64()`). Arithmetic with `int` stays in it.

    Raises:
        OverflowError: the value does not fit in 64 bits.
    """

    __slots__ = ()

    def __new__(cls, value: int | str = 0) -> Int64:
        made = super().__new__(cls, value)
        if not INT64_MIN <= made <= INT64_MAX:
            # Python refuses to print an int of thousands of digits.
            shown = str(made) if made.bit_length() <= 1024 else f"An int of {made.bit_length()} bits"
            raise OverflowError(f"{shown} does not fit in an Int64 ({INT64_MIN} to {INT64_MAX}).")
        return made

    def __repr__(self) -> str:
        return f"Int64({int(self)})"

    def __str__(self) -> str:
        return int.__repr__(self)


def _closed(name: str) -> Any:
    plain = getattr(int, name)

    def method(self: Int64, *others: Any) -> Any:
        result = plain(self, *others)
        if type(result) is tuple:  # of divmod
            return tuple([Int64(part) for part in result])
        return Int64(result) if type(result) is int else result

    method.__name__ = name
    return method


for _name in (
    *("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__floordiv__", "__rfloordiv__"),
    *("__mod__", "__rmod__", "__pow__", "__neg__", "__pos__", "__abs__", "__and__", "__rand__", "__or__", "__ror__"),
    *("__xor__", "__rxor__", "__lshift__", "__rlshift__", "__rshift__", "__rrshift__", "__rpow__", "__invert__"),
    *("__divmod__", "__rdivmod__", "__round__"),
):
    setattr(Int64, _name, _closed(_name))
