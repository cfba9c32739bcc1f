"""Reading rows by the ids and positions that callers have."""

from __future__ import annotations

from typing import Any

from convexpy import MutationCtx, QueryCtx
from convexpy_workflow.component.large_values import get_value
from convexpy_workflow.errors import InvalidWorkflowId, WorkflowNotFound


def find_run(ctx: QueryCtx | MutationCtx, workflow_id: str) -> dict[str, Any] | None:
    """Read a run's row, None if there is none any more.

    Raises:
        InvalidWorkflowId: the string is no id of this component's runs.
    """
    normalized = ctx.db.normalize_id("workflows", workflow_id)
    if normalized is None:
        raise InvalidWorkflowId(workflow_id)
    return ctx.db.get("workflows", normalized)


def get_run(ctx: QueryCtx | MutationCtx, workflow_id: str) -> dict[str, Any]:
    """Read a run's row.

    Raises:
        InvalidWorkflowId, WorkflowNotFound
    """
    run = find_run(ctx, workflow_id)
    if run is None:
        raise WorkflowNotFound(workflow_id)
    return run


def find_step(ctx: QueryCtx | MutationCtx, workflow_id: str, position: int) -> dict[str, Any] | None:
    """Read one step's row."""
    return ctx.db.query("steps").with_index("by_position", workflow=workflow_id, position=position).first()


def callback_of(ctx: QueryCtx | MutationCtx, run: dict[str, Any]) -> dict[str, Any] | None:
    """Read who is to hear of a run's end: `{"function": handle, "context": value}`, None for nobody."""
    if "on_complete" not in run:
        return None
    return {"function": run["on_complete"], "context": get_value(ctx, run, "context")}
