"""How rows of the platform's tables look to user code: Convex's shapes, without the fields that are ours alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Document = dict[str, Any]

_SCHEDULED_FIELDS = ("_id", "_creationTime", "name", "args", "scheduledTime", "completedTime", "state")


def scheduled_function_view(row: Document) -> Document:
    """A scheduled function: name, args, scheduledTime and completedTime in ms, state.

    Beyond Convex `failing` {attempt, error}: an `on_complete` that raised and is tried again.
    """
    shown = {name: row[name] for name in _SCHEDULED_FIELDS if name in row}
    if "error" in row.get("retry", {}) and row["state"]["kind"] == "pending":
        shown["failing"] = row["retry"]
    return shown


def stored_file_view(row: Document) -> Document:
    """A stored file: sha256 in base64, size in bytes, contentType if one was given."""
    shown = ("_id", "_creationTime", "sha256", "size", "contentType")
    return {name: row[name] for name in shown if name in row}


SYSTEM_VIEWS: dict[str, Callable[[Document], Document]] = {
    "_scheduled_functions": scheduled_function_view,
    "_storage": stored_file_view,
}
