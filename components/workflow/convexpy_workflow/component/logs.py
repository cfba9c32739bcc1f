"""`list_logs`: what a run printed, in the order of the run; see `log_rows` for how it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convexpy import QueryCtx, query, size_of
from convexpy_workflow.arguments import bad_cursor
from convexpy_workflow.component.large_values import get_value
from convexpy_workflow.component.log_rows import Fields, handler_line, lines_of_row
from convexpy_workflow.component.rows import get_run

PAGE_LINES_DEFAULT = 100
PAGE_LINES_MAX = 1000
PAGE_BYTES_MAX = 4 * 1024 * 1024  # of the rows that a page's lines lie in
_BEFORE_ALL = -1  # the place of what belongs to no step


@query
def list_logs(ctx: QueryCtx, workflowId: str, paginationOpts: Any = None) -> Fields:  # noqa: N803
    """List what a run printed, in its order: what the functions of its steps did, and its handler between them.

    The lines of one moment stay together, so a page may have more lines than asked for. What a running action has
    printed is there once its attempt has ended; what a step prints after it was given up is not kept.

    Returns:
        a page of `{"level", "text", "source": "handler" | "step", "at", "stepNumber", "name", "attempt"}`; the last
        three only of steps. `at` is in milliseconds.

    Raises:
        WorkflowNotFound, InvalidWorkflowId
    """
    run = get_run(ctx, workflowId)
    options = paginationOpts or {}
    wanted = max(1, min(int(options.get("numItems", PAGE_LINES_DEFAULT)), PAGE_LINES_MAX))
    given = options.get("cursor")
    lines: list[Fields] = []
    if not given:
        after = (_BEFORE_ALL, _BEFORE_ALL)
        at = run.get("started_ms", run["now_ms"])
        lines += [handler_line(text, at) for text in get_value(ctx, run, "handler_log") or []]
    else:
        logged, _, position = given.partition(":")
        try:
            after = (int(logged), int(position))
        except ValueError:
            raise bad_cursor(given) from None
    cursor, is_done, size = given or f"{_BEFORE_ALL}:{_BEFORE_ALL}", True, 0
    for place, row in _rows_after(ctx, run["_id"], after):
        if len(lines) >= wanted or size >= PAGE_BYTES_MAX:
            is_done = False
            break
        lines += lines_of_row(ctx, row)
        size += size_of(row)
        cursor = f"{place[0]}:{place[1]}"
    return {"page": lines, "isDone": is_done, "continueCursor": cursor}


def _rows_after(ctx: QueryCtx, workflow: str, after: tuple[int, int]) -> Iterator[tuple[tuple[int, int], Fields]]:
    """Rows that have lines, in the order of the run, beyond a place: (resolution, step's position)."""
    logged, position = after
    same = ctx.db.query("steps").with_index(
        "by_logged", lambda q: q.eq("workflow", workflow).eq("logged", logged).gt("position", position)
    )
    for step in same:
        yield (logged, int(step["position"])), step
    streams = [
        iter(ctx.db.query(table).with_index("by_logged", lambda q: q.eq("workflow", workflow).gt("logged", logged)))
        for table in ("steps", "timers")
    ]
    heads = [next(stream, None) for stream in streams]
    while any(head is not None for head in heads):
        places = [(row["logged"], row.get("position", _BEFORE_ALL)) if row else (float("inf"), 0) for row in heads]
        first = 0 if places[0] <= places[1] else 1
        row = heads[first]
        assert row is not None
        yield (int(places[first][0]), int(places[first][1])), row
        heads[first] = next(streams[first], None)
