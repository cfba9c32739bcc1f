"""Checks documents against the schema of a push under way: those that are there, and those that are written meanwhile.

`prepare` puts the new validator into the catalog row of each table whose documents may not fit it. Every writer has
that row in its read set, so from that commit on every write that goes through is checked against both schemas, and what
is already there is read chunk by chunk, on any snapshot, in no conflict with anybody. A document either was there when
the checks began and is still the same when its chunk is read, or its writer has checked it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convexpy.errors import InvalidRequest, ValidationFailed
from convexpy.functions.database import NamespaceTables
from convexpy.limits import VALIDATED_BYTES_PER_CALL, VALIDATED_ROWS_PER_CALL
from convexpy.runtime.execution import Run
from convexpy.runtime.push_records import fail_push, require_pending
from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.tables import find_table
from convexpy.transactions.transaction import Transaction
from convexpy.values import Validator, is_subset, validator_from_json

Payload = dict[str, Any]


def validator_to_check(before: Payload, after: Payload, table: str) -> Validator | None:
    """What the documents of a table have to be checked against: None where all that could be there fits already.

    Args:
        before, after: the schemas in force and of the push, as `SchemaDefinition.export()` gives them.
    """
    new = _enforced(after, table)
    if new is None:
        return None
    old = _enforced(before, table)
    return None if is_subset(old or _ANYTHING, new) else new


_ANYTHING = validator_from_json({"type": "any"})


def _enforced(schema: Payload, table: str) -> Validator | None:
    declared = schema["tables"].get(table) if schema["schema_validation"] else None
    return None if declared is None else validator_from_json(declared["validator"])


def check_documents(run: Run, payload: Payload) -> Payload:
    """Check one chunk of a table: `push`, `namespace`, `table`, `after` (an id, None to begin).

    Returns:
        `{"after": the last id checked, None at the end of the table; "rows": how many}`.

    Raises:
        InvalidRequest: a document does not match; the text names it, its table and the path inside it.
    """
    require_pending(run, payload["push"])
    table = find_table(run.transaction, payload["namespace"], payload["table"])
    if table is None or table.pending_schema is None:
        return {"after": None, "rows": 0}
    after = bytes.fromhex(payload["after"] or "")
    documents, last = run.transaction.stored_chunk(table, after, VALIDATED_ROWS_PER_CALL, VALIDATED_BYTES_PER_CALL)
    for _, document in documents:
        misfit = _misfit(run.transaction, table, table.pending_schema.validator, document)
        if misfit is not None:
            raise InvalidRequest(
                f'Document with ID "{document["_id"]}" in table "{table.name}" does not match the schema: {misfit}'
            )
    return {"after": None if last is None else last.hex(), "rows": len(documents)}


def note_misfits(run: Run) -> None:
    """Fail the push under way if this run would leave a document that fits only the schema in force.

    The run itself succeeds; its commit and the push's failure are one.
    """
    transaction = run.transaction
    for table, pending, document in list(transaction.documents_under_pending_schemas()):
        misfit = _misfit(transaction, table, pending.validator, document)
        if misfit is not None:
            was_unlimited, transaction.is_unlimited = transaction.is_unlimited, True
            fail_push(
                run,
                pending.push,
                f'New document in table "{table.name}" does not match the schema: {misfit}\n'
                f'It was written with ID "{document["_id"]}" while the push was under way.',
            )
            transaction.is_unlimited = was_unlimited
            return


def _misfit(transaction: Transaction, table: TableInfo, validator: Validator, document: Payload) -> str | None:
    fields = {name: value for name, value in document.items() if name not in ("_id", "_creationTime")}
    try:
        validator.check(fields, NamespaceTables(_Place(transaction, table.namespace)))  # type: ignore[arg-type]
    except ValidationFailed as error:
        return str(error)
    return None


@dataclass
class _Place:
    """Just enough of a run for `v.id(...)` to find table names."""

    transaction: Transaction
    namespace: int
