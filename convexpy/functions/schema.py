"""`define_schema({"messages": define_table({...}).index("by_channel", ["channel"])})`: tables, validators, indexes."""

from __future__ import annotations

from typing import Any, NamedTuple

from convexpy.errors import DefinitionError
from convexpy.limits import INDEX_FIELDS_MAX, INDEXES_MAX
from convexpy.values import Validator, is_identifier, v
from convexpy.values.compound_validators import ObjectValidator, OptionalValidator, RecordValidator, UnionValidator

_BUILT_IN = ("by_id", "by_creation_time")


class IndexDefinition(NamedTuple):
    """An index as the schema names it; a staged one is built but may not be read yet."""

    name: str
    fields: tuple[str, ...]
    staged: bool


class TableDefinition:
    """One table; `index` gives a new definition, so one may be shared and refined."""

    def __init__(self, validator: Validator, indexes: tuple[IndexDefinition, ...] = ()) -> None:
        self.validator = validator
        self.indexes = indexes

    def index(self, name: str, fields: list[str], staged: bool = False) -> TableDefinition:
        """Add an index over `fields` (dotted paths reach nested objects); `_creationTime` follows by itself.

        Raises:
            DefinitionError: a name or field that cannot be, or an index that is there already.
        """
        self._check_index(name, fields)
        return TableDefinition(self.validator, (*self.indexes, IndexDefinition(name, tuple(fields), staged)))

    def _check_index(self, name: str, fields: list[str]) -> None:
        if not isinstance(name, str) or not is_identifier(name) or name.startswith("_") or name in _BUILT_IN:
            raise DefinitionError(
                f"{name!r} cannot be the name of an index: use an identifier of at most 64 characters that does not "
                f"start with '_' and is not by_id or by_creation_time."
            )
        if not isinstance(fields, list | tuple) or not 1 <= len(fields) <= INDEX_FIELDS_MAX:
            raise DefinitionError(f"The index {name!r} needs a list of 1 to {INDEX_FIELDS_MAX} field names.")
        if not all(isinstance(field, str) for field in fields):
            raise DefinitionError(f"The index {name!r} names its fields as strings, not {fields!r}.")
        if len(set(fields)) != len(fields):
            raise DefinitionError(f"The index {name!r} names a field twice: {fields}.")
        for field in fields:
            self._check_field(name, field)
        for other in self.indexes:
            if other.name == name:
                raise DefinitionError(f"The table has two indexes named {name!r}.")
            if other.fields == tuple(fields):
                raise DefinitionError(
                    f"The indexes {other.name!r} and {name!r} have the same fields. Keep one of them."
                )
        if len(self.indexes) >= INDEXES_MAX:
            raise DefinitionError(f"A table can have at most {INDEXES_MAX} indexes.")

    def _check_field(self, index: str, field: str) -> None:
        if field == "_id":
            raise DefinitionError(f"The index {index!r} cannot contain _id: use the built-in index by_id.")
        if field == "_creationTime":
            raise DefinitionError(
                f"The index {index!r} cannot contain _creationTime: every index ends with it by itself."
            )
        if not all(is_identifier(part) for part in field.split(".")):
            raise DefinitionError(f"The index {index!r} names {field!r}, which is no field path.")
        if field.startswith("_"):
            raise DefinitionError(
                f"The index {index!r} names {field!r}: fields that start with '_' are the platform's."
            )
        if not _has_path(self.validator, field.split(".")):
            raise DefinitionError(f"The index {index!r} references the field `{field}` that does not exist.")


def _has_path(validator: Validator, path: list[str]) -> bool:
    if isinstance(validator, OptionalValidator):
        return _has_path(validator.inner, path)
    if isinstance(validator, UnionValidator):
        return any(_has_path(member, path) for member in validator.members)
    if not path or validator == v.any():
        return True
    if isinstance(validator, ObjectValidator):
        field = validator.fields.get(path[0])
        return field is not None and _has_path(field, path[1:])
    return isinstance(validator, RecordValidator) and _has_path(validator.values, path[1:])


class SchemaDefinition:
    """All tables that an app or component declares."""

    def __init__(self, tables: dict[str, TableDefinition], schema_validation: bool) -> None:
        self.tables = tables
        self.schema_validation = schema_validation

    def enforced_validator(self, table: str) -> Validator | None:
        """What documents of a table must match; None: anything."""
        definition = self.tables.get(table) if self.schema_validation else None
        return None if definition is None else definition.validator

    def export(self) -> dict[str, Any]:
        """Plain data: `{"tables": {name: {"validator", "indexes": [{"name", "fields", "staged"}]}}, …}`."""
        return {
            "tables": {
                name: {
                    "validator": table.validator.to_json(),
                    "indexes": [
                        {"name": index.name, "fields": list(index.fields), "staged": index.staged}
                        for index in table.indexes
                    ],
                }
                for name, table in self.tables.items()
            },
            "schema_validation": self.schema_validation,
        }


def define_table(fields: dict[str, Validator] | Validator) -> TableDefinition:
    """A table whose documents have these fields, or match a validator (an object, a union of objects, or any)."""
    validator = v.object(fields) if isinstance(fields, dict) else fields
    if not isinstance(validator, Validator) or not _is_of_objects(validator):
        raise DefinitionError(f"A table's validator is an object, a union of objects, or v.any(), not {validator!r}.")
    _check_document_fields(validator)
    return TableDefinition(validator)


def _is_of_objects(validator: Validator) -> bool:
    if isinstance(validator, UnionValidator):
        return bool(validator.members) and all(_is_of_objects(member) for member in validator.members)
    return isinstance(validator, ObjectValidator) or validator == v.any()


def _check_document_fields(validator: Validator) -> None:
    if isinstance(validator, UnionValidator):
        for member in validator.members:
            _check_document_fields(member)
    if isinstance(validator, ObjectValidator):
        for name in validator.fields:
            if not is_identifier(name) or name.startswith("_"):
                raise DefinitionError(
                    f"{name!r} cannot be a field at the top of a document: use an identifier that does not start with "
                    f"'_' (_id and _creationTime are there by themselves)."
                )


def define_schema(tables: dict[str, TableDefinition], schema_validation: bool = True) -> SchemaDefinition:
    """Declare tables. Those that are not listed stay usable.

    Args:
        schema_validation: False: indexes only, documents are not checked.
    """
    if not isinstance(tables, dict):
        raise DefinitionError(f"define_schema(…) takes a dict of tables by name, not {tables!r}.")
    for name, table in tables.items():
        if not isinstance(name, str) or not is_identifier(name) or name.startswith("_"):
            raise DefinitionError(f"{name!r} cannot be the name of a table: use an identifier not starting with '_'.")
        if not isinstance(table, TableDefinition):
            raise DefinitionError(f"The table {name!r} is {table!r}. Write define_table({{…}}).")
    return SchemaDefinition(dict(tables), schema_validation)
