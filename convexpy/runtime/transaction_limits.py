"""What a run has used of its bounds: shown in `ctx.meta`, warned of in logs, narrowed for nested calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple, Protocol

from convexpy.errors import InvalidRequest
from convexpy.functions.scheduling import ScheduledUsage
from convexpy.limits import LIMIT_WARNING_SHARE
from convexpy.runtime.log_capture import LogSink
from convexpy.transactions.transaction import Transaction


class LimitedRun(Protocol):
    """The run, as this module sees it."""

    transaction: Transaction
    scheduled: ScheduledUsage
    sink: LogSink


class Metric(NamedTuple):
    """One bound: its name in `limits`, its name on the wire, and how a sentence speaks of it."""

    name: str
    wire_name: str
    text: str
    unit: str
    used: int
    limit: int


def metrics_of(run: LimitedRun) -> list[Metric]:
    """All bounds of the transaction, nested calls included."""
    transaction, scheduled, limits = run.transaction, run.scheduled, run.transaction.limits
    usage = transaction.usage
    inside, by = "in a single function execution", "by this mutation"
    return [
        Metric(name, wire_name, text, unit, used, getattr(limits, name))
        for name, wire_name, text, unit, used in (
            ("documents_read", "documentsRead", f"documents read {inside}", "", usage.documents_read),
            ("bytes_read", "bytesRead", f"bytes read {inside}", " bytes", usage.bytes_read),
            ("ranges_read", "databaseQueries", f"reads {inside}", "", transaction.ranges_read),
            ("documents_written", "documentsWritten", f"writes {inside}", "", transaction.documents_written),
            ("bytes_written", "bytesWritten", f"bytes written {inside}", " bytes", transaction.bytes_written),
            ("functions_scheduled", "functionsScheduled", f"functions scheduled {by}", "", scheduled.functions),
            (
                "scheduled_args_bytes",
                "scheduledFunctionArgsBytes",
                f"bytes of arguments scheduled {by}",
                " bytes",
                scheduled.args_bytes,
            ),
        )
    ]


def warn_near_limits(run: LimitedRun) -> None:
    """Log one line for each bound of which more than `LIMIT_WARNING_SHARE` is used."""
    if _is_far_from_limits(run):
        return
    for metric in metrics_of(run):
        if metric.used > metric.limit * LIMIT_WARNING_SHARE:
            run.sink.add_of_platform(
                "WARN", f"Many {metric.text} (actual: {metric.used}{metric.unit}, limit: {metric.limit}{metric.unit})."
            )


def _is_far_from_limits(run: LimitedRun) -> bool:
    """The same question without texts, which nearly every run ends with: ranges are counted before they are merged."""
    transaction, scheduled = run.transaction, run.scheduled
    usage, limits, share = transaction.usage, transaction.limits, LIMIT_WARNING_SHARE
    return (
        usage.documents_read <= limits.documents_read * share
        and usage.bytes_read <= limits.bytes_read * share
        and transaction.ranges_opened <= limits.ranges_read * share
        and transaction.documents_written <= limits.documents_written * share
        and transaction.bytes_written <= limits.bytes_written * share
        and scheduled.functions <= limits.functions_scheduled * share
        and scheduled.args_bytes <= limits.scheduled_args_bytes * share
    )


@contextmanager
def capped(run: LimitedRun, extra: Mapping[str, int] | None) -> Iterator[None]:
    """Let the body use at most `extra` beyond what is used already, and never more than was left anyway.

    Raises:
        InvalidRequest: `extra` names no bound of a transaction, or gives it a nonsensical value.
    """
    if extra is None:
        yield
        return
    transaction = run.transaction
    before = transaction.limits
    bounds = {metric.name: metric for metric in metrics_of(run)}
    narrowed: dict[str, int] = {}
    for name, value in extra.items():
        if name not in bounds:
            raise InvalidRequest(f"transaction_limits has no {name!r}. Known limits: {', '.join(sorted(bounds))}.")
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InvalidRequest(f"transaction_limits: {name} is an integer of at least 0, not {value!r}.")
        narrowed[name] = min(bounds[name].limit, bounds[name].used + value)
    transaction.limits = replace(before, **narrowed)
    try:
        yield
    finally:
        transaction.limits = before
