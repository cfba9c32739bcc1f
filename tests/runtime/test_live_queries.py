"""The query cache: what is shared, what becomes stale, what is kept. Invariants: see `runtime.live_queries`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from convexpy.errors import Overloaded
from convexpy.runtime.live_queries import RETRY_SECONDS
from convexpy.transactions.commit_messages import Committed
from tests.runtime.live_query_bench import A, B, Bench, CountingListener, of

# --- sharing


def test_one_run_serves_a_thousand_subscribers(bench: Bench) -> None:
    listeners = [CountingListener() for _ in range(1000)]
    entries = {id(bench.subscribe(of(request_id=str(n), caller="x"), each)) for n, each in enumerate(listeners)}
    bench.answer(b"7", A)

    assert len(entries) == 1 and bench.cache.runs == 1
    assert {each.count for each in listeners} == {1}

    bench.commit(A)
    bench.answer(b"8", A)

    assert bench.cache.runs == 2
    assert {each.count for each in listeners} == {2}, (
        "told of the new outcome, and not before: there is nothing to send"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"args": b'{"x":1}'},
        {"component": "c"},
        {"format": "json"},
        {"identity": b"{}"},
        {"is_admin": True},
        {"journal": "page"},
    ],
)
def test_requests_that_differ_in_what_matters_have_entries_of_their_own(bench: Bench, fields: dict[str, Any]) -> None:
    first = bench.subscribe(of(), CountingListener())
    other = bench.subscribe(msgspec.structs.replace(of(), **fields), CountingListener())

    assert first is not other


def test_what_becomes_stale_in_one_step_runs_as_one_frame(bench: Bench) -> None:
    """So their outcomes are of one snapshot."""
    for number in range(5):
        bench.subscribe(of(f"m:f{number}"), CountingListener())
        bench.answer(b"1", A)
    bench.commit(A)

    ((requests, _),) = bench.runner.frames
    assert [request.path for request in requests] == [f"m:f{number}" for number in range(5)]


# --- staleness


def test_an_unrelated_commit_changes_nothing(bench: Bench) -> None:
    listener = CountingListener()
    entry = bench.subscribe(of(), listener)
    bench.answer(b"1", A)
    bench.commit(B)

    assert (bench.cache.runs, listener.count, entry.valid_until_ts) == (1, 1, None)


def test_an_entry_that_becomes_stale_while_it_runs_runs_once_more(bench: Bench) -> None:
    """Its run may have begun before the commit; its outcome is shown, but does not hold from the commit on."""
    listener = CountingListener()
    entry = bench.subscribe(of(), listener)
    before = bench.ts
    first = bench.commit(A)
    bench.commit(A)
    bench.answer(b"old", A, ts=before)

    assert entry.outcome is not None and entry.outcome.value == b"old"
    assert (entry.snapshot_ts, entry.valid_until_ts, entry.is_running) == (before, first, True)

    bench.answer(b"new", A)

    assert entry.outcome.value == b"new"
    assert (entry.valid_until_ts, entry.is_running, bench.cache.runs) == (None, False, 2)


def test_a_stale_entry_is_running_in_the_step_that_made_it_so(bench: Bench) -> None:
    entry = bench.subscribe(of(), CountingListener())
    bench.answer(b"1", A)
    bench.commit(A)

    assert entry.valid_until_ts is not None and entry.is_running


def test_an_outcome_waits_until_its_snapshot_is_published(bench: Bench) -> None:
    """Another process may see a commit before the server has heard of it."""
    listener = CountingListener()
    entry = bench.subscribe(of(), listener)
    ts = bench.commit(A, publish=False)
    bench.answer(b"early", A)
    assert (entry.outcome, listener.count) == (None, 0)

    bench.do(lambda: bench.publisher.publish([Committed(0, ts, [A])]))

    assert entry.outcome is not None and entry.snapshot_ts == ts == bench.publisher.published_ts
    assert entry.valid_until_ts is None


def test_an_error_is_subscribed_to_but_not_cached(bench: Bench) -> None:
    listener = CountingListener()
    entry = bench.subscribe(of(), listener)
    bench.answer(b"", A, is_ok=False, error="broken")
    bench.commit(A)
    bench.answer(b"2", A, is_ok=False, error="still broken")
    assert entry.outcome is not None and entry.outcome.error == "still broken"

    bench.do(lambda: bench.cache.unsubscribe(entry, listener))
    bench.subscribe(of(), CountingListener())

    assert bench.cache.runs == 3


# --- once


def test_a_query_that_is_cached_does_not_run(bench: Bench) -> None:
    for value in (b"1", b"2"):
        task = bench.start(bench.cache.query_once(of()))
        if bench.runner.frames:
            bench.answer(value, A)
        assert task.result().value == b"1"

    assert (bench.cache.runs, bench.cache.hits) == (1, 1)


def test_a_query_is_never_answered_from_before_its_time(bench: Bench) -> None:
    """A run that began before the commit that the caller may know of does not count."""
    entry = bench.subscribe(of(), CountingListener())
    before = bench.ts
    bench.commit(A)
    task = bench.start(bench.cache.query_once(of()))
    bench.answer(b"old", A, ts=before)
    assert not task.done() and entry.outcome is not None

    bench.answer(b"new", A)

    assert task.result().value == b"new"


def test_a_result_that_read_the_clock_expires(bench: Bench) -> None:
    first = bench.start(bench.cache.query_once(of()))
    bench.answer(b"1", A, used_time=True)
    bench.clock.advance(14.9)
    cached = bench.start(bench.cache.query_once(of()))
    bench.clock.advance(0.2)
    later = bench.start(bench.cache.query_once(of()))
    assert not later.done()
    bench.answer(b"2", A, used_time=True)

    assert [task.result().value for task in (first, cached, later)] == [b"1", b"1", b"2"]


def test_a_result_that_did_not_read_the_clock_stays(bench: Bench) -> None:
    bench.start(bench.cache.query_once(of()))
    bench.answer(b"1", A)
    bench.clock.advance(20 * 60)

    assert bench.start(bench.cache.query_once(of())).done()


@pytest.mark.parametrize("bench", [3000], indirect=True)
def test_the_cache_has_a_bound_and_forgets_what_was_not_used(bench: Bench) -> None:
    for number in range(5):
        bench.start(bench.cache.query_once(of(f"m:f{number}")))
        bench.answer(b"x" * 500, A)
        bench.start(bench.cache.query_once(of("m:f0")))
    assert not bench.runner.frames, "f0 was asked for over and over, so it stays"

    for number, is_cached in ((4, True), (1, False)):
        bench.start(bench.cache.query_once(of(f"m:f{number}")))
        assert (not bench.runner.frames) is is_cached


def test_a_commit_forgets_what_nobody_waits_for(bench: Bench) -> None:
    bench.start(bench.cache.query_once(of()))
    bench.answer(b"1", A)
    bench.commit(A)
    assert bench.cache.runs == 1

    bench.start(bench.cache.query_once(of()))

    assert bench.cache.runs == 2


# --- pages


def test_a_page_keeps_its_end_and_who_asks_anew_gets_a_page_of_his_own(bench: Bench) -> None:
    entry = bench.subscribe(of(), CountingListener())
    bench.answer(b"page", A, journal="end")
    bench.commit(A)
    other = bench.subscribe(of(), CountingListener())

    journals = [request.journal for requests, _ in bench.runner.frames for request in requests]
    assert entry is not other
    assert journals == ["end", None]
    assert bench.subscribe(of(journal="end"), CountingListener()) is entry


# --- when workers fail


@pytest.mark.parametrize("loss", ["died", "overloaded"])
def test_a_run_without_a_worker_is_tried_again_later(bench: Bench, loss: str) -> None:
    entry = bench.subscribe(of(), CountingListener())
    bench.answer(b"", is_ok=False, error="no worker", loss=loss)
    assert (entry.outcome, bench.cache.runs) == (None, 1)

    bench.clock.advance(RETRY_SECONDS)
    bench.settle()
    bench.answer(b"1", A)

    assert entry.outcome is not None and entry.outcome.value == b"1"


def test_running_together_says_so_when_there_is_no_worker(bench: Bench) -> None:
    task = bench.start(bench.cache.run_together([of(), of("m:g")]))
    bench.answer(b"", is_ok=False, loss="overloaded")

    with pytest.raises(Overloaded):
        task.result()


def test_running_together_gives_one_timestamp(bench: Bench) -> None:
    task = bench.start(bench.cache.run_together([of(), of("m:g")]))
    ts = bench.commit(A, publish=False)
    bench.answer(b"1", A)
    assert not task.done()

    bench.do(lambda: bench.publisher.publish([Committed(0, ts, [A])]))

    found_ts, outcomes = task.result()
    assert found_ts == ts and [outcome.value for outcome in outcomes] == [b"1", b"1"]


def test_new_code_runs_everything_again_and_drops_what_old_code_gave(bench: Bench) -> None:
    listener = CountingListener()
    running, done = bench.subscribe(of("m:running"), listener), bench.subscribe(of("m:done"), listener)
    bench.runner.frames.reverse()
    bench.answer(b"old", A)
    bench.do(lambda: bench.cache.make_all_stale(bench.ts))
    bench.answer(b"old", A)
    while bench.runner.frames:
        bench.answer(b"new", A)

    assert [entry.outcome and entry.outcome.value for entry in (running, done)] == [b"new", b"new"]


def test_an_entry_is_gone_when_its_last_listener_is(bench: Bench) -> None:
    listener = CountingListener()
    entry = bench.subscribe(of(), listener)
    assert bench.subscribe(of(), listener) is entry
    bench.answer(b"1", A)
    bench.do(lambda: bench.cache.unsubscribe(entry, listener))
    bench.commit(A)
    bench.answer(b"2", A)
    bench.do(lambda: bench.cache.unsubscribe(entry, listener))
    bench.commit(A)

    assert bench.cache.runs == 2 and not bench.runner.frames
