"""The `v` namespace that validators are written with, and its reverse: validators from their JSON forms."""

from __future__ import annotations

import base64
from typing import Any, cast

from convexpy.errors import DefinitionError
from convexpy.values.compound_validators import (
    ArrayValidator,
    ObjectValidator,
    OptionalValidator,
    RecordValidator,
    UnionValidator,
)
from convexpy.values.scalar_validators import AnyValidator, IdValidator, LiteralValidator, PlainValidator
from convexpy.values.types import Int64
from convexpy.values.validator_base import Validator


class ValidatorBuilder:
    """The `v` namespace."""

    def string(self) -> Validator:
        return PlainValidator("string", "string", str)

    def number(self) -> Validator:
        """float64: `int` and `float`, not `Int64`, not `bool`."""
        return PlainValidator("float64", "number", int, float)

    def float64(self) -> Validator:
        return self.number()

    def int64(self) -> Validator:
        return PlainValidator("int64", "bigint", Int64)

    def bigint(self) -> Validator:
        return self.int64()

    def boolean(self) -> Validator:
        return PlainValidator("boolean", "boolean", bool)

    def null(self) -> Validator:
        return PlainValidator("null", "null", type(None))

    def bytes(self) -> Validator:
        return PlainValidator("bytes", "bytes", cast(type, bytes))

    def any(self) -> Validator:
        return AnyValidator()

    def id(self, table: str) -> Validator:
        return IdValidator(table)

    def literal(self, value: Any) -> Validator:
        return LiteralValidator(value)

    def literals(self, *values: Any) -> Validator:
        """One of several literals."""
        return UnionValidator(*(LiteralValidator(value) for value in values))

    def array(self, element: Validator) -> Validator:
        return ArrayValidator(element)

    def object(self, fields: dict[str, Validator]) -> ObjectValidator:
        return ObjectValidator(fields)

    def record(self, keys: Validator, values: Validator) -> Validator:
        return RecordValidator(keys, values)

    def union(self, *members: Validator) -> Validator:
        return UnionValidator(*members)

    def optional(self, inner: Validator) -> Validator:
        return OptionalValidator(inner)

    def nullable(self, inner: Validator) -> Validator:
        """The value or None."""
        return UnionValidator(inner, self.null())


v = ValidatorBuilder()


def validator_from_json(described: dict[str, Any]) -> Validator:
    """The validator that `to_json` described."""
    kind = described["type"]
    if kind in ("string", "number", "bigint", "boolean", "null", "bytes", "any"):
        return cast(Validator, getattr(v, kind)())
    if kind == "id":
        return v.id(described["tableName"])
    if kind == "literal":
        value = described["value"]
        return v.literal(_int64_of(value["$integer"]) if isinstance(value, dict) else value)
    if kind == "array":
        return v.array(validator_from_json(described["value"]))
    if kind == "object":
        return v.object({name: _field_from_json(field) for name, field in described["value"].items()})
    if kind == "record":
        return v.record(validator_from_json(described["keys"]), _field_from_json(described["values"]))
    if kind == "union":
        return v.union(*(validator_from_json(member) for member in described["value"]))
    raise DefinitionError(f"There is no validator of type {kind!r}.")


def _field_from_json(field: dict[str, Any]) -> Validator:
    validator = validator_from_json(field["fieldType"])
    return v.optional(validator) if field["optional"] else validator


def _int64_of(text: str) -> Int64:
    return Int64(int.from_bytes(base64.b64decode(text), "little", signed=True))
