"""Events as apps and handlers name them: `define_event`, and what a name or a definition means as an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from convexpy import ConvexpyError, Validator, v, validate
from convexpy_workflow.arguments import checked_text, shown
from convexpy_workflow.errors import EventError

v_event_id = v.string()
"""Validator of what `create_event` returns, for arguments and documents of the app."""


@dataclass(frozen=True)
class Event:
    """A name that sender and handler share, and what may be sent under it; made by `define_event`.

    Args:
        validator: checked by the sender before anything is written, and again at the handler's await; None: any value.
    """

    name: str
    validator: Validator | None = None

    def check(self, value: Any) -> None:
        """Refuse a value that does not fit; see `convexpy.validate`.

        Raises:
            EventError: the text says what differs, and where.
        """
        if self.validator is None:
            return
        try:
            validate(value, self.validator)
        except ConvexpyError as error:
            raise EventError(f"Event {self.name!r}: {error}") from None


def define_event(name: str, validator: Validator | None = None) -> Event:
    """Name an event, and say what is sent with it.

    Raises:
        EventError: the name is empty, or the validator is none.
    """
    if not isinstance(name, str) or not name:
        raise EventError(f"An event has a name that is not empty, not {shown(name)}.")
    _check_name(name)
    if validator is not None and not isinstance(validator, Validator):
        raise EventError(f"Event {name!r} takes a convexpy validator such as v.boolean(), not {shown(validator)}.")
    return Event(name, validator)


class EventAddress(NamedTuple):
    """Which event is meant: by its id, or the oldest of a name; and its definition where one was given."""

    name: str | None
    event_id: str | None
    definition: Event | None

    def to_args(self) -> dict[str, Any]:
        """Give the component's arguments; those that are not said are left out."""
        args = {"name": self.name, "eventId": self.event_id}
        return {name: value for name, value in args.items() if value is not None}

    def check(self, value: Any) -> None:
        """See `Event.check`; an event that was named only takes any value."""
        if self.definition is not None:
            self.definition.check(value)


def _check_name(name: str) -> None:
    try:
        checked_text(name, "The name of an event")
    except ValueError as error:
        raise EventError(str(error)) from None


def address_event(event: Event | str | None, event_id: str | None) -> EventAddress:
    """Read what an `event_or_name` argument and an `event_id` argument say together.

    Raises:
        EventError: neither says anything.
    """
    definition = event if isinstance(event, Event) else None
    name = event.name if isinstance(event, Event) else event
    if name is not None and (not isinstance(name, str) or not name):
        raise EventError(f"An event is a name or what define_event made, not {shown(event)}.")
    if name is not None:
        _check_name(name)
    if event_id is not None and not isinstance(event_id, str):
        raise EventError(f"event_id is the text that create_event(…) returned, not {shown(event_id)}.")
    if name is None and event_id is None:
        raise EventError("Name is required if eventId is not specified")
    return EventAddress(name, event_id, definition)
