"""What a wave reads and writes: the run's row, its steps, its fired timers.

A wave is a mutation of the app. It calls `load` and `commit_wave` as sub-transactions, so all that it does is one
commit. Two waves of one run conflict on the run's row; the loser runs again from its beginning.

Invariants after each commit:
  1. positions of a run's steps are dense from 0;
  2. every resolution number below `wave` appears once: 0 as the start, others in one step's `resolved` or one timer;
  3. a step is resolved after it was issued;
  4. a running run has a pending step, a pending wake-up, or a pending first poll.
"""

from __future__ import annotations

from typing import Any

from convexpy import UNSET, MutationCtx, QueryCtx, mutation, query
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


@mutation
def create(
    ctx: MutationCtx,
    name: str,
    handler: str,
    args: Any,
    runtime: str,
    onComplete: Any = None,  # noqa: N803  (wire spelling)
) -> str:
    """Insert a run that has not consumed anything yet; returns its id."""
    run = {
        "name": name,
        "handler": handler,
        "args": args,
        "state": "running",
        "epoch": 0,
        "wave": 0,
        "nonce": "",
        "now_ms": ctx.now_ms(),
        "runtime": runtime,
    }
    if onComplete is not None:
        run["on_complete"] = onComplete
    return ctx.db.insert("workflows", run)


@query
def load(ctx: QueryCtx, workflowId: str, held: Any = None) -> Any:  # noqa: N803
    """Read what a wave needs.

    Args:
        held: stamp `{epoch, wave, nonce}` of the suspended handler that the caller has, None without one.

    Returns:
        `{"run": row, "journal": None}` if the stamp is the row's, so that the suspended handler may go on;
        `{"run": row, "journal": {"steps": rows, "timers": rows}}` otherwise; None if the run is gone.
    """
    run = find_run(ctx, workflowId)
    if run is None:
        return None
    stamp = {"epoch": run["epoch"], "wave": run["wave"], "nonce": run["nonce"]}
    if run["state"] == "done" or (held == stamp and run["state"] == "running"):
        return {"run": run, "journal": None}
    if run["wave"] == 0:
        return {"run": run, "journal": {"steps": [], "timers": []}}
    steps = ctx.db.query("steps").with_index("by_position", workflow=run["_id"]).collect()
    timers = ctx.db.query("timers").with_index("by_workflow", workflow=run["_id"]).collect()
    return {"run": run, "journal": {"steps": steps, "timers": timers}}


@query
def load_step(ctx: QueryCtx, workflowId: str, position: int) -> Any:  # noqa: N803
    """Read one step with its run: `{"run": row, "step": row}`, None if either is gone."""
    run = find_run(ctx, workflowId)
    step = None if run is None else find_step(ctx, run["_id"], position)
    return None if step is None else {"run": run, "step": step}


@mutation
def commit_wave(
    ctx: MutationCtx,
    workflowId: str,  # noqa: N803
    epoch: int,
    wave: int,
    changes: Any,
    started: list[Any],
    settled: list[Any],
    withdrawn: list[Any],
    timers: list[Any],
) -> list[str]:
    """Write what one wave did. Sequential steps cost three rows here: the settled step, the next one, the run.

    Args:
        epoch, wave: as the wave loaded them; nobody may have changed them since.
        changes: fields of the run's row; None removes one.
        started: fields of new steps.
        settled: `{"position", …fields}` of steps that got an outcome.
        withdrawn: `{"position", "withdrawn"}` of steps that the handler gave up.
        timers: fields of fired timers.

    Returns:
        jobs of the withdrawn steps, for the app to cancel.
    """
    run = get_run(ctx, workflowId)
    assert (run["epoch"], run["wave"]) == (epoch, wave), "the run changed inside its own wave"
    workflow_id = run["_id"]
    for step in started:
        ctx.db.insert("steps", {**step, "workflow": workflow_id})
    for patch in settled:
        fields = dict(patch)
        row = find_step(ctx, workflow_id, fields.pop("position"))
        assert row is not None, "a step settles only after it was issued"
        if row["state"] != "pending" and "resolved" not in fields:
            continue  # the run is stuck, and the news is of a step that it gave up or that it has news of already
        ctx.db.patch("steps", row["_id"], {**fields, "state": "done"})
    jobs: list[str] = []
    for patch in withdrawn:
        row = find_step(ctx, workflow_id, patch["position"])
        assert row is not None and row["state"] == "pending", "only a pending step can be withdrawn"
        fields = {"state": "canceled", "withdrawn": patch["withdrawn"], "completed_ms": ctx.now_ms()}
        ctx.db.patch("steps", row["_id"], fields)
        if "job" in row:
            jobs.append(row["job"])
    for timer in timers:
        ctx.db.insert("timers", {**timer, "workflow": workflow_id})
    ctx.db.patch("workflows", workflow_id, {name: UNSET if value is None else value for name, value in changes.items()})
    return jobs


@mutation
def note_attempt(ctx: MutationCtx, workflowId: str, position: int, attempts: int, job: str) -> None:  # noqa: N803
    """Record that a step failed so many times and that `job` tries it again."""
    step = find_step(ctx, get_run(ctx, workflowId)["_id"], position)
    assert step is not None, "the caller has just read it"
    ctx.db.patch("steps", step["_id"], {"attempts": attempts, "job": job})


@mutation
def note_on_complete_error(ctx: MutationCtx, workflowId: str, error: str) -> None:  # noqa: N803
    """Record that the run's `on_complete` raised; the run's result stands."""
    ctx.db.patch("workflows", get_run(ctx, workflowId)["_id"], {"on_complete_error": error})
