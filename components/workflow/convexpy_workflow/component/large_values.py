"""Large values beside the rows that they belong to.

A run's row is written again by every wave, a step's row twice. So a value above a bound lies in a row of its own, which
is read only where the value itself is wanted: by a replay, by a callback, by whoever lists it. A row has either the
field `name` with the value, or the field `name_aside` with the id of the row that holds it.
"""

from __future__ import annotations

from typing import Any

from convexpy import MutationCtx, QueryCtx, size_of

RUN_VALUE_BYTES_MAX = 1024  # in a run's row, which every wave writes
STEP_VALUE_BYTES_MAX = 16 * 1024  # in a step's row, which is written when it is issued and when it is settled


def put_value(ctx: MutationCtx, workflow_id: str, name: str, value: Any, bytes_max: int) -> dict[str, Any]:
    """Give the field that keeps a value: the value itself, or the id of a new row that holds it."""
    if size_of(value) <= bytes_max:
        return {name: value}
    return {f"{name}_aside": ctx.db.insert("large_values", {"workflow": workflow_id, "value": value})}


def has_value(row: dict[str, Any], name: str) -> bool:
    """Tell whether a row has a value of this name, in itself or beside it."""
    return name in row or f"{name}_aside" in row


def get_value(ctx: QueryCtx | MutationCtx, row: dict[str, Any], name: str) -> Any:
    """Read a value that `put_value` has kept; None if there is none."""
    if f"{name}_aside" not in row:
        return row.get(name)
    kept = ctx.db.get(row[f"{name}_aside"])
    assert kept is not None, "a large value lives as long as its run"
    return kept["value"]


def drop_values(
    ctx: MutationCtx,
    row: dict[str, Any],
    names: tuple[str, ...] = ("args", "outcome", "result", "logs", "handler_log"),
) -> None:
    """Delete what lies beside a row, before the row or these fields of it go."""
    for name in names:
        if f"{name}_aside" in row:
            ctx.db.delete("large_values", row[f"{name}_aside"])


def with_value(ctx: QueryCtx | MutationCtx, row: dict[str, Any], name: str) -> dict[str, Any]:
    """Give a row with a large value in its place."""
    if f"{name}_aside" not in row:
        return row
    whole = {**row, name: get_value(ctx, row, name)}
    del whole[f"{name}_aside"]
    return whole
