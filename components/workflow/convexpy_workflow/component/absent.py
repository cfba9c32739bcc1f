"""Runs whose workflow is not in the app's code any more: they can still be ended."""

from __future__ import annotations

from typing import Any

from convexpy import ConvexpyError, MutationCtx

ERROR_CHARS_MAX = 1_000


def end_in_app(ctx: MutationCtx, run: dict[str, Any], canceled: dict[str, Any]) -> None:
    """End what a run has in the app: its jobs, and its `on_complete` hears of the end.

    That is for the handler's own mutation. Where it is gone, jobs of steps run on, and their outcomes are nobody's.
    """
    try:
        ctx.run_mutation(run["handler"], {"canceled": canceled})
    except ConvexpyError as error:
        if f"Could not find function for '{run['name']}'" not in str(error):
            raise
        if canceled["onComplete"] is not None:
            _call_back(ctx, run, canceled)


def _call_back(ctx: MutationCtx, run: dict[str, Any], canceled: dict[str, Any]) -> None:
    callback = canceled["onComplete"]
    end = {"workflowId": run["_id"], "result": canceled["result"], "context": callback["context"]}
    try:
        ctx.run_mutation(callback["function"], end)
    except Exception as error:
        ctx.db.patch("workflows", run["_id"], {"on_complete_error": str(error)[:ERROR_CHARS_MAX]})
