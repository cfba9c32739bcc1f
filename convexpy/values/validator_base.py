"""What all validators are: what a value must look like, as data that can be checked, shown and exported.

`check` refuses with the texts that Convex users know (runtime-semantics 3.5): the message, then lines for the path
inside the value (empty at the root), the part that does not fit, and the validator it does not fit. A message that
names value and validator itself, of a literal or an id, is followed by the path alone.
Source: convex-backend:crates/common/src/schemas/validator.rs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

from convexpy.errors import DefinitionError, ValidationFailed
from convexpy.values.js_notation import js_text


class TableNames(Protocol):
    """Which table a number in a document id stands for."""

    def name_of(self, table_number: int) -> str | None: ...


class Validator(ABC):
    """One kind of value. `is_optional` counts only for a field of an object: it may be missing."""

    is_optional = False
    plain_types: tuple[type, ...] | None = None
    """Values of these types, or any value for (), need no further look; None: ask `_check`."""

    def check(self, value: Any, tables: TableNames | None) -> None:
        """Refuse a value that does not fit.

        Args:
            tables: None where they are not known: an id of any table is one of `v.id("table")` then.

        Raises:
            ValidationFailed: the text says what, where, and what was expected.
        """
        try:
            self._check(value, tables)
        except Mismatch as mismatch:
            raise mismatch.error() from None

    @abstractmethod
    def _check(self, value: Any, tables: TableNames | None) -> None:
        """Raise `Mismatch`; containers add their step to it, so values that fit pay nothing for a path."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Convex's JSON form, for function specs and codegen."""

    @abstractmethod
    def describe(self) -> str:
        """As it is written: `v.array(v.string())`."""

    def __repr__(self) -> str:
        return self.describe()

    def __eq__(self, other: object) -> bool:
        # The description too: to Python the literals 1 and true are equal, and so are their JSON forms.
        return (
            isinstance(other, Validator) and self.describe() == other.describe() and self.to_json() == other.to_json()
        )

    def __hash__(self) -> int:
        return hash(self.describe())


class Mismatch(Exception):
    """A part that does not fit; the text is made only if nobody, like a union, tries something else.

    Args:
        label: what the line that shows the value calls it; None: the message has shown value and validator.
    """

    def __init__(
        self,
        value: Any,
        validator: Validator,
        message: str = "Value does not match validator.",
        label: str | None = "Value",
    ) -> None:
        super().__init__(message)
        self._value, self._validator, self._message, self._label = value, validator, message, label
        self._steps: list[str] = []

    def inside(self, step: str) -> Mismatch:
        """Add the step that leads from a container to the part."""
        self._steps.append(step)
        return self

    def error(self) -> ValidationFailed:
        """The error for the user, once the path is complete."""
        path = f"Path: {''.join(reversed(self._steps))}" if self._steps else ""
        if self._label is None:
            return ValidationFailed(f"{self._message}\n{path}" if path else self._message)
        shown = f"{self._label}: {js_text(self._value)}\nValidator: {self._validator.describe()}"
        return ValidationFailed(f"{self._message}\n{path}\n{shown}")


def required(validator: Validator, where: str) -> Validator:
    """A validator of a part that is always there: not an optional one.

    Raises:
        DefinitionError: it is none, or optional; `where` says in what.
    """
    if not isinstance(validator, Validator):
        raise DefinitionError(f"{where} takes validators, not {validator!r}. Write v.string(), v.number() and so on.")
    if validator.is_optional:
        raise DefinitionError(f"v.optional(…) is only for fields of an object or arguments, not inside {where}.")
    return validator
