"""Large values beside the rows that they belong to.

A run's row is written again by every wave, a step's row twice. So a value above a bound lies in a row of its own, which
is read only where the value itself is wanted: by a replay, by a callback, by whoever lists it. A row has either the
field `name` with the value, or the field `name_aside` with the id of the row that holds it. Such a row holds packed
bytes: a replay takes them as they are, many a transaction, and unpacks one when the handler is to have it.
"""

from __future__ import annotations

from typing import Any

from convexpy import MutationCtx, QueryCtx, pack, query, size_of, unpack

RUN_VALUE_BYTES_MAX = 1024  # in a run's row, which every wave writes
STEP_VALUE_BYTES_MAX = 16 * 1024  # in a step's row, which is written when it is issued and when it is settled
ROW_VALUES_BYTES = 4 * 1024 * 1024  # in all rows of a run; from there on,
STEP_VALUE_BYTES_MAX_LATE = 512  # since one transaction reads all of them when the handler is run again
LOAD_BYTES_TARGET = 1024 * 1024  # of packed values that a replay reads at once


def step_value_bytes_max(journal_bytes: float) -> int:
    """Tell how large a value in a step's row may be, if the run's rows have so many bytes of values already."""
    return STEP_VALUE_BYTES_MAX if journal_bytes <= ROW_VALUES_BYTES else STEP_VALUE_BYTES_MAX_LATE


def put_value(ctx: MutationCtx, workflow_id: str, name: str, value: Any, bytes_max: int) -> dict[str, Any]:
    """Give the field that keeps a value: the value itself, or the id of a new row that holds it."""
    if size_of(value) <= bytes_max:
        return {name: value}
    row = {"workflow": workflow_id, "packed": pack(value)}
    return {f"{name}_aside": ctx.db.insert("large_values", row)}


def has_value(row: dict[str, Any], name: str) -> bool:
    """Tell whether a row has a value of this name, in itself or beside it."""
    return name in row or f"{name}_aside" in row


def get_value(ctx: QueryCtx | MutationCtx, row: dict[str, Any], name: str) -> Any:
    """Read a value that `put_value` has kept; None if there is none."""
    if f"{name}_aside" not in row:
        return row.get(name)
    kept = ctx.db.get(row[f"{name}_aside"])
    assert kept is not None, "a large value lives as long as its run"
    return unpack(kept["packed"])


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


@query
def load_packed(ctx: QueryCtx, ids: list[str]) -> list[bytes]:
    """Read the first of these values, packed: as many as `LOAD_BYTES_TARGET` goes, at least one.

    They never change, so a wave may read them from a stale snapshot, which is charged to nobody and conflicts with
    nothing. A value that this snapshot lacks, as the wave's own transaction has written it, ends the list.
    """
    found: list[bytes] = []
    size = 0
    for value_id in ids:
        row = ctx.db.get(value_id)
        if row is None or (found and size + len(row["packed"]) > LOAD_BYTES_TARGET):
            break
        found.append(row["packed"])
        size += len(row["packed"])
    return found
