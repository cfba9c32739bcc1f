"""Whether every value that one validator accepts is accepted by another.

A push asks it: documents that were checked against the old validator need not be read again if it lies within the new
one. Yes is a promise; no only means that it is not plain to see, and costs a scan of the table.
"""

from __future__ import annotations

from convexpy.errors import ValidationFailed
from convexpy.values.compound_validators import (
    ArrayValidator,
    ObjectValidator,
    OptionalValidator,
    RecordValidator,
    UnionValidator,
)
from convexpy.values.scalar_validators import IdValidator, LiteralValidator
from convexpy.values.types import Int64
from convexpy.values.validator_base import TableNames, Validator
from convexpy.values.validator_builder import v

_BOOLEANS = (v.literal(False), v.literal(True))


def is_subset(inner: Validator, outer: Validator) -> bool:
    """Whether all that `inner` accepts, `outer` accepts too, as long as no table changes its name or number.

    A field that may be missing lies only within one that may be missing as well.
    """
    if inner.is_optional and not outer.is_optional:
        return False
    return _is_within(_required(inner), _required(outer))


def _required(validator: Validator) -> Validator:
    return validator.inner if isinstance(validator, OptionalValidator) else validator


def _is_within(inner: Validator, outer: Validator) -> bool:
    if outer == v.any() or inner == outer:
        return True
    if isinstance(inner, UnionValidator):
        return all(_is_within(member, outer) for member in inner.members)
    if isinstance(outer, UnionValidator):
        if any(_is_within(inner, member) for member in outer.members):
            return True
        return inner == v.boolean() and all(_is_within(each, outer) for each in _BOOLEANS)
    if isinstance(inner, LiteralValidator):
        return _accepts(outer, inner.value)
    if isinstance(inner, IdValidator):
        return outer == v.string()
    if isinstance(inner, ArrayValidator):
        return isinstance(outer, ArrayValidator) and _is_within(inner.element, outer.element)
    if isinstance(inner, RecordValidator):
        return (
            isinstance(outer, RecordValidator)
            and _is_within(inner.keys, outer.keys)
            and _is_within(inner.values, outer.values)
        )
    if isinstance(inner, ObjectValidator):
        return _is_object_within(inner, outer)
    return False


def _is_object_within(inner: ObjectValidator, outer: Validator) -> bool:
    if isinstance(outer, ObjectValidator):
        return all(
            name in outer.fields and is_subset(field, outer.fields[name]) for name, field in inner.fields.items()
        ) and all(name in inner.fields or field.is_optional for name, field in outer.fields.items())
    if isinstance(outer, RecordValidator):
        return all(
            _accepts(outer.keys, name) and _is_within(_required(field), outer.values)
            for name, field in inner.fields.items()
        )
    return False


def _accepts(validator: Validator, value: str | float | bool | Int64) -> bool:
    try:
        validator.check(value, _NO_TABLES)
    except ValidationFailed:
        return False
    return True


class _NoTables(TableNames):
    """Literals and field names are no ids: whatever their text, it is not decided here which table it is of."""

    def name_of(self, table_number: int) -> str | None:
        return None


_NO_TABLES = _NoTables()
