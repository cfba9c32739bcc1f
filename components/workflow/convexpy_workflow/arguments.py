"""What the public functions take: each check names the parameter, what was given for it, and what it takes instead.

They stand before anything is written. A value that only the journal's own rows refused would make a wave fail that can
never succeed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from convexpy import Reference

NAME_CHARS_MAX = 1_000  # it lies in rows that are read often
INSTANT_SECONDS_MAX = 253_402_300_799  # 9999-12-31: what a datetime can be; more is milliseconds
PREVIEW_CHARS_MAX = 100  # of a refused value


def shown(value: Any) -> str:
    """A refused value in a sentence: short, whatever it is."""
    try:
        text = repr(value)
    except Exception:
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= PREVIEW_CHARS_MAX else f"{text[:PREVIEW_CHARS_MAX]}…"


def checked_flag(value: Any, what: str) -> bool:
    """True or False, nothing that only counts as such: a row keeps it.

    Raises:
        TypeError
    """
    if value is True or value is False:
        return value
    raise TypeError(f"{what} is True or False, not {shown(value)}.")


def checked_choice(value: Any, what: str, choices: Sequence[str]) -> str:
    """One of a few words.

    Raises:
        ValueError
    """
    if isinstance(value, str) and value in choices:
        return value
    raise ValueError(f"{what} is {' or '.join(repr(choice) for choice in choices)}, not {shown(value)}.")


def checked_text(value: Any, what: str, chars_max: int | None = NAME_CHARS_MAX) -> str:
    """A text that is not empty, and that can be stored.

    Raises:
        TypeError: it is none.
        ValueError: it is empty, too long, or no Unicode.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} is a text, not {shown(value)}.")
    if not value:
        raise ValueError(f"{what} is a text that is not empty.")
    if chars_max is not None and len(value) > chars_max:
        raise ValueError(f"{what} is a text of at most {chars_max} characters, not of {len(value)}.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what} is Unicode text; {shown(value)} has a lone surrogate.") from None
    return value


def checked_whole(value: Any, what: str, least: int, most: int) -> int:
    """A whole number within bounds; 2.0 is one, True is none.

    Raises:
        ValueError
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and least <= value <= most and value == int(value):  # NaN is within no bounds
        return int(value)
    raise ValueError(f"{what} is a whole number from {least} to {most}, not {shown(value)}.")


def checked_object(value: Any, what: str) -> Mapping[str, Any]:
    """Arguments of a function by name.

    Raises:
        TypeError
    """
    if isinstance(value, Mapping):
        return value
    raise TypeError(f"{what} are a dict by the names of the parameters, such as {{'name': value}}, not {shown(value)}.")


def checked_instant(when: Any, what: str) -> float:
    """An aware datetime or epoch seconds; gives epoch seconds.

    Raises:
        TypeError: it is neither.
        ValueError: no time zone, not finite, or no instant that a calendar has.
    """
    if isinstance(when, datetime):
        return checked_aware(when, what).timestamp()
    if isinstance(when, bool) or not isinstance(when, int | float):
        raise TypeError(f"{what} is an aware datetime or epoch seconds, not {shown(when)}.")
    if not -INSTANT_SECONDS_MAX <= when <= INSTANT_SECONDS_MAX:  # NaN is not either
        raise ValueError(f"{what} is an instant in epoch seconds (not milliseconds), not {shown(when)}.")
    return float(when)


def checked_aware(when: Any, what: str) -> datetime:
    """A datetime with a time zone.

    Raises:
        TypeError: it is no datetime.
        ValueError: it has no time zone.
    """
    if not isinstance(when, datetime):
        raise TypeError(f"{what} is an aware datetime such as datetime.now(UTC), not {shown(when)}.")
    if when.tzinfo is None or when.utcoffset() is None:
        raise ValueError(f"{what}: {when!r} has no time zone. Give it one: datetime(…, tzinfo=UTC).")
    return when


def checked_component(component: Any, owner: str) -> Any:
    """A reference to an installed component.

    Raises:
        TypeError: it is none.
    """
    if isinstance(component, Reference) and repr(component).startswith("components."):
        return component
    raise TypeError(f"{owner}(…) takes a reference to its component, components.NAME, not {shown(component)}.")


def checked_page(options: Any, items_max: int) -> dict[str, Any] | None:
    """`pagination_opts` as Convex's clients send them; more items than a page may have are as many as it may.

    Raises:
        TypeError, ValueError
    """
    if options is None:
        return None
    if not isinstance(options, Mapping):
        raise TypeError(f"pagination_opts are a dict such as {{'numItems': 10, 'cursor': None}}, not {shown(options)}.")
    checked = dict(options)
    if "numItems" in checked:
        asked = checked_whole(checked["numItems"], "pagination_opts['numItems']", 1, 2**53)
        checked["numItems"] = min(asked, items_max)
    cursor = checked.get("cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise TypeError(f"pagination_opts['cursor'] is what a page gave as 'continueCursor', not {shown(cursor)}.")
    return checked


def bad_cursor(cursor: str) -> ValueError:
    """A cursor that no page has given."""
    return ValueError(
        f"{shown(cursor)} is no cursor of this list. Pass the 'continueCursor' of its page before, or None to begin."
    )
