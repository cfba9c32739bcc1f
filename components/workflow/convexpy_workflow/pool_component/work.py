"""Items of work: enqueued, tried again, finished once, canceled.

An item is a row here and a scheduled function, whose outcome comes to `completed` in the transaction that ends it. So
the row goes, and the app's `on_complete` is called, exactly once, whatever is killed when. What comes for a row that is
gone, or from an attempt that is not the row's current one, is dropped.
"""

from __future__ import annotations

import math
from typing import Any

from convexpy import MutationCtx, QueryCtx, internal, internal_mutation, mutation, query
from convexpy_workflow.backtraces import without_our_frames
from convexpy_workflow.commands import Failure
from convexpy_workflow.errors import shorten
from convexpy_workflow.non_retryable import is_non_retryable
from convexpy_workflow.pool_component.settings import QUEUE, settle
from convexpy_workflow.records import outcome_of_job, outcome_to_fields
from convexpy_workflow.retries import Retry

CANCELED_PER_COMMIT = 100
STATUS_ITEMS_MAX = 1000
TROUBLE_CHARS_MAX = 2_000  # of what an item's row keeps of an `on_complete` that fails
_OWED: dict[str, Any] = {
    "on_complete": internal.work.completed,
    "on_complete_failed": internal.work.note_trouble,
}


@mutation
def enqueue(ctx: MutationCtx, items: list[Any], maxParallelism: int | None = None) -> list[str]:  # noqa: N803
    """Add items.

    Args:
        items: `{name, kind, function, args, after_ms?, due_ms?, on_complete?, exclude?, context?, retry?}`, where
            `function` and `on_complete` are handles.
        maxParallelism: what the app's code says of the pool.

    Returns:
        ids, in order.
    """
    settle(ctx, maxParallelism)
    return [_enqueue(ctx, item) for item in items]


@mutation
def enqueue_one(ctx: MutationCtx, items: list[Any], maxParallelism: int | None = None) -> str:  # noqa: N803
    """Add one item; gives its id."""
    settle(ctx, maxParallelism)
    return _enqueue(ctx, items[0])


def _enqueue(ctx: MutationCtx, item: dict[str, Any]) -> str:
    row = ctx.db.insert("items", {"name": item["name"], "job": "", "attempts": 0})
    function, args = item["function"], item["args"]
    if item["kind"] == "query":  # which cannot be scheduled
        function, args = internal.work.run_query, {"function": function, "args": args}
    kept = ("on_complete", "exclude", "context", "retry")
    order: dict[str, Any] = {name: item[name] for name in kept if name in item}
    if "retry" in order:
        order["function"] = function
    context = {"item": row, "order": order}
    due_ms = item.get("due_ms", ctx.now_ms() + item.get("after_ms", 0))
    job = ctx.scheduler.run_at(due_ms / 1000, function, args, **_OWED, context=context, queue=QUEUE)
    ctx.db.patch(row, {"job": job})
    return row


@internal_mutation
def run_query(ctx: MutationCtx, function: str, args: Any) -> Any:
    """Run an item that is a query; what it raises is the item's failure."""
    return ctx.run_query(function, args)


@internal_mutation
def completed(ctx: MutationCtx, context: Any, outcome: Any, job_id: str) -> None:
    """Take the outcome of an attempt: try again, or finish the item and tell the app.

    If the app's `on_complete` raises, the platform calls this again later, with growing intervals; the work itself is
    not repeated.
    """
    row = ctx.db.get(context["item"])
    if row is None or row["job"] != job_id:
        return
    order = context["order"]
    is_canceled = row.get("is_canceled", False)
    if outcome["kind"] == "failed" and not is_canceled and _try_again(ctx, row, context, outcome):
        return
    result = outcome_to_fields(outcome_of_job({name: item for name, item in outcome.items() if name != "log_lines"}))
    if is_canceled and result["kind"] == "failed":
        result = {"kind": "canceled"}  # nobody wants another attempt, and what failed is of no interest
    ctx.db.delete(row["_id"])
    if "on_complete" in order and result["kind"] not in order.get("exclude", []):
        told = {"workId": row["_id"], "result": result, "context": order.get("context")}
        ctx.run_mutation(order["on_complete"], told)


@internal_mutation
def note_trouble(ctx: MutationCtx, context: Any, job_id: str, error: str, attempts: int, nextAt: float) -> None:  # noqa: N803
    """The app's `on_complete` fails, and is tried again: let the item's status say so."""
    row = ctx.db.get(context["item"])
    if row is not None and row["job"] == job_id:
        text = shorten(without_our_frames(error).removeprefix("Uncaught "), TROUBLE_CHARS_MAX)
        ctx.db.patch(row["_id"], {"trouble": {"error": text, "attempts": attempts, "nextAt": nextAt}})


def _try_again(ctx: MutationCtx, row: dict[str, Any], context: dict[str, Any], outcome: dict[str, Any]) -> bool:
    failure = outcome_of_job(outcome)
    retry = context["order"].get("retry")
    attempts = int(row["attempts"]) + 1
    assert isinstance(failure, Failure)
    if retry is None or attempts >= retry["maxAttempts"] or is_non_retryable(failure.data):
        return False
    job = ctx.db.system.get(row["job"])
    if job is None:
        return False  # this had its chance before, and ran out of time: what the attempt was called with is gone
    delay_ms = Retry.from_fields(retry).delay_ms(attempts, ctx.random.random())
    again = ctx.scheduler.run_after(
        delay_ms / 1000,
        context["order"]["function"],
        job["args"][0],
        **_OWED,
        context=context,
        queue=QUEUE,
    )
    ctx.db.patch(row["_id"], {"job": again, "attempts": attempts})
    return True


@query
def status(ctx: QueryCtx, workIds: list[str]) -> list[dict[str, Any]]:  # noqa: N803
    """Tell how items are doing.

    Returns:
        for each `{"state": "pending" | "running", "previousAttempts": n}` or `{"state": "finished"}`, which an id that
        nothing is known of is as well. One whose work is done and whose `on_complete` fails has `trouble` too,
        `{"error": text, "attempts": n, "nextAt": ms}`.
    """
    if len(workIds) > STATUS_ITEMS_MAX:
        raise ValueError(f"{len(workIds)} items were asked for; {STATUS_ITEMS_MAX} at once are the most.")
    return [_status(ctx, work_id) for work_id in workIds]


@query
def status_of_one(ctx: QueryCtx, workId: str) -> dict[str, Any]:  # noqa: N803
    """The same for one item."""
    return _status(ctx, workId)


def _status(ctx: QueryCtx, work_id: str) -> dict[str, Any]:
    row = _find(ctx, work_id)
    if row is None:
        return {"state": "finished"}
    job = ctx.db.system.get(row["job"])
    is_running = job is not None and job["state"]["kind"] == "inProgress"
    shown = {"state": "running" if is_running else "pending", "previousAttempts": row["attempts"]}
    return shown | ({"trouble": row["trouble"]} if "trouble" in row else {})


@mutation
def cancel(ctx: MutationCtx, workId: str) -> None:  # noqa: N803
    """Let an item not begin, or not be tried again. One that is finished, or unknown, stays as it is."""
    row = _find(ctx, workId)
    if row is not None:
        _cancel(ctx, row)


@mutation
def cancel_all(ctx: MutationCtx, before_ms: float | None = None, limit: int | None = None) -> None:
    """Cancel items, oldest first; what is too much for one commit follows in the next ones.

    Args:
        before_ms: only those enqueued before this instant, epoch milliseconds; if left out all that there are now.
        limit: at most so many.
    """
    newest = ctx.db.query("items").order("desc").first()
    if newest is not None:
        last = newest["_creationTime"]
        _cancel_page(ctx, last if before_ms is None else min(last, math.nextafter(before_ms, 0)), limit, None)


@internal_mutation
def cancel_more(ctx: MutationCtx, last_ms: float, limit: int | None, after_ms: float) -> None:
    """Go on with `cancel_all`."""
    _cancel_page(ctx, last_ms, limit, after_ms)


def _cancel_page(ctx: MutationCtx, last_ms: float, limit: int | None, after_ms: float | None) -> None:
    count = CANCELED_PER_COMMIT if limit is None else min(limit, CANCELED_PER_COMMIT)

    def bound(q: Any) -> Any:
        return (q if after_ms is None else q.gt("_creationTime", after_ms)).lte("_creationTime", last_ms)

    rows = ctx.db.query("items").with_index("by_creation_time", bound).take(count)
    for row in rows:
        _cancel(ctx, row)
    left = None if limit is None else limit - len(rows)
    if len(rows) == count and left != 0:
        more = {"last_ms": last_ms, "limit": left, "after_ms": rows[-1]["_creationTime"]}
        ctx.scheduler.run_after(0, internal.work.cancel_more, more)


def _cancel(ctx: MutationCtx, row: dict[str, Any]) -> None:
    if row.get("is_canceled"):
        return
    ctx.db.patch(row["_id"], {"is_canceled": True})
    job = ctx.db.system.get(row["job"])
    if job is not None and job["state"]["kind"] == "pending":
        ctx.scheduler.cancel(row["job"])  # which brings `completed` the outcome `canceled`


def _find(ctx: QueryCtx | MutationCtx, work_id: str) -> dict[str, Any] | None:
    found = ctx.db.normalize_id("items", work_id)
    return None if found is None else ctx.db.get(found)
