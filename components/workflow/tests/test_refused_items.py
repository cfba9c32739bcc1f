"""What is asked of a pool and makes no sense is refused by a sentence, and nothing is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from math import inf, nan
from pathlib import Path

import pytest
from convexpy_workflow import Workpool
from refusals import NO_COUNTS, PARALLELISM, WHOLE, Rows, each

from convexpy import components, internal
from convexpy.testing import TestBackend

pool = Workpool(components.workpool)
work = internal.work
NAMES = {"datetime": datetime, "inf": inf, "nan": nan, "pool": pool, "work": work}

INSTANT = "is an aware datetime or epoch seconds, not"
SECONDS = "is an instant in epoch seconds (not milliseconds), not"
KINDS = "on_complete_exclude_kinds"
OPTIONS: Rows = [
    *each("run_after={}", ("nan", "inf", "-1", "'1'", "True", "10**400"), "run_after must be"),
    ("run_after=1e10", "run_after must be at most 5 years"),
    *each("run_at={}", ("'tomorrow'", "True", "[1]"), f"run_at {INSTANT}"),
    *each("run_at={}", ("nan", "inf", "-inf", "1e300", "10**400"), f"run_at {SECONDS}"),
    ("run_at=1.7e11", "is more than 5 years away"),
    ("run_at=datetime(2030, 1, 1)", "has no time zone."),
    ("run_after=1, run_at=1", "run_after and run_at exclude each other"),
    ("name=''", "name is a text that is not empty."),
    ("name=5", "name is a text, not 5."),
    ("name='x' * 2000", "name is a text of at most 1000 characters"),
    ("on_complete=5", "5 is no function reference."),
    (f"on_complete=work.count, {KINDS}='failed'", f"{KINDS} are a list of kinds"),
    (f"on_complete=work.count, {KINDS}=['lost']", f"Each of {KINDS} is 'success' or"),
    ("priority=1", "has no option 'priority'."),
]
ENQUEUES: Rows = [
    *((f"pool.enqueue_mutation(ctx, work.count, {{'name': 'a'}}, {option})", text) for option, text in OPTIONS),
    *((f"pool.enqueue_action_batch(ctx, work.attempt, [{{'name': 'a'}}], {option})", text) for option, text in OPTIONS),
    ("pool.enqueue_query(ctx, 5)", "5 is no function reference."),
    *each("pool.enqueue_query(ctx, work.look, {})", ("['a']", "0"), "args are a dict by the names of the parameters"),
    ("pool.enqueue_mutation_batch(ctx, work.count, {'a': 1})", "args of a batch are a list of dicts, one an item"),
    ("pool.enqueue_mutation_batch(ctx, work.count, ['a'])", "args are a dict by the names of the parameters"),
    ("pool.enqueue_mutation_batch(ctx, work.count, [{}] * 1001)", "1001 items are too many for one transaction"),
    *each("pool.enqueue_action(ctx, work.attempt, retry={})", ("3", "'yes'", "{}"), "retry is True, False or a policy"),
]
ITEMS: Rows = [
    *each(
        "pool.{}(ctx, 5)", ("status", "cancel"), "An item is named by the text that enqueue_…(…) returned, not by 5."
    ),
    ("pool.status_batch(ctx, 'abc')", "status_batch(…) takes a list of ids, not 'abc'."),
    ("pool.status_batch(ctx, [None])", "An item is named by the text"),
    ("pool.status_batch(ctx, ['x'] * 1001)", "1001 items were asked for; 1000 at once are the most."),
    *each("pool.cancel_all(ctx, limit={})", NO_COUNTS, f"limit {WHOLE} 0 to"),
    *each("pool.cancel_all(ctx, before={})", ("'now'", "True"), f"before {INSTANT}"),
    *each("pool.cancel_all(ctx, before={})", ("nan", "inf"), f"before {SECONDS}"),
    *each("pool.update_config(ctx, max_parallelism={})", (*NO_COUNTS, "None", "1001"), PARALLELISM),
]


@pytest.fixture(scope="module")
def backend() -> Iterator[TestBackend]:
    with TestBackend(Path(__file__).parent / "pool_app") as backend:
        backend.run(lambda ctx: pool.enqueue_mutation(ctx, work.count, {"name": "waits"}, run_after=3600))
        yield backend


@pytest.mark.parametrize(("call", "text"), [*ENQUEUES, *ITEMS])
def test_a_call_that_makes_no_sense_is_refused(backend: TestBackend, call: str, text: str) -> None:
    def rows() -> list[object]:
        items = backend.run(lambda ctx: ctx.db.query("items").collect(), component="workpool")
        return [items, backend.run(lambda ctx: ctx.db.system.query("_scheduled_functions").collect())]

    before = rows()

    with pytest.raises(Exception, match=re.escape(text)):
        backend.run(lambda ctx: eval(call, NAMES | {"ctx": ctx}))

    assert rows() == before


def test_a_pool_cancels_none_where_the_limit_is_none(backend: TestBackend) -> None:
    backend.run(lambda ctx: pool.cancel_all(ctx, limit=0))

    items = backend.run(lambda ctx: ctx.db.query("items").collect(), component="workpool")
    assert ["is_canceled" in item for item in items] == [False]
