"""What the command line asks about runs; see `convexpy_workflow.cli`. Each answer is a page that fits one reply."""

from __future__ import annotations

from typing import Any

from convexpy import QueryCtx, query, size_of
from convexpy_workflow.component.large_values import get_value, with_value
from convexpy_workflow.component.rows import find_run
from convexpy_workflow.component.runs import list_steps
from convexpy_workflow.component.trouble import present_trouble
from convexpy_workflow.errors import InvalidWorkflowId

RUNS_MAX = 1_000
NAMES_SHOWN_MAX = 5  # of steps that a run waits for
PAGE_BYTES = 2 * 1024 * 1024
FORMAT = "convexpy-workflow-journal/1"

Row = dict[str, Any]


@query
def list_runs(ctx: QueryCtx, state: str | None = None, name: str | None = None, limit: int = 50) -> list[Row]:
    """List the newest runs: `{"workflowId", "name", "state", "steps", "waitsFor", "startedAt", "finishedAt", "waves",
    "trouble"}`.

    Args:
        state: running, stuck, completed, failed or canceled.
        name: of the workflow, "module:name".
    """
    runs = ctx.db.query("workflows")
    if state in ("running", "stuck"):
        # That index sorts by name first; it has few rows, since few runs are in these states at once.
        found = runs.with_index("by_state", **({"state": state} | ({} if name is None else {"name": name})))
        newest = sorted(found.take(RUNS_MAX), key=lambda run: -float(run["_creationTime"]))
    else:
        found = runs if name is None else runs.with_index("by_name", name=name)
        newest = found.order("desc").take(RUNS_MAX)
    count = min(limit, RUNS_MAX)
    shown = []
    for run in newest:
        kind = state_of(ctx, run)
        if state is None or kind == state:
            shown.append(_summary(ctx, run, kind))
        if len(shown) >= count:
            break
    return shown


@query
def show(ctx: QueryCtx, workflowId: str, cursor: str | None = None) -> Row | None:  # noqa: N803
    """Tell all about a run, None if there is none: the fields of `list_runs`, and `args`, `result`, `stuck`, `version`,
    `patches`, `runtime`, `onCompleteError`, and in `stepPage` its steps as `runs.list_steps` gives them, from a cursor.
    """
    run = _find(ctx, workflowId)
    if run is None:
        return None
    options = {"numItems": 100, "cursor": cursor}
    return {
        **_summary(ctx, run, state_of(ctx, run)),
        "args": get_value(ctx, run, "args"),
        "result": get_value(ctx, run, "result"),
        "stuck": run.get("stuck"),
        "version": run.get("version", 1),
        "patches": [marker["name"] for marker in run.get("patches", ())],
        "runtime": run["runtime"],
        "onCompleteError": run.get("on_complete_error"),
        "stepPage": list_steps.handler(ctx, run["_id"], "asc", options),
    }


@query
def export_journal(ctx: QueryCtx, workflowId: str, position: int = 0) -> Row | None:  # noqa: N803
    """Read a run's journal for a replay elsewhere: the steps from a position on, and with the first all the rest.

    Returns:
        `{"format", "run", "args", "timers", "steps": rows, "next": position of the next page or None}`; None if there
        is no such run.
    """
    run = _find(ctx, workflowId)
    if run is None:
        return None
    page: Row = {"steps": [], "next": None}
    if position == 0:
        timers = ctx.db.query("timers").with_index("by_workflow", workflow=run["_id"]).collect()
        page["format"] = FORMAT
        page["run"] = _plain({**run, "result": get_value(ctx, run, "result")})
        page["args"] = get_value(ctx, run, "args")
        page["timers"] = [_plain(timer) for timer in timers]
    size = 0
    steps = ctx.db.query("steps").with_index(
        "by_position", lambda q: q.eq("workflow", run["_id"]).gte("position", position)
    )
    for row in steps:
        if size >= PAGE_BYTES:
            page["next"] = row["position"]
            break
        step = _plain(with_value(ctx, with_value(ctx, row, "args"), "outcome"))
        page["steps"].append(step)
        size += size_of(step)
    return page


def state_of(ctx: QueryCtx, run: Row) -> str:
    """The state of a run as `status` names it, but that "inProgress" is "running"."""
    if run["state"] != "done":
        return str(run["state"])
    kind = get_value(ctx, run, "result")["kind"]
    return "completed" if kind == "success" else str(kind)


def _summary(ctx: QueryCtx, run: Row, state: str) -> Row:
    waits_for: list[str] = []
    if state == "running":
        pending = ctx.db.query("steps").with_index("by_state", workflow=run["_id"], state="pending")
        waits_for = [row["name"] for row in pending.take(NAMES_SHOWN_MAX)]
        if not waits_for and "wake_at_ms" in run:
            waits_for = ["a timer"]
    return {
        "workflowId": run["_id"],
        "name": run["name"],
        "state": state,
        "waitsFor": waits_for,
        "steps": run["journal_rows"],
        "startedAt": run.get("started_ms", run["_creationTime"]),
        "finishedAt": run.get("finished_ms"),
        "waves": run.get("waves", {"resumed": 0, "replayed": 0}),
        "trouble": present_trouble(run),
    }


def _find(ctx: QueryCtx, workflow_id: str) -> Row | None:
    try:
        return find_run(ctx, workflow_id)
    except InvalidWorkflowId:
        return None


def _plain(row: Row) -> Row:
    """A row without what only says where things lie in its own deployment."""
    lost = {"_creationTime", "workflow", "job", "wake_job", "nonce", "logs", "handler_log", "logged", "log_bytes"}
    return {name: value for name, value in row.items() if name not in lost and not name.endswith("_aside")}
