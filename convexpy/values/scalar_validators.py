"""Validators of values that have no parts: by type alone, of document ids, of one literal; and of any value."""

from __future__ import annotations

import base64
import math
from typing import Any

from convexpy.errors import DefinitionError, InvalidId, InvalidValue
from convexpy.values.checking import check_value, is_identifier
from convexpy.values.ids import decode_id
from convexpy.values.js_notation import js_text
from convexpy.values.order import equal
from convexpy.values.types import UNSET, Int64
from convexpy.values.validator_base import Mismatch, TableNames, Validator


class PlainValidator(Validator):
    """A validator that looks at the Python type alone."""

    plain_types: tuple[type, ...]

    def __init__(self, name: str, json_name: str, *types: type) -> None:
        self._name, self._json_name, self.plain_types = name, json_name, types

    def _check(self, value: Any, tables: TableNames | None) -> None:
        if type(value) not in self.plain_types:
            raise Mismatch(value, self)

    def to_json(self) -> dict[str, Any]:
        return {"type": self._json_name}

    def describe(self) -> str:
        return f"v.{self._name}()"


class AnyValidator(Validator):
    """`v.any()`: whatever is a value."""

    plain_types = ()

    def _check(self, value: Any, tables: TableNames | None) -> None:
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

    def _check(self, value: Any, tables: TableNames | None) -> None:
        if type(value) is not str:
            raise Mismatch(value, self)
        try:
            number, _ = decode_id(value)
        except InvalidId:
            raise Mismatch(value, self) from None
        if tables is None:
            return
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

    def _check(self, value: Any, tables: TableNames | None) -> None:
        if not self.admits(value):
            message = f"`{js_text(value)}` does not match literal validator `{self.describe()}`."
            raise Mismatch(value, self, message, label=None)

    def to_json(self) -> dict[str, Any]:
        value = self.value
        return {"type": "literal", "value": {"$integer": _int64_text(value)} if isinstance(value, Int64) else value}

    def describe(self) -> str:
        return f"v.literal({js_text(self.value)})"


def _int64_text(number: Int64) -> str:
    return base64.b64encode(int(number).to_bytes(8, "little", signed=True)).decode()
