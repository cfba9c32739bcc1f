"""Validators: what a value must look like, as data that can be checked, shown and exported.

`check` refuses with the texts that Convex users know (runtime-semantics 3.5): the message, then lines for the path
inside the value (empty at the root), the part that does not fit, and the validator it does not fit. A message that
names value and validator itself, of a literal or an id, is followed by the path alone.
Source: convex-backend:crates/common/src/schemas/validator.rs.
"""

from __future__ import annotations

import base64
import math
from typing import Any

from convexpy.errors import DefinitionError, InvalidId, InvalidValue
from convexpy.values.checking import check_value, is_field_name, is_identifier
from convexpy.values.ids import decode_id
from convexpy.values.js_notation import js_text
from convexpy.values.order import equal
from convexpy.values.types import UNSET, Int64
from convexpy.values.validator_base import Mismatch, TableNames, Validator, required


class PlainValidator(Validator):
    """A validator that looks at the Python type alone."""

    plain_types: tuple[type, ...]

    def __init__(self, name: str, json_name: str, *types: type) -> None:
        self._name, self._json_name, self.plain_types = name, json_name, types

    def _check(self, value: Any, tables: TableNames) -> None:
        if type(value) not in self.plain_types:
            raise Mismatch(value, self)

    def to_json(self) -> dict[str, Any]:
        return {"type": self._json_name}

    def describe(self) -> str:
        return f"v.{self._name}()"


class AnyValidator(Validator):
    """`v.any()`: whatever is a value."""

    plain_types = ()

    def _check(self, value: Any, tables: TableNames) -> None:
        if value is UNSET:
            raise Mismatch(value, self)

    def to_json(self) -> dict[str, Any]:
        return {"type": "any"}

    def describe(self) -> str:
        return "v.any()"


class IdValidator(Validator):
    """`v.id("table")`: a document id that carries the number of that table; whether the row exists is not asked."""

    def __init__(self, table: str) -> None:
        if not isinstance(table, str) or not is_identifier(table):
            raise DefinitionError(f"v.id(…) takes the name of a table, not {table!r}.")
        self.table = table

    def _check(self, value: Any, tables: TableNames) -> None:
        if type(value) is not str:
            raise Mismatch(value, self)
        try:
            number, _ = decode_id(value)
        except InvalidId:
            raise Mismatch(value, self) from None
        found = tables.name_of(number)
        if found == self.table:
            return
        expected = f"does not match the table name in validator `{self.describe()}`."
        if found is not None and found.startswith("_"):
            message = f'Found ID "{value}" from a system table, which {expected}'
        elif found is None:
            message = f'Found ID "{value}" from an unknown table, which {expected}'
        else:
            message = f'Found ID "{value}" from table `{found}`, which {expected}'
        raise Mismatch(value, self, message, label=None)

    def to_json(self) -> dict[str, Any]:
        return {"type": "id", "tableName": self.table}

    def describe(self) -> str:
        return f'v.id("{self.table}")'


class LiteralValidator(Validator):
    """`v.literal("a")`: exactly this string, number, int64 or boolean."""

    def __init__(self, value: Any) -> None:
        if type(value) not in (str, int, float, bool, Int64) or (type(value) is float and not math.isfinite(value)):
            raise DefinitionError(
                f"v.literal(…) takes a string, a finite number, an Int64 or a boolean, not {value!r}."
            )
        try:
            check_value(value)
        except InvalidValue as error:
            raise DefinitionError(f"v.literal(…) takes a Convex value. {error}") from None
        self.value = value
        self._is_string = type(value) is str

    def admits(self, value: Any) -> bool:
        """Whether a value is this one."""
        if self._is_string:
            return type(value) is str and value == self.value
        return type(value) in (int, float, bool, Int64) and equal(value, self.value)

    def _check(self, value: Any, tables: TableNames) -> None:
        if not self.admits(value):
            message = f"`{js_text(value)}` does not match literal validator `{self.describe()}`."
            raise Mismatch(value, self, message, label=None)

    def to_json(self) -> dict[str, Any]:
        value = self.value
        return {"type": "literal", "value": {"$integer": _int64_text(value)} if isinstance(value, Int64) else value}

    def describe(self) -> str:
        return f"v.literal({js_text(self.value)})"


class ArrayValidator(Validator):
    """`v.array(element)`."""

    def __init__(self, element: Validator) -> None:
        self.element = required(element, "v.array(…)")

    def _check(self, value: Any, tables: TableNames) -> None:
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

    def _check(self, value: Any, tables: TableNames) -> None:
        if not isinstance(value, dict):
            raise Mismatch(value, self)
        if not self._fits_plainly(value, tables):
            self._check_each(value, tables)

    def _fits_plainly(self, value: dict[Any, Any], tables: TableNames) -> bool:
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

    def _check_each(self, value: dict[Any, Any], tables: TableNames) -> None:
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

    def _check(self, value: Any, tables: TableNames) -> None:
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

    def _check(self, value: Any, tables: TableNames) -> None:
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

    def _check(self, value: Any, tables: TableNames) -> None:
        self.inner._check(value, tables)

    def to_json(self) -> dict[str, Any]:
        return self.inner.to_json()

    def describe(self) -> str:
        return f"v.optional({self.inner.describe()})"


def _is_key(validator: Validator) -> bool:
    if isinstance(validator, UnionValidator):
        return all(_is_key(member) for member in validator.members)
    return isinstance(validator, IdValidator) or validator.to_json() == {"type": "string"}


def _int64_text(number: Int64) -> str:
    return base64.b64encode(int(number).to_bytes(8, "little", signed=True)).decode()
