"""Stand-ins for `datetime.datetime` and `datetime.date` whose `now`, `utcnow` and `today` ask this thread's slot.

The C classes cannot be patched, so the names in the module are. Only the names differ: every instance is one of the
real class, which is what arithmetic, C extensions and encoders know; and the stand-in compares, hashes, pickles and
checks like the class it stands for. What remains visible is `type(x) is datetime`, which is False. Modules that took
`datetime` by name before `install()` keep the real class.
"""

from __future__ import annotations

import copyreg
import datetime
from typing import Any

from convexpy.functions.call_environment import slot

RealDate = datetime.date
RealDatetime = datetime.datetime


class _StandInType(type):
    """Class of the stand-ins and of what user code derives from them."""

    def _real(cls) -> type | None:
        """The class that `cls` stands for, None for a class derived from a stand-in."""
        real: type | None = cls.__dict__.get("_stands_for")
        return real

    def __instancecheck__(cls, instance: Any) -> bool:
        real = cls._real()
        return type.__instancecheck__(cls, instance) if real is None else isinstance(instance, real)

    def __subclasscheck__(cls, subclass: type) -> bool:
        real = cls._real()
        return type.__subclasscheck__(cls, subclass) if real is None else issubclass(subclass, real)

    # Equal to the real class, so that tables by type (singledispatch, `{datetime: …}[type(x)]`) find either.
    def __eq__(cls, other: object) -> bool:
        return other is cls or (other is not None and other is cls._real())

    def __hash__(cls) -> int:
        return type.__hash__(cls._real() or cls)


class StandInDate(datetime.date, metaclass=_StandInType):
    """`datetime.date`, with today from the call."""

    _stands_for = RealDate
    __supertype__ = RealDate  # as in typing.NewType: tells msgspec which type an annotation means

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return RealDate.__new__(RealDate if cls is StandInDate else cls, *args, **kwargs)

    @classmethod
    def today(cls) -> Any:
        environment = slot.environment
        return super().today() if environment is None else cls.fromtimestamp(environment.read_clock_ms() / 1000)


class StandInDatetime(datetime.datetime, metaclass=_StandInType):
    """`datetime.datetime`, with the present from the call."""

    _stands_for = RealDatetime
    __supertype__ = RealDatetime

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return RealDatetime.__new__(RealDatetime if cls is StandInDatetime else cls, *args, **kwargs)

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        environment = slot.environment
        return super().now(tz) if environment is None else cls.fromtimestamp(environment.read_clock_ms() / 1000, tz)

    @classmethod
    def utcnow(cls) -> Any:
        environment = slot.environment
        if environment is None:
            return super().utcnow()
        return cls.fromtimestamp(environment.read_clock_ms() / 1000, datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        return cls.now()


def _reduce(value: datetime.date) -> tuple[Any, ...]:
    # Pickle looks the class up by its name and wants to find the very same; there it finds the stand-in.
    stand_in = StandInDatetime if type(value) is RealDatetime else StandInDate
    arguments = value.__reduce_ex__(4)[1]
    return stand_in, arguments


def install() -> None:
    """Put the stand-ins into the module; once a process."""
    for stand_in, real in ((StandInDate, RealDate), (StandInDatetime, RealDatetime)):
        stand_in.__module__, stand_in.__qualname__, stand_in.__name__ = "datetime", real.__qualname__, real.__name__
        stand_in.__doc__ = real.__doc__
        setattr(datetime, real.__name__, stand_in)
        copyreg.pickle(real, _reduce)
