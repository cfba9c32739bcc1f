"""`ctx.db`: reads for queries, reads and writes for mutations, in one component's namespace.

Checks what the user can get wrong (ids, tables, reserved fields, the schema) and hands the rest to the transaction.
Texts: runtime-semantics 2.1, 2.2, 3.1, 3.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from convexpy.errors import InvalidId, LimitExceeded, QueryError, ValidationFailed, WriteError
from convexpy.functions.pagination import PaginationHost
from convexpy.functions.query_builder import Query
from convexpy.functions.system_documents import SYSTEM_VIEWS
from convexpy.limits import DOCUMENT_BYTES_MAX, DOCUMENT_DEPTH_MAX, IDENTIFIER_CHARS_MAX
from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.system_tables import SYSTEM_TABLES
from convexpy.transactions.tables import ensure_table, find_table, table_of_number
from convexpy.transactions.transaction import Transaction
from convexpy.values import (
    UNSET,
    Unset,
    decode_id,
    depth_of,
    equal,
    is_document_field,
    is_identifier,
    normalize,
    size_beyond,
)
from convexpy.values.validator_base import TableNames, Validator

Document = dict[str, Any]

_PLATFORM_FIELDS_BYTES = 61  # `_id` and `_creationTime`
_WRITES = ("insert", "patch", "replace", "delete")
_SYSTEM_NUMBERS = {table.number: table for table in SYSTEM_TABLES.values()}


class DatabaseHost(PaginationHost, Protocol):
    """What a run tells its database: where it is and what may be stored there."""

    transaction: Transaction
    namespace: int

    def schema_of(self, table: str) -> Validator | None:
        """The validator that documents of a table must match; None: anything."""


class NamespaceTables(TableNames):
    """Table names by the numbers in ids, for `v.id(...)`, as one run sees them."""

    def __init__(self, host: DatabaseHost) -> None:
        self._host = host

    def name_of(self, table_number: int) -> str | None:
        if table_number in _SYSTEM_NUMBERS:
            return _SYSTEM_NUMBERS[table_number].name
        table = table_of_number(self._host.transaction, self._host.namespace, table_number)
        return None if table is None else table.name


class DatabaseReader:
    """Reads of one component's tables, at the run's snapshot and with its own pending writes."""

    def __init__(self, host: DatabaseHost) -> None:
        self._host = host

    @property
    def system(self) -> SystemReader:
        """The platform's readable tables: `_scheduled_functions` and `_storage`."""
        return SystemReader(self._host)

    def get(self, table_or_id: str, id: str | Unset = UNSET, /) -> Document | None:
        """Read a document by id, or None where it is absent: `get(id)` or `get(table, id)`."""
        table, internal_id = self._target("get", table_or_id, id)
        return None if table is None else self._host.transaction.get(table, internal_id)

    def query(self, table: str) -> Query:
        """Begin a read of a table, by creation time unless an index is chosen."""
        if isinstance(table, str) and table.startswith("_"):
            raise QueryError("System tables can only be accessed from db.system.query().")
        check_table_name(table)
        host = self._host
        return Query(host.transaction, find_table(host.transaction, host.namespace, table), table, host)

    def normalize_id(self, table: str, id: str) -> str | None:
        """`id` as an id of `table`, or None where it is none; never raises for junk."""
        check_table_name(table)
        if table.startswith("_"):
            return None
        try:
            number, _ = decode_id(id)
        except (InvalidId, TypeError):
            return None
        found = find_table(self._host.transaction, self._host.namespace, table)
        return id if found is not None and found.number == number else None

    if not TYPE_CHECKING:  # a type checker is to refuse unknown names by itself

        def __getattr__(self, name: str) -> Any:
            # An AttributeError as for any other name, so `hasattr` tells a reader from a writer.
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name in _WRITES:
                text += (
                    f". Queries only read: ctx.db.{name}() is for mutations, so decorate the function with @mutation."
                )
            raise AttributeError(text, name=name, obj=self)

    def _target(self, operation: str, table_or_id: Any, id: Any) -> tuple[TableInfo | None, bytes]:
        number, internal_id = _decoded(f"db.{operation}", table_or_id if id is UNSET else id)
        if number in _SYSTEM_NUMBERS:
            if operation == "get":
                raise QueryError("System tables can only be accessed with db.system.")
            raise WriteError("System tables (prefixed with `_`) are read-only.")
        table = table_of_number(self._host.transaction, self._host.namespace, number)
        if id is not UNSET and (table is None or table.name != table_or_id):
            raise _of_other_table(f"db.{operation}", table_or_id, "unknown" if table is None else table.name)
        return table, internal_id


class DatabaseWriter(DatabaseReader):
    """Reads and writes of one component's tables; the writes commit with the mutation or not at all."""

    def insert(self, table: str, value: Document) -> str:
        """Add a document; the table is created with its first one. Returns the new id."""
        if isinstance(table, str) and table.startswith("_"):
            raise WriteError("System tables (prefixed with `_`) are read-only.")
        check_table_name(table)
        fields = _fields(value, "insert")
        for reserved in ("_id", "_creationTime"):
            if reserved in fields:
                raise WriteError(
                    f"Invalid argument `value` for `db.insert`: the field `{reserved}` is set by the platform. "
                    f"Remove it from the value."
                )
        host = self._host
        self._check_document(table, fields)
        return host.transaction.insert(ensure_table(host.transaction, host.namespace, table), fields)

    def patch(self, table_or_id: str, id_or_value: Any, value: Document | Unset = UNSET, /) -> None:
        """Replace some fields: `patch(id, fields)` or `patch(table, id, fields)`; `UNSET` removes a field."""
        table, internal_id, changes, document = self._existing("patch", "Update", table_or_id, id_or_value, value)
        merged = {**document, **changes}
        is_changed = any(not equal(document.get(name, UNSET), field) for name, field in changes.items())
        self._store(table, internal_id, document, {k: v for k, v in merged.items() if v is not UNSET}, is_changed)

    def replace(self, table_or_id: str, id_or_value: Any, value: Document | Unset = UNSET, /) -> None:
        """Replace all fields but `_id` and `_creationTime`: `replace(id, fields)` or `replace(table, id, fields)`."""
        table, internal_id, fields, document = self._existing("replace", "Replace", table_or_id, id_or_value, value)
        after = {"_id": document["_id"], "_creationTime": document["_creationTime"], **fields}
        self._store(table, internal_id, document, after, not equal(document, after))

    def delete(self, table_or_id: str, id: str | Unset = UNSET, /) -> None:
        """Remove a document: `delete(id)` or `delete(table, id)`."""
        table, internal_id = self._target("delete", table_or_id, id)
        document = None if table is None else self._host.transaction.get(table, internal_id)
        if table is None or document is None:
            raise WriteError(f"Delete on nonexistent document ID {table_or_id if id is UNSET else id}")
        self._host.transaction.delete(table, internal_id, document)

    def _existing(
        self, operation: str, verb: str, table_or_id: str, id_or_value: Any, value: Document | Unset
    ) -> tuple[TableInfo, bytes, Document, Document]:
        document_id, given = (table_or_id, id_or_value) if value is UNSET else (id_or_value, value)
        fields = _fields(given, operation)
        table, internal_id = self._target(operation, table_or_id, UNSET if value is UNSET else id_or_value)
        document = None if table is None else self._host.transaction.get(table, internal_id)
        if table is None or document is None:
            raise WriteError(f"{verb} on nonexistent document ID {document_id}")
        return table, internal_id, fields, document

    def _store(self, table: TableInfo, internal_id: bytes, before: Document, after: Document, is_changed: bool) -> None:
        for reserved in ("_id", "_creationTime"):
            given = after.get(reserved, UNSET)
            if given is not before[reserved] and not equal(given, before[reserved]):
                raise WriteError(
                    f"Provided value {after.get(reserved)!r} doesn't match '{reserved}' field {before[reserved]!r}."
                )
        fields = {name: value for name, value in after.items() if name not in ("_id", "_creationTime")}
        self._check_document(table.name, fields)
        if is_changed:
            self._host.transaction.replace(table, internal_id, after, before)

    def _check_document(self, table: str, fields: Document) -> None:
        for name in fields:
            if not is_document_field(name):
                raise WriteError(
                    f"Field name {name!r} is not allowed at the top of a document: use letters, digits and "
                    f"underscores, not starting with an underscore or a digit."
                )
        size = size_beyond(fields, DOCUMENT_BYTES_MAX - _PLATFORM_FIELDS_BYTES)
        if size is not None:
            raise LimitExceeded(f"Value is too large ({size + _PLATFORM_FIELDS_BYTES} bytes > maximum size 1 MiB)")
        depth = depth_of(fields)
        if depth > DOCUMENT_DEPTH_MAX:
            raise LimitExceeded(f"Document is too nested (nested {depth} levels deep > maximum nesting 16)")
        validator = self._host.schema_of(table)
        if validator is not None:
            try:
                validator.check(fields, NamespaceTables(self._host))
            except ValidationFailed as error:
                raise WriteError(
                    f'Failed to insert or update a document in table "{table}" because it does not match the '
                    f"schema: {error}"
                ) from error


class SystemReader:
    """Reads of the platform's tables; each component sees its own rows."""

    def __init__(self, host: DatabaseHost) -> None:
        self._host = host

    def get(self, table_or_id: str, id: str | Unset = UNSET, /) -> Document | None:
        """Read a row by id, or None where it is absent or another component's."""
        number, internal_id = _decoded("db.system.get", table_or_id if id is UNSET else id)
        table = _SYSTEM_NUMBERS.get(number)
        if table is None:
            raise QueryError("User tables cannot be accessed with db.system.")
        if id is not UNSET and table.name != table_or_id:
            raise _of_other_table("db.system.get", table_or_id, table.name)
        row = self._host.transaction.get(table, internal_id)
        return None if row is None else self._view(table.name)(row)

    def query(self, table: str) -> Query:
        """Begin a read of `_scheduled_functions` or `_storage`."""
        check_table_name(table)
        if not table.startswith("_"):
            raise QueryError("User tables can only be accessed from db.query().")
        found = SYSTEM_TABLES.get(table) if table in SYSTEM_VIEWS else None
        return Query(self._host.transaction, found, table, self._host, self._view(table))

    def normalize_id(self, table: str, id: str) -> str | None:
        """`id` as an id of a system table, or None."""
        try:
            number, _ = decode_id(id)
        except (InvalidId, TypeError):
            return None
        found = _SYSTEM_NUMBERS.get(number)
        return id if found is not None and found.name == table else None

    def _view(self, table: str) -> Callable[[Document], Document | None]:
        namespace = self._host.namespace
        view = SYSTEM_VIEWS.get(table)

        def present(row: Document) -> Document | None:
            return view(row) if view is not None and row["namespace"] == namespace else None

        return present


def check_table_name(name: str) -> None:
    """Refuse what cannot be a table's name."""
    if not isinstance(name, str):
        raise QueryError(
            f"Invalid table name: it is a text (str), not of type {type(name).__name__}. Name the table as in "
            f'ctx.db.query("messages") or ctx.db.insert("messages", {{…}}).'
        )
    if not is_identifier(name) or len(name) > IDENTIFIER_CHARS_MAX:
        raise QueryError(
            f"Invalid table name {name!r}: use letters, digits and underscores, at most {IDENTIFIER_CHARS_MAX} "
            f"characters, not starting with a digit."
        )


def _decoded(operation: str, document_id: Any) -> tuple[int, bytes]:
    if not isinstance(document_id, str):
        raise QueryError(f"Invalid argument `id` for `{operation}`: expected a string, got {document_id!r}.")
    try:
        return decode_id(document_id)
    except InvalidId as error:
        raise InvalidId(f"Invalid argument `id` for `{operation}`: Unable to decode ID: {error}") from error


def _of_other_table(operation: str, expected: Any, found: str) -> QueryError:
    return QueryError(
        f'Invalid argument `id` for `{operation}`: expected to be an Id<"{expected}">, got Id<"{found}"> instead.'
    )


def _fields(value: Any, operation: str) -> Document:
    if not isinstance(value, dict):
        raise WriteError(f"Invalid argument `value` for `db.{operation}`: Value must be an Object")
    # First of all: what follows compares, measures and shows the fields, and may rely on their being values.
    fields: Document = normalize(value)
    if operation == "patch":
        fields.update((name, UNSET) for name, field in value.items() if field is UNSET)
    return fields
