"""Bounds of a transaction: overridden, warned of, shown in `ctx.meta`, and narrowed for nested calls."""

from __future__ import annotations

from typing import Any

import pytest

from convexpy.errors import ConvexpyError, InvalidRequest, LimitExceeded
from convexpy.functions.application import Application
from convexpy.limits import FunctionLimits
from convexpy.testing import TestBackend


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "5", True, None, 2.5])
def test_a_nonsensical_bound_is_refused(value: Any) -> None:
    with pytest.raises(ConvexpyError, match=r"limits\.documents_read is a"):
        FunctionLimits().override({"documents_read": value})


def test_more_than_80_percent_of_a_bound_is_warned_of(calls_application: Application) -> None:
    with TestBackend(calls_application, limits={"documents_written": 10}) as backend:
        for count in (7, 9):  # the first one creates the table, which is a row as well
            backend.run(lambda ctx, count=count: [ctx.db.insert("notes", {"n": n}) for n in range(count)])  # type: ignore[misc]
        few, many = (call.log_lines for call in backend.calls[-2:])

    assert few == []
    assert many[0].startswith("[WARN] Many writes in a single function execution (actual: ")


def test_a_nested_call_has_its_own_bound_which_ends_with_it(backend: TestBackend) -> None:
    def work(ctx: Any) -> int:
        for _ in range(3):
            ctx.db.insert("notes", {"name": "x"})
        with pytest.raises(LimitExceeded, match="Too many documents read"):
            ctx.run_query("calls:count", transaction_limits={"documents_read": 2})
        with pytest.raises(InvalidRequest, match="transaction_limits has no 'rows'"):
            ctx.run_query("calls:count", transaction_limits={"rows": 2})
        assert ctx.meta.transaction_metrics()["documentsRead"]["used"] == 2
        return int(ctx.run_query("calls:count"))

    assert backend.run(work) == 3


def test_a_stale_snapshot_lacks_what_is_pending(backend: TestBackend) -> None:
    backend.mutation("calls:add")

    def work(ctx: Any) -> tuple[int, int]:
        ctx.db.insert("notes", {"name": "pending"})
        return ctx.run_query("calls:count", stale_snapshot=True), ctx.run_query("calls:count")

    assert backend.run(work) == (1, 2)


def test_reads_of_a_stale_snapshot_have_bounds_of_their_own(calls_application: Application) -> None:
    """Each such query has those of a query; what it read is in no read set, so the mutation is not charged."""
    with TestBackend(calls_application, limits={"documents_read": 10}) as backend:
        for _ in range(8):
            backend.mutation("calls:add")

        def work(ctx: Any) -> int:
            total = sum(ctx.run_query("calls:count", stale_snapshot=True) for _ in range(3))
            with pytest.raises(LimitExceeded, match="Too many documents read"):
                ctx.run_query("calls:count", stale_snapshot=True, transaction_limits={"documents_read": 2})
            assert ctx.meta.transaction_metrics()["documentsRead"]["used"] == 0
            return int(total + ctx.run_query("calls:count"))

        assert backend.run(work) == 32
