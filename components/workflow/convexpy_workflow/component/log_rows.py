"""What a run printed and logged, each line once, in the rows of its steps.

A line is `[LEVEL] text`. Those of a step's function come with its outcome, those of the handler with the wave, so both
are written by the commit that everything else of that moment is written by: a commit that is refused keeps none.
A row has `logs` (its function's: `{attempt, lines}` for each attempt that printed), `handler_log` (what the handler
printed while it took this row's news), and `logged`, its place in the order, only if it has either of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convexpy import UNSET, MutationCtx, QueryCtx
from convexpy_workflow.component.large_values import RUN_VALUE_BYTES_MAX, STEP_VALUE_BYTES_MAX, get_value, put_value

STEP_LOG_BYTES_MAX = 64 * 1024  # of one step's function, all attempts together
HANDLER_LOG_BYTES_MAX = 32 * 1024  # of the handler between two pieces of news
RUN_LOG_BYTES_MAX = 4 * 1024 * 1024  # a replay reads the rows that they lie in

Fields = dict[str, Any]


class LogKeeper:
    """Puts the lines of one wave into its rows, within the bounds.

    Args:
        run: the run's row; `log_bytes` is what its rows have already.
    """

    def __init__(self, ctx: MutationCtx, run: Fields) -> None:
        self._ctx = ctx
        self._workflow = run["_id"]
        self.log_bytes = int(run.get("log_bytes", 0))

    def keep(self, fields: Fields, logged: int, row: Fields | None = None) -> Fields:
        """Give fields of a row with `lines`, `attempt` and `handler_lines` turned into what the row keeps.

        Args:
            logged: number of the resolution that the lines belong to.
            row: the row as it is, if it is there; lines of earlier attempts stay.
        """
        kept = dict(fields)
        lines, attempt = kept.pop("lines", None), kept.pop("attempt", 1)
        handler_lines = kept.pop("handler_lines", None)
        earlier = [] if row is None else get_value(self._ctx, row, "logs") or []
        if lines:
            used = sum(_bytes_of(entry["lines"]) for entry in earlier)
            earlier = [*earlier, {"attempt": attempt, "lines": self._within(lines, STEP_LOG_BYTES_MAX - used)}]
            kept |= self._put("logs", earlier)
            if row is not None and "logs_aside" in row:
                self._ctx.db.delete(row["logs_aside"])
            elif row is not None and "logs" in row and "logs" not in kept:
                kept["logs"] = UNSET
        if handler_lines:
            kept |= self._put("handler_log", self._within(handler_lines, HANDLER_LOG_BYTES_MAX))
        if earlier or handler_lines:
            kept["logged"] = logged
        return kept

    def keep_start(self, lines: list[str]) -> Fields:
        """Give the fields of the run's row that hold what the handler printed before its first news."""
        kept = self._within(lines, HANDLER_LOG_BYTES_MAX)
        return put_value(self._ctx, self._workflow, "handler_log", kept, RUN_VALUE_BYTES_MAX)

    def _put(self, name: str, value: Any) -> Fields:
        return put_value(self._ctx, self._workflow, name, value, STEP_VALUE_BYTES_MAX)

    def _within(self, lines: list[str], bytes_max: int) -> list[str]:
        left_of_run = RUN_LOG_BYTES_MAX - self.log_bytes
        if left_of_run <= 0:
            return []
        kept: list[str] = []
        used = 0
        for line in lines:
            used += _bytes_of([line])
            if used > min(bytes_max, left_of_run):
                kept.append(f"[ERROR] Log too large to be kept. Remaining log lines omitted: {len(lines) - len(kept)}.")
                break
            kept.append(line)
        self.log_bytes += used  # with the line that did not fit: the last one of a run says so once
        return kept


def lines_of_step(ctx: QueryCtx, step: Fields) -> list[Fields]:
    """The lines that a step's function printed, over all its attempts."""
    entries = get_value(ctx, step, "logs") or []
    return [_split(text) | {"attempt": entry["attempt"]} for entry in entries for text in entry["lines"]]


def lines_of_row(ctx: QueryCtx, row: Fields) -> Iterator[Fields]:
    """All lines of the row of a step or a fired timer, as they are listed."""
    at: Any = row["now_ms"] if "resolution" in row else row.get("completed_ms", row.get("started_ms"))
    for line in lines_of_step(ctx, row) if "position" in row else ():
        yield line | {"source": "step", "at": at, "stepNumber": row["position"], "name": row["name"]}
    for text in get_value(ctx, row, "handler_log") or []:
        yield handler_line(text, row.get("resolved_now_ms", at))


def handler_line(text: str, at: float) -> Fields:
    """One line of the handler, as it is listed."""
    return _split(text) | {"source": "handler", "at": at}


def _split(line: str) -> Fields:
    level, _, text = line.removeprefix("[").partition("] ")
    return {"level": level, "text": text}


def _bytes_of(lines: list[str]) -> int:
    return sum(len(line.encode()) for line in lines)
