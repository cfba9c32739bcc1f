"""A counter that everybody raises; each increment says how often its worker has run one of this counter."""

import os
from collections import Counter
from typing import Any

from convexpy import MutationCtx, QueryCtx, mutation, query

_runs: Counter[str] = (
    Counter()
)  # of this process, runs that lost a race included: what a mutation must not do, but here


@mutation
def increment(ctx: MutationCtx, name: str) -> list[float]:
    """Add one; `[worker, runs so far]`."""
    _runs[name] += 1
    row = _row(ctx, name)
    if row is None:
        ctx.db.insert("counters", {"name": name, "value": 1})
    else:
        ctx.db.patch(row["_id"], {"value": row["value"] + 1})
    return [os.getpid(), _runs[name]]


@query
def read(ctx: QueryCtx, name: str) -> float:
    """The counter's value."""
    row = _row(ctx, name)
    value: float = 0 if row is None else row["value"]
    return value


def _row(ctx: QueryCtx | MutationCtx, name: str) -> Any:
    return ctx.db.query("counters").with_index("by_name", name=name).unique()
