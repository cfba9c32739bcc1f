"""What hangs on a step besides its own row: the event that it waits for, the child run that it has started."""

from __future__ import annotations

from typing import Any

from convexpy import UNSET, MutationCtx, mutation
from convexpy_workflow.component.children import cancel_children, delete_children, ends_with_parent
from convexpy_workflow.component.events import consume, delete, release
from convexpy_workflow.component.rows import find_step, get_run

Row = dict[str, Any]
ATTACHED_FIELDS = ("event", "child", "child_handler")


def settle_attached(ctx: MutationCtx, step: Row) -> None:
    """The handler has the step's outcome."""
    if "event" in step:
        consume(ctx, step["event"])


def release_attached(ctx: MutationCtx, run: Row, steps: list[Row], is_over: bool) -> None:
    """The steps were given up: their events go back, their child runs are canceled.

    Args:
        steps: `at_end` is set in those that were given up because the run has ended.
        is_over: the run has ended with this commit.
    """
    release(ctx, run, [step["event"] for step in steps if "event" in step], is_over)
    given_up = (step for step in steps if "child" in step)
    cancel_children(ctx, [step for step in given_up if not step.get("at_end") or ends_with_parent(step)])


def detach(ctx: MutationCtx, run: Row, step: Row) -> Row:
    """The step is to be begun again by a restart: what hung on it is given up.

    Returns:
        the fields of its row that are to go, as `UNSET`.
    """
    release_attached(ctx, run, [step], is_over=True)
    return dict.fromkeys(ATTACHED_FIELDS, UNSET)


def delete_attached(ctx: MutationCtx, steps: list[Row]) -> None:
    """The rows of these steps are being deleted, and with them all that hangs on them.

    Args:
        steps: their rows, or those of their `ATTACHED_FIELDS` that are to go.
    """
    for step in steps:
        if "event" in step:
            delete(ctx, step["event"])
    delete_children(ctx, [step for step in steps if "child" in step])


@mutation
def note_begun(ctx: MutationCtx, workflowId: str, position: int, fields: Any) -> None:  # noqa: N803  (wire spelling)
    """Record what hangs on a step that a restart has begun again."""
    step = find_step(ctx, get_run(ctx, workflowId)["_id"], position)
    assert step is not None, "the caller has just read it"
    ctx.db.patch("steps", step["_id"], fields)
