"""Values and references as the app around a handler sees them."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context
from typing import Any

from convexpy import ConvexpyError, create_function_handle, function_name, normalize, size_of
from convexpy_workflow.commands import Failure, Outcome, Success
from convexpy_workflow.errors import ValueTooLarge, shorten
from convexpy_workflow.events import Event

# A value lies inside a document of the journal, whose own bound is 1 MiB.
VALUE_BYTES_MAX = 800 * 1024
# Documents nest to 16 levels; a value lies up to four levels deep in its row or in the diff of a stuck run.
VALUE_DEPTH_MAX = 12
TEXT_CHARS_MAX = 16_384  # of an error's text, and of its frames


def storable(value: Any, what: str) -> Any:
    """Copy a value as the journal will keep it.

    Raises:
        InvalidValue: it is no value; the text has the path.
        ValueTooLarge: it is too large for the journal.
        ValueError: it is too deeply nested for the journal.
    """
    copied = normalize(value)
    if (size := size_of(copied)) > VALUE_BYTES_MAX:
        raise ValueTooLarge(
            f"{what} too large ({size} bytes). Maximum is {VALUE_BYTES_MAX} bytes. Store it in a document or a file "
            f"and pass its id. Preview: {shorten(repr(copied))}"
        )
    if not _is_shallow(copied, VALUE_DEPTH_MAX):
        raise ValueError(f"{what} too nested. Maximum is {VALUE_DEPTH_MAX} levels. Encode it as a JSON string.")
    return copied


def bounded(outcome: Outcome, what: str) -> Outcome:
    """Give an outcome as the journal can keep it: what is too large is a failure, long texts lose their middle."""
    match outcome:
        case Success(value):
            try:
                return Success(storable(value, what))
            except (ValueError, ConvexpyError) as error:
                return Failure(f"{type(error).__name__}: {error}")
        case Failure(error, data, traceback):
            try:
                data = storable(data, "The data of an error")
            except (ValueError, ConvexpyError):
                data = None  # any exception may have an attribute `data`
            return Failure(shorten(error, TEXT_CHARS_MAX), data, shorten(traceback, TEXT_CHARS_MAX))
    return outcome


def _is_shallow(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        return levels > 0 and all(_is_shallow(item, levels - 1) for item in value.values())
    if isinstance(value, list):
        return levels > 0 and all(_is_shallow(item, levels - 1) for item in value)
    return True


def step_name(function: Any) -> str:
    """Resolve a reference, in a call of the app: a path for a function of the app, a handle for a component's."""
    name = str(function_name(function))
    return str(create_function_handle(function)) if name.startswith("_reference/") else name


class AppHost:
    """What a step object asks about the app; see `step.StepHost`.

    Args:
        context: the wave's own context. The handler runs in another one, in which no call of the platform is known.
    """

    def __init__(self) -> None:
        self.context = Context()

    def function_name(self, function: Any) -> str:
        """Resolve a reference: a path for a function of the app, a handle for one of its components."""
        return self.context.copy().run(step_name, function)

    def copy_args(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Copy a step's arguments as the journal will keep them."""
        copied: dict[str, Any] = storable(dict(args), "Step arguments")
        return copied

    def check_event(self, event: Event, value: Any) -> None:
        """Refuse a value that does not fit the event's validator, with an `EventError`."""
        self.context.copy().run(event.check, value)
