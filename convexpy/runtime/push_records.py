"""The rows that pushes leave: the schemas that are in force (`_modules`), and the push that is under way (`_pushes`).

A row of `_pushes` is there from `prepare` to `switch`. It begins as `pending` and becomes `failed` when somebody writes
a document that fits the schema in force but not the one of the push. What a killed server leaves is taken over, or
taken away, by the next push.
"""

from __future__ import annotations

from typing import Any

import msgspec

from convexpy.errors import InvalidRequest, PushSuperseded
from convexpy.runtime.execution import Run
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.system_tables import MODULES, PUSHES
from convexpy.values import decode_id, index_key

Schemas = dict[str, dict[str, Any]]  # `SchemaDefinition.export()` by component path
NO_SCHEMA: dict[str, Any] = {"tables": {}, "schema_validation": False}


def schemas_of(run: Run) -> Schemas:
    """What the code of this run's generation declares, of every component instance."""
    instances = run.generation.application.instances
    return {path: NO_SCHEMA if each.schema is None else each.schema.export() for path, each in instances.items()}


def stored_module(run: Run) -> dict[str, Any] | None:
    """The row of the code that is in force."""
    key = index_key([""])
    bounds = IndexBounds(key, key + b"\xff")
    return next(iter(run.transaction.scan(MODULES, MODULES.indexes["by_path"], bounds)), None)


def schemas_in_force(run: Run) -> Schemas:
    """What the last push that switched declared; nothing before the first one."""
    row = stored_module(run)
    return {} if row is None else _decoded(row["schemas"])


def schemas_under_way(run: Run) -> Schemas:
    """What the push under way declares; nothing where there is none."""
    return next((_decoded(row["schemas"]) for row in _pushes(run)), {})


def begin_push(run: Run, schemas: Schemas) -> str:
    """The row of a new push, in place of any earlier one; its id."""
    end_pushes(run)
    return run.transaction.insert(PUSHES, {"state": "pending", "schemas": encoded(schemas)})


def end_pushes(run: Run) -> bool:
    """No push is under way any more; whether one was."""
    rows = _pushes(run)
    for row in rows:
        run.transaction.delete(PUSHES, decode_id(row["_id"])[1])
    return bool(rows)


def require_pending(run: Run, push: str) -> None:
    """Go on only with a push that may still switch.

    Raises:
        InvalidRequest: it has failed; the text names the document that somebody wrote.
        PushSuperseded: another one was begun.
    """
    row = run.transaction.get(PUSHES, decode_id(push)[1])
    if row is None:
        raise PushSuperseded("Another push was begun before this one was live.")
    if row["state"] == "failed":
        raise InvalidRequest(row["error"])


def fail_push(run: Run, push: str, error: str) -> None:
    """Keep a push from switching; the first reason stays."""
    internal_id = decode_id(push)[1]
    row = run.transaction.get(PUSHES, internal_id)
    if row is not None and row["state"] == "pending":
        run.transaction.replace(PUSHES, internal_id, {**row, "state": "failed", "error": error})


def encoded(schemas: Schemas) -> str:
    """As text: a validator's JSON may hold names and depths that a document may not."""
    return msgspec.json.encode(schemas).decode()


def _decoded(text: Any) -> Schemas:
    return msgspec.json.decode(text, type=Schemas)


def _pushes(run: Run) -> list[dict[str, Any]]:
    return list(run.transaction.scan(PUSHES, PUSHES.indexes["by_state"], IndexBounds()))
