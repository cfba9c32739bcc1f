"""What a run's row says while news of it cannot be taken: a wave that fails is tried again until it succeeds.

A wave may fail for what is neither the handler's nor the journal's: it takes longer than a function may, ends its
process, reads too much, or its workflow is not in the code. The platform owes the completion and tries it with growing
intervals, and at once after a push. Whatever it comes to is written here in the commit that names the next attempt.

Of several completions that fail the row names one, until that has succeeded: they mostly fail for the same reason.
"""

from __future__ import annotations

from typing import Any

from convexpy import UNSET, MutationCtx, mutation
from convexpy_workflow.backtraces import without_our_frames
from convexpy_workflow.errors import shorten

TEXT_CHARS_MAX = 2_000  # a run's row, which holds it, is written and read often

Row = dict[str, Any]


@mutation
def note(ctx: MutationCtx, context: Any, job_id: str, error: str, attempts: int, nextAt: float) -> None:  # noqa: N803
    """Write that a completion of a run has failed so many times, and when it is tried again."""
    address = address_of(context)
    run = _find(ctx, address["workflowId"])
    if run is None or run["state"] == "done" or run["epoch"] != address["epoch"]:
        return  # the completion is of no use any more
    if run.get("trouble", {}).get("job", job_id) != job_id:
        return
    text = shorten(without_our_frames(error).removeprefix("Uncaught "), TEXT_CHARS_MAX)
    trouble = {"job": job_id, "error": text, "attempts": attempts, "next_ms": nextAt}
    ctx.db.patch("workflows", run["_id"], {"trouble": trouble})


@mutation
def overcome(ctx: MutationCtx, workflowId: str, jobs: list[str]) -> None:  # noqa: N803
    """The completions of these jobs have succeeded, whatever the run's row says of them."""
    run = _find(ctx, workflowId)
    if run is not None and run.get("trouble", {}).get("job") in jobs:
        ctx.db.patch("workflows", run["_id"], {"trouble": UNSET})


def present_trouble(run: Row) -> Row | None:
    """Give what a run's row says in the shape that status and lists show."""
    trouble = run.get("trouble")
    if trouble is None:
        return None
    return {"error": trouble["error"], "attempts": trouble["attempts"], "nextAt": trouble["next_ms"]}


def _find(ctx: MutationCtx, workflow_id: str) -> Row | None:
    """Read a run's row; None if it is gone, or kept by another instance of this component."""
    found = ctx.db.normalize_id("workflows", workflow_id)
    return None if found is None else ctx.db.get("workflows", found)


def address_of(context: Row) -> Row:
    """Find `workflowId` and `epoch` in the context of a completion; see the shapes in `workflow_mutation`."""
    if "arrival" in context:
        return dict(context["arrival"])
    if "late" in context:
        [address] = context["late"].values()
        return dict(address)
    return context
