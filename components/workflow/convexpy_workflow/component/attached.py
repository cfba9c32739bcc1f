"""What hangs on a step besides its own row: the event that it waits for."""

from __future__ import annotations

from typing import Any

from convexpy import UNSET, MutationCtx, mutation
from convexpy_workflow.component.events import consume, delete, release
from convexpy_workflow.component.rows import find_step, get_run

Row = dict[str, Any]
ATTACHED_FIELDS = ("event",)


def settle_attached(ctx: MutationCtx, step: Row) -> None:
    """The handler has the step's outcome."""
    if "event" in step:
        consume(ctx, step["event"])


def release_attached(ctx: MutationCtx, run: Row, steps: list[Row], is_over: bool) -> None:
    """The steps were given up: their events go back.

    Args:
        is_over: the run has ended with this commit.
    """
    release(ctx, run, [step["event"] for step in steps if "event" in step], is_over)


def detach(ctx: MutationCtx, run: Row, step: Row) -> Row:
    """The step is to be begun again by a restart: what hung on it is given up.

    Returns:
        the fields of its row that are to go, as `UNSET`.
    """
    release_attached(ctx, run, [step], is_over=True)
    return dict.fromkeys(ATTACHED_FIELDS, UNSET)


def delete_attached(ctx: MutationCtx, step: Row) -> None:
    """The step's row is being deleted, and with it all that hangs on it.

    Args:
        step: the row, or those of its `ATTACHED_FIELDS` that are to go.
    """
    if "event" in step:
        delete(ctx, step["event"])


@mutation
def note_begun(ctx: MutationCtx, workflowId: str, position: int, fields: Any) -> None:  # noqa: N803  (wire spelling)
    """Record what hangs on a step that a restart has begun again."""
    step = find_step(ctx, get_run(ctx, workflowId)["_id"], position)
    assert step is not None, "the caller has just read it"
    ctx.db.patch("steps", step["_id"], fields)
