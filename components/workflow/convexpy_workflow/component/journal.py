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

from convexpy import UNSET, MutationCtx, QueryCtx, mutation, query, size_of
from convexpy_workflow.component.attached import ATTACHED_FIELDS, delete_attached, release_attached, settle_attached
from convexpy_workflow.component.children import cancel_children, tell_parent
from convexpy_workflow.component.large_values import (
    RUN_VALUE_BYTES_MAX,
    drop_values,
    get_value,
    has_value,
    put_value,
    step_value_bytes_max,
    with_value,
)
from convexpy_workflow.component.log_rows import LogKeeper
from convexpy_workflow.component.rows import callback_of, find_run, find_step, get_run

STEPS_READ_ONE_BY_ONE_MAX = 32
FUNCTION_KINDS = ("query", "mutation", "action")


@mutation
def create(
    ctx: MutationCtx,
    name: str,
    handler: str,
    args: Any,
    runtime: str,
    onComplete: str | None = None,  # noqa: N803  (wire spelling)
    context: Any = None,
    version: int = 1,
    parent: Any = None,
) -> str:
    """Insert a run that has not consumed anything yet; returns its id.

    Args:
        parent: `{workflowId, position, epoch, handler}` of the step that it is, None for a run of nobody.
    """
    run = {
        "name": name,
        "handler": handler,
        "state": "running",
        "epoch": 0,
        "wave": 0,
        "nonce": "",
        "now_ms": ctx.now_ms(),
        "journal_rows": 0,
        "journal_bytes": 0,
        "runtime": runtime,
    }
    if version != 1:
        run["version"] = version
    if parent is not None:
        run["parent"] = parent
    values = {"args": args}
    if onComplete is not None:
        run["on_complete"] = onComplete
        values["context"] = context
    large = {name: value for name, value in values.items() if size_of(value) > RUN_VALUE_BYTES_MAX}
    workflow_id = ctx.db.insert("workflows", run | {name: values[name] for name in values.keys() - large.keys()})
    if large:
        # A large value names its run, so the run is there first.
        fields = [put_value(ctx, workflow_id, name, value, RUN_VALUE_BYTES_MAX) for name, value in large.items()]
        ctx.db.patch("workflows", workflow_id, {name: aside for field in fields for name, aside in field.items()})
    return workflow_id


@query
def load(ctx: QueryCtx, workflowId: str, held: Any = None) -> Any:  # noqa: N803
    """Read what a wave needs.

    Args:
        held: stamp `{epoch, wave, nonce}` of the suspended handler that the caller has, None without one.

    Returns:
        `{"run": row, "journal": None}` if the stamp is the row's, so that the suspended handler may go on;
        `{"run": row, "journal": {"args": value, "steps": rows, "timers": rows}}` otherwise, large values of steps
        still beside them: see `large_replay`; None if the run is gone.
    """
    run = find_run(ctx, workflowId)
    if run is None:
        return None
    stamp = {"epoch": run["epoch"], "wave": run["wave"], "nonce": run["nonce"]}
    if run["state"] == "done" or (held == stamp and run["state"] == "running"):
        return {"run": run, "journal": None}
    args = get_value(ctx, run, "args")
    if run["wave"] == 0 and run["epoch"] == 0:
        return {"run": run, "journal": {"args": args, "steps": [], "timers": []}}
    steps = ctx.db.query("steps").with_index("by_position", workflow=run["_id"]).collect()
    timers = ctx.db.query("timers").with_index("by_workflow", workflow=run["_id"]).collect()
    return {"run": run, "journal": {"args": args, "steps": steps, "timers": timers}}


@query
def load_callback(ctx: QueryCtx, workflowId: str) -> dict[str, Any] | None:  # noqa: N803
    """Read who is to hear of a run's end: `{"function": handle, "context": value}`, None for nobody."""
    return callback_of(ctx, get_run(ctx, workflowId))


@query
def load_step(ctx: QueryCtx, workflowId: str, position: int) -> Any:  # noqa: N803
    """Read one step with its run: `{"run": row, "step": row}`, None if either is gone."""
    run = find_run(ctx, workflowId)
    step = None if run is None else find_step(ctx, run["_id"], position)
    return None if step is None else {"run": run, "step": with_value(ctx, step, "args")}


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
    dropped: Any = None,
) -> dict[str, Any]:
    """Write what one wave did. Sequential steps cost three rows here: the settled step, the next one, the run.

    Args:
        epoch, wave: as the wave loaded them; nobody may have changed them since.
        changes: fields of the run's row; None removes one.
        started: fields of new steps; `replaces` names the row of a kept one that the handler has asked for again.
        settled: `{"position", …fields}` of steps that got an outcome.
        withdrawn: `{"position", "withdrawn", "at_end"}` of steps that the handler gave up, or left when it ended. One
            whose function has run meanwhile has its `outcome` too: such a step is done, though nobody has its result.
        timers: fields of fired timers.
        dropped: ids of steps that a restart kept and that the handler did not ask for again before it ended.

    Returns:
        `jobs`, those of the withdrawn steps, for the app to cancel. `is_ended`: an inline step of the wave has ended or
        deleted the run, which stands; nothing else was written, and the jobs are all that the wave has made.
    """
    run = find_run(ctx, workflowId)
    if run is None or run["epoch"] != epoch:
        if run is None:
            cancel_children(ctx, [step for step in started if "child" in step])
        else:
            release_attached(ctx, run, started, is_over=True)
        return {"is_ended": True, "jobs": [step["job"] for step in started if "job" in step]}
    assert run["wave"] == wave, "the run changed inside its own wave"
    workflow_id = run["_id"]
    logs = LogKeeper(ctx, run)
    bytes_max = step_value_bytes_max(run["journal_bytes"])
    given_up: list[dict[str, Any]] = []
    for step in started:
        is_at_end = step.pop("at_end", False)
        row = ctx.db.get("steps", step["replaces"]) if "replaces" in step else None
        fields = logs.keep(step, logged=step.get("resolved", wave), row=row)
        fields = {**_with_large_aside(ctx, workflow_id, fields, bytes_max), "workflow": workflow_id}
        if row is None:
            ctx.db.insert("steps", fields)
        else:
            _replace_kept(ctx, row, fields)
        if step["state"] == "done":
            settle_attached(ctx, step)
        elif step["state"] == "canceled":
            given_up.append(step | {"at_end": is_at_end})
    for patch in settled:
        fields = dict(patch)
        row = find_step(ctx, workflow_id, fields.pop("position"))
        assert row is not None, "a step settles only after it was issued"
        if row["state"] != "pending" and "resolved" not in fields:
            continue  # the run is stuck, and the news is of a step that it gave up or that it has news of already
        if has_value(row, "outcome"):
            del fields["outcome"]  # it came while the run was stuck, and is consumed now
        fields = logs.keep(fields, logged=fields.get("resolved", wave), row=row)
        ctx.db.patch("steps", row["_id"], {**_with_large_aside(ctx, workflow_id, fields, bytes_max), "state": "done"})
        if "resolved" in fields:
            settle_attached(ctx, row)
    jobs: list[str] = []
    deleted = []
    for row, patch in zip(_open_steps(ctx, workflow_id, withdrawn), withdrawn, strict=True):
        fields = {"withdrawn": patch["withdrawn"]}
        if row["kind"] in FUNCTION_KINDS and ("outcome" in patch or has_value(row, "outcome")):
            if not has_value(row, "outcome"):
                ran = {name: patch[name] for name in ("outcome", "lines", "attempt") if name in patch}
                ran = logs.keep(ran, logged=patch["withdrawn"], row=row)
                fields |= _with_large_aside(ctx, workflow_id, ran, bytes_max)
            ctx.db.patch("steps", row["_id"], {"completed_ms": ctx.now_ms()} | fields | {"state": "done"})
            continue
        ctx.db.patch("steps", row["_id"], fields | {"state": "canceled", "completed_ms": ctx.now_ms()})
        given_up.append(row | {"at_end": patch.get("at_end", False)})
        if "job" in row:
            jobs.append(row["job"])
    if "result" in changes:
        # The run fails, and its handler could not be asked for what it gives up.
        for row in ctx.db.query("steps").with_index("by_state", workflow=workflow_id, state="pending").collect():
            ctx.db.patch("steps", row["_id"], {"state": "canceled", "completed_ms": ctx.now_ms()})
            given_up.append(row | {"at_end": True})
            if "job" in row:
                jobs.append(row["job"])
    for step_id in dropped or ():
        kept = ctx.db.get("steps", step_id)
        assert kept is not None, "the wave has just loaded it"
        drop_values(ctx, kept)
        deleted.append(kept)
        ctx.db.delete("steps", step_id)
    for timer in timers:
        ctx.db.insert("timers", {**logs.keep(timer, timer["resolution"]), "workflow": workflow_id})
    changes = dict(changes)
    start_lines = changes.pop("handler_lines", None)
    fields = {name: UNSET if value is None else value for name, value in changes.items()}
    if "result" in fields:
        fields |= put_value(ctx, workflow_id, "result", fields.pop("result"), RUN_VALUE_BYTES_MAX)
    if start_lines:
        fields |= logs.keep_start(start_lines)
    if logs.log_bytes:
        fields["log_bytes"] = logs.log_bytes
    ctx.db.patch("workflows", workflow_id, fields)
    release_attached(ctx, run, given_up, is_over="result" in changes)
    delete_attached(ctx, deleted)
    if "result" in changes:
        tell_parent(ctx, run, changes["result"])
    return {"is_ended": False, "jobs": jobs}


def _replace_kept(ctx: MutationCtx, row: dict[str, Any], fields: dict[str, Any]) -> None:
    """Write a step in the place of one that a restart has kept; what its function printed stays, if it is the same."""
    new = {name: value for name, value in fields.items() if name != "replaces" and value is not UNSET}
    is_logged_anew = "logs" in new or "logs_aside" in new
    if row["name"] == new["name"] and not is_logged_anew:
        new |= {name: row[name] for name in ("logs", "logs_aside") if name in row}
        if "logs" in new or "logs_aside" in new:
            new["logged"] = new["issued"]
    drop_values(ctx, row, ("args", "outcome", "handler_log"))
    if row["name"] != new["name"]:
        drop_values(ctx, row, ("logs",))
    delete_attached(ctx, [{name: row[name] for name in ATTACHED_FIELDS if name in row and new.get(name) != row[name]}])
    ctx.db.replace("steps", row["_id"], new)


def _open_steps(ctx: MutationCtx, workflow_id: str, patches: list[Any]) -> list[dict[str, Any]]:
    """Read the rows of steps whose outcome nobody has: many by one range, as a transaction's ranges are bounded."""
    rows: dict[float, dict[str, Any]] = {}
    if len(patches) >= STEPS_READ_ONE_BY_ONE_MAX:
        pending = ctx.db.query("steps").with_index("by_state", workflow=workflow_id, state="pending")
        rows = {row["position"]: row for row in pending}
    found = [rows.get(patch["position"]) or find_step(ctx, workflow_id, patch["position"]) for patch in patches]
    steps = [row for row in found if row is not None and row["state"] != "canceled" and "resolved" not in row]
    assert len(steps) == len(patches), "only a step whose outcome nobody has can be withdrawn"
    return steps


def _with_large_aside(ctx: MutationCtx, workflow_id: str, fields: dict[str, Any], bytes_max: int) -> dict[str, Any]:
    kept = dict(fields)
    for name in ("args", "outcome"):
        if name in kept:
            kept |= put_value(ctx, workflow_id, name, kept.pop(name), bytes_max)
    return kept


@mutation
def note_late(ctx: MutationCtx, workflowId: str, position: int, fields: Any) -> None:  # noqa: N803
    """Record what came of a mutation that had run when its step was given up: its effect is there, so it is done.

    The outcome of another step is dropped: an action may come to its end long after nobody waits for it.
    """
    run = get_run(ctx, workflowId)
    step = find_step(ctx, run["_id"], position)
    if step is None or step["state"] != "canceled" or step["kind"] != "mutation":
        return
    bytes_max = step_value_bytes_max(run["journal_bytes"])
    kept = LogKeeper(ctx, run).keep(fields, logged=step["withdrawn"], row=step)
    ctx.db.patch("steps", step["_id"], {**_with_large_aside(ctx, run["_id"], kept, bytes_max), "state": "done"})


@mutation
def note_attempt(
    ctx: MutationCtx,
    workflowId: str,  # noqa: N803
    position: int,
    attempts: int,
    job: str,
    lines: list[str],
) -> None:
    """Record that a step failed so many times, what it printed the last time, and that `job` tries it again."""
    run = get_run(ctx, workflowId)
    step = find_step(ctx, run["_id"], position)
    assert step is not None, "the caller has just read it"
    fields = {"attempts": attempts, "job": job, "lines": lines, "attempt": attempts}
    ctx.db.patch("steps", step["_id"], LogKeeper(ctx, run).keep(fields, logged=run["wave"], row=step))


@mutation
def note_on_complete_error(ctx: MutationCtx, workflowId: str, error: str) -> None:  # noqa: N803
    """Record that the run's `on_complete` raised; the run's result stands."""
    ctx.db.patch("workflows", get_run(ctx, workflowId)["_id"], {"on_complete_error": error})
