"""Validators made of others: arrays, objects, records, unions, and fields that may be missing."""

from __future__ import annotations

from typing import Any

from convexpy.errors import DefinitionError
from convexpy.values.checking import is_field_name
from convexpy.values.scalar_validators import IdValidator, LiteralValidator
from convexpy.values.types import UNSET
from convexpy.values.validator_base import Mismatch, TableNames, Validator, required


class ArrayValidator(Validator):
    """`v.array(element)`."""

    def __init__(self, element: Validator) -> None:
        self.element = required(element, "v.array(…)")

    def _check(self, value: Any, tables: TableNames | None) -> None:
        if type(value) is not list:
            raise Mismatch(value, self)
        element = self.element
        position = -1
        try:
            for position, item in enumerate(value):  # noqa: B007  (named in the refusal)
                element._check(item, tables)
        except Mismatch as mismatch:
            raise mismatch.inside(f"[{position}]") from None

    def to_json(self) -> dict[str, Any]:
        return {"type": "array", "value": self.element.to_json()}

    def describe(self) -> str:
        return f"v.array({self.element.describe()})"


_NO_FIELD = (type(UNSET),)  # what no value of a field is


class ObjectValidator(Validator):
    """`v.object({...})`: exactly these fields; optional ones may be missing."""

    def __init__(self, fields: dict[str, Validator]) -> None:
        if not isinstance(fields, dict):
            raise DefinitionError(f"v.object(…) takes a dict of validators, not {fields!r}.")
        for name, validator in fields.items():
            if not isinstance(validator, Validator):
                raise DefinitionError(
                    f"The field {name!r} of v.object(…) is {validator!r}, not a validator. Write v.string(), "
                    f"v.number() and so on; None or UNSET here often means a circular import."
                )
            if not isinstance(name, str) or not is_field_name(name):
                raise DefinitionError(f"{name!r} cannot be a field name: use printable ASCII, not starting with '$'.")
        self.fields = dict(fields)
        self._plain_types = {name: field.plain_types for name, field in fields.items()}
        self._required = frozenset(name for name, field in fields.items() if not field.is_optional)

    def _check(self, value: Any, tables: TableNames | None) -> None:
        if not isinstance(value, dict):
            raise Mismatch(value, self)
        if not self._fits_plainly(value, tables):
            self._check_each(value, tables)

    def _fits_plainly(self, value: dict[Any, Any], tables: TableNames | None) -> bool:
        """Whether a value fits, found by a look at the fields that it has. False: look at each, in order."""
        if not value.keys() >= self._required:
            return False
        plain_types = self._plain_types
        for name, item in value.items():
            types = plain_types.get(name, _NO_FIELD)
            if types is None:
                try:
                    self.fields[name]._check(item, tables)
                except Mismatch:
                    return False
            elif types:
                if type(item) not in types:
                    return False
            elif item is UNSET:
                return False
        return True

    def _check_each(self, value: dict[Any, Any], tables: TableNames | None) -> None:
        fields = self.fields
        seen = 0
        for name, validator in fields.items():
            item = value.get(name, UNSET)
            if item is UNSET:
                if not validator.is_optional:
                    message = (
                        f"Object is missing the required field `{name}`. Consider wrapping the field validator in "
                        f"`v.optional(...)` if this is expected."
                    )
                    raise Mismatch(value, self, message, "Object")
                continue
            seen += 1
            try:
                validator._check(item, tables)
            except Mismatch as mismatch:
                raise mismatch.inside(f".{name}") from None
        if seen != len(value):
            for name, item in value.items():
                if name not in fields and item is not UNSET:
                    message = f"Object contains extra field `{name}` that is not in the validator."
                    raise Mismatch(value, self, message, "Object")

    def to_json(self) -> dict[str, Any]:
        return {
            "type": "object",
            "value": {
                name: {"fieldType": validator.to_json(), "optional": validator.is_optional}
                for name, validator in self.fields.items()
            },
        }

    def describe(self) -> str:
        inner = ", ".join(f"{name}: {validator.describe()}" for name, validator in sorted(self.fields.items()))
        return f"v.object({{{inner}}})"

    def pick(self, *names: str) -> ObjectValidator:
        """Only these fields."""
        return ObjectValidator({name: self._known(name) for name in names})

    def omit(self, *names: str) -> ObjectValidator:
        """All but these fields."""
        for name in names:
            self._known(name)
        return ObjectValidator({name: field for name, field in self.fields.items() if name not in names})

    def partial(self) -> ObjectValidator:
        """Every field optional."""
        return ObjectValidator({name: OptionalValidator(field) for name, field in self.fields.items()})

    def extend(self, fields: dict[str, Validator]) -> ObjectValidator:
        """These fields too; one of the same name is replaced."""
        return ObjectValidator({**self.fields, **fields})

    def _known(self, name: str) -> Validator:
        if name not in self.fields:
            raise DefinitionError(f"{self.describe()} has no field {name!r}.")
        return self.fields[name]


class RecordValidator(Validator):
    """`v.record(keys, values)`: any number of fields of one kind."""

    def __init__(self, keys: Validator, values: Validator) -> None:
        self.keys = required(keys, "v.record(…)")
        self.values = required(values, "v.record(…)")
        if not _is_key(self.keys):
            raise DefinitionError(
                f"The keys of v.record(…) must be v.string(), v.id(…) or a union of these, not {keys.describe()}. For "
                f"known keys use v.object({{…}})."
            )

    def _check(self, value: Any, tables: TableNames | None) -> None:
        if not isinstance(value, dict):
            raise Mismatch(value, self)
        for name, item in value.items():
            if item is UNSET:
                continue
            step = ".keys()"
            try:
                self.keys._check(name, tables)
                step = ".values()"
                self.values._check(item, tables)
            except Mismatch as mismatch:
                raise mismatch.inside(step) from None

    def to_json(self) -> dict[str, Any]:
        return {
            "type": "record",
            "keys": self.keys.to_json(),
            "values": {"fieldType": self.values.to_json(), "optional": False},
        }

    def describe(self) -> str:
        return f"v.record({self.keys.describe()}, {self.values.describe()})"


class UnionValidator(Validator):
    """`v.union(a, b)`: one of several. Of a union of one the member's own error is told."""

    def __init__(self, *members: Validator) -> None:
        self.members = tuple(required(member, "v.union(…)") for member in members)

    def _check(self, value: Any, tables: TableNames | None) -> None:
        if len(self.members) == 1:
            self.members[0]._check(value, tables)
            return
        for member in self.members:
            if isinstance(member, LiteralValidator):  # its refusal has a text, and making that takes long
                if member.admits(value):
                    return
                continue
            try:
                member._check(value, tables)
            except Mismatch:
                continue
            return
        raise Mismatch(value, self)

    def to_json(self) -> dict[str, Any]:
        return {"type": "union", "value": [member.to_json() for member in self.members]}

    def describe(self) -> str:
        return f"v.union({', '.join(member.describe() for member in self.members)})"


class OptionalValidator(Validator):
    """`v.optional(x)`: a field that may be missing; `None` is not missing."""

    is_optional = True

    def __init__(self, inner: Validator) -> None:
        if not isinstance(inner, Validator):
            raise DefinitionError(f"v.optional(…) takes a validator, not {inner!r}.")
        self.inner: Validator = inner.inner if isinstance(inner, OptionalValidator) else inner
        self.plain_types = self.inner.plain_types

    def _check(self, value: Any, tables: TableNames | None) -> None:
        self.inner._check(value, tables)

    def to_json(self) -> dict[str, Any]:
        return self.inner.to_json()

    def describe(self) -> str:
        return f"v.optional({self.inner.describe()})"


def _is_key(validator: Validator) -> bool:
    if isinstance(validator, UnionValidator):
        return all(_is_key(member) for member in validator.members)
    return isinstance(validator, IdValidator) or validator.to_json() == {"type": "string"}
