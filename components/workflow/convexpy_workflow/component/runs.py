"""What can be asked about runs: status, lists of runs and of steps. All live: a query over them follows every wave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from convexpy import QueryCtx, query, size_of
from convexpy_workflow.arguments import bad_cursor
from convexpy_workflow.component.children import find_child
from convexpy_workflow.component.large_values import get_value
from convexpy_workflow.component.log_rows import lines_of_step
from convexpy_workflow.component.rows import get_run
from convexpy_workflow.component.trouble import present_trouble

PAGE_ITEMS_DEFAULT = 100
PAGE_ITEMS_MAX = 1000
PAGE_BYTES_MAX = 4 * 1024 * 1024  # a page of large items is shorter than asked for
RUNNING_STEPS_SHOWN_MAX = 100


@query
def status(ctx: QueryCtx, workflowId: str) -> dict[str, Any]:  # noqa: N803
    """Tell how a run is doing.

    Returns:
        one of `{"type": "inProgress", "running": steps, "waiting": …}` (the first hundred that run; those of them that
        are events or child runs again in `waiting`, with what they wait for),
        `{"type": "completed", "result": value}`, `{"type": "failed", "error": text}`, `{"type": "canceled"}`,
        `{"type": "stuck", "reason": text, "diff": …, "changes": list}`.

        The three that have ended have `"onCompleteError": text` if their `on_complete` raised; it is not called again.

        The first has `"wakesAt": ms` where a timer of the handler, such as `asyncio.sleep`, wakes it if nothing comes
        before; it may be woken early, for a timer that is no more or more than a year away.

        The first and the last have `"trouble": {"error": text, "attempts": n, "nextAt": ms}` while news of the run
        cannot be taken: the handler's turn fails for no reason of its own, and is tried again.

    Raises:
        WorkflowNotFound, InvalidWorkflowId
    """
    run = get_run(ctx, workflowId)
    if run["state"] == "stuck":
        stuck = run["stuck"]
        shown = {
            "type": "stuck",
            "reason": stuck["text"],
            "diff": stuck.get("diff"),
            "changes": stuck.get("changes", []),
        }
        return _with_trouble(run, shown)
    if run["state"] == "running":
        query = ctx.db.query("steps").with_index("by_state", workflow=run["_id"], state="pending")
        pending = query.take(RUNNING_STEPS_SHOWN_MAX)
        waiting = [_present_wait(ctx, step) for step in pending if step["kind"] in ("event", "workflow")]
        shown = {"type": "inProgress", "running": _within_page(ctx, pending, present_step), "waiting": waiting}
        if "wake_at_ms" in run:
            shown["wakesAt"] = run["wake_at_ms"]
        return _with_trouble(run, shown)
    ended = _ended(ctx, run)
    return ended | {"onCompleteError": run["on_complete_error"]} if "on_complete_error" in run else ended


def _ended(ctx: QueryCtx, run: dict[str, Any]) -> dict[str, Any]:
    result = get_value(ctx, run, "result")
    if result["kind"] == "success":
        return {"type": "completed", "result": result["value"]}
    if result["kind"] == "failed":
        return {"type": "failed", "error": result["error"]}
    return {"type": "canceled"}


@query
def list_runs(
    ctx: QueryCtx,
    name: str | None = None,
    order: Literal["asc", "desc"] = "asc",
    paginationOpts: Any = None,  # noqa: N803
) -> dict[str, Any]:
    """List runs by creation, all or those of one handler."""
    read = ctx.db.query("workflows")
    after = _after(paginationOpts)
    since, seen = (None, 0) if after is None else after

    def bound(q: Any) -> Any:
        if name is not None:
            q = q.eq("name", name)
        if since is None:
            return q
        return q.gte("_creationTime", since) if order == "asc" else q.lte("_creationTime", since)

    read = read.with_index("by_creation_time" if name is None else "by_name", bound).order(order)
    # Rows may share a creation time, so the cursor also counts how many of its instant were given out.
    count = _page_items(paginationOpts)
    rows = read.take(seen + count + 1)
    presented = _within_page(ctx, rows[seen : seen + count], present_run)
    page = rows[seen : seen + len(presented)]
    cursor = None
    if page:
        last = page[-1]["_creationTime"]
        cursor = f"{last!r}:{sum(row['_creationTime'] == last for row in rows[: seen + len(page)])}"
    return _page(presented, cursor, paginationOpts, len(rows) > seen + len(page))


@query
def list_steps(
    ctx: QueryCtx,
    workflowId: str,  # noqa: N803
    order: Literal["asc", "desc"] = "asc",
    paginationOpts: Any = None,  # noqa: N803
) -> dict[str, Any]:
    """List the steps of a run in the order of their issue.

    Raises:
        WorkflowNotFound, InvalidWorkflowId
    """
    run = get_run(ctx, workflowId)
    cursor = None if paginationOpts is None else paginationOpts.get("cursor")
    position = None
    if cursor:
        try:
            position = float(int(cursor))
        except (ValueError, OverflowError):
            raise bad_cursor(cursor) from None

    def bound(q: Any) -> Any:
        q = q.eq("workflow", run["_id"])
        if position is None:
            return q
        return q.gt("position", position) if order == "asc" else q.lt("position", position)

    count = _page_items(paginationOpts)
    rows = ctx.db.query("steps").with_index("by_position", bound).order(order).take(count + 1)
    presented = _within_page(ctx, rows[:count], present_step)
    page = rows[: len(presented)]
    following = str(int(page[-1]["position"])) if page else None
    return _page(presented, following, paginationOpts, len(rows) > len(page))


def present_run(ctx: QueryCtx, run: dict[str, Any]) -> dict[str, Any]:
    """Give a run's row the shape that lists show."""
    return {
        "workflowId": run["_id"],
        "name": run["name"],
        "args": get_value(ctx, run, "args"),
        "context": get_value(ctx, run, "context"),
        "state": run["state"],
        "parentWorkflowId": run["parent"]["workflowId"] if "parent" in run else None,
        "parentStepNumber": run["parent"]["position"] if "parent" in run else None,
        "runResult": get_value(ctx, run, "result"),
        "trouble": present_trouble(run),
        "onCompleteError": run.get("on_complete_error"),
    }


def _with_trouble(run: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    trouble = present_trouble(run)
    return shown if trouble is None else shown | {"trouble": trouble}


def present_step(ctx: QueryCtx, step: dict[str, Any]) -> dict[str, Any]:
    """Give a step's row the shape that lists show."""
    outcome = {"kind": "canceled"} if step["state"] == "canceled" else get_value(ctx, step, "outcome")
    return {
        "workflowId": step["workflow"],
        "stepId": step["_id"],
        "stepNumber": step["position"],
        "name": step["name"],
        "kind": step["kind"],
        "args": get_value(ctx, step, "args"),
        "attempts": step.get("attempts", 0),
        "logs": lines_of_step(ctx, step),
        "runResult": outcome,
        "startedAt": step["started_ms"],
        "completedAt": step.get("completed_ms"),
        "workId": step.get("job"),
        "eventId": step.get("event"),
        "nestedWorkflowId": step.get("child"),
    }


def _present_wait(ctx: QueryCtx, step: dict[str, Any]) -> dict[str, Any]:
    """Say what a step waits for: an event, or a child run and how that is doing."""
    wait = {"kind": step["kind"], "name": step["name"], "stepNumber": step["position"], "since": step["started_ms"]}
    if step["kind"] == "event":
        return wait | {"eventId": step.get("event")}
    child = find_child(ctx, step["child"]) if "child" in step else None
    # A run of another instance of this component can be asked about there only.
    wait |= {"workflowId": step.get("child"), "state": None if child is None else child["state"]}
    if child is not None and child["state"] == "stuck":
        wait["reason"] = child["stuck"]["text"]
    return wait if child is None else _with_trouble(child, wait)


def _within_page(
    ctx: QueryCtx, rows: list[dict[str, Any]], present: Callable[[QueryCtx, dict[str, Any]], dict[str, Any]]
) -> list[dict[str, Any]]:
    presented: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        if size >= PAGE_BYTES_MAX:
            break
        presented.append(present(ctx, row))
        size += size_of(presented[-1])
    return presented


def _page_items(options: dict[str, Any] | None) -> int:
    asked = PAGE_ITEMS_DEFAULT if options is None else int(options.get("numItems", PAGE_ITEMS_DEFAULT))
    return max(1, min(asked, PAGE_ITEMS_MAX))


def _after(options: dict[str, Any] | None) -> tuple[float, int] | None:
    cursor = None if options is None else options.get("cursor")
    if not cursor:
        return None
    instant, _, seen = cursor.partition(":")
    try:
        return float(instant), int(seen)
    except ValueError:
        raise bad_cursor(cursor) from None


def _page(
    items: list[dict[str, Any]], cursor: str | None, options: dict[str, Any] | None, has_more: bool
) -> dict[str, Any]:
    given = None if options is None else options.get("cursor")
    return {"page": items, "isDone": not has_more, "continueCursor": cursor if cursor is not None else given or ""}
