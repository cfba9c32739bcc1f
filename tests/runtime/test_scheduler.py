"""Scheduled functions: when they run, how often, and what becomes of their outcome. Source: runtime-semantics 5.1."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from convexpy import ConvexpyError, MutationCtx, internal
from convexpy.runtime import job_queues
from convexpy.testing import TestBackend

Row = dict[str, Any]


def schedule(jobs: TestBackend, delay: Any, function: Any, args: Row | None = None, **options: Any) -> str:
    """Schedule in a mutation of its own; the id of the row."""
    return jobs.run(lambda ctx: ctx.scheduler.run_after(delay, function, args, **options))


def say(jobs: TestBackend, delay: Any, text: str, **options: Any) -> str:
    return schedule(jobs, delay, internal.jobs.record, {"text": text}, **options)


def events(jobs: TestBackend) -> list[str]:
    """What has been recorded, in the order in which it was."""
    return jobs.run(lambda ctx: [row["text"] for row in ctx.db.query("events")])


def counter_of(ctx: MutationCtx) -> int:
    """What `increment` has come to."""
    row = ctx.db.query("counters").unique()
    assert row is not None
    return int(row["value"])


def row_of(jobs: TestBackend, job: str) -> Row | None:
    return jobs.run(lambda ctx: ctx.db.system.get(job))


def state_of(jobs: TestBackend, job: str) -> Row:
    row = row_of(jobs, job)
    assert row is not None
    return dict(row["state"])


def completions(jobs: TestBackend) -> list[Row]:
    return jobs.run(lambda ctx: ctx.db.query("completions").collect())


def scheduled(jobs: TestBackend) -> list[Row]:
    return jobs.run(lambda ctx: ctx.db.system.query("_scheduled_functions").collect())


def runs_of(jobs: TestBackend, kind: str) -> int:
    return sum(call.kind == kind for call in jobs.calls)


# --- when


def test_a_function_runs_when_it_is_due_and_not_before(jobs: TestBackend) -> None:
    job = say(jobs, 10, "now")
    jobs.advance(9.999)
    assert (events(jobs), state_of(jobs, job)) == ([], {"kind": "pending"})

    jobs.advance(0.001)

    row = row_of(jobs, job)
    assert row is not None
    assert events(jobs) == ["now"]
    assert row["state"] == {"kind": "success"}
    assert row["name"] == "jobs.js:record" and row["args"] == [{"text": "now"}]
    assert row["completedTime"] == row["scheduledTime"] == jobs.clock.now_ms()


def test_delay_zero_is_right_after_the_commit(jobs: TestBackend) -> None:
    say(jobs, 0, "at once")
    jobs.advance()

    assert events(jobs) == ["at once"]


def test_functions_run_in_the_order_of_their_times_each_at_its_own(jobs: TestBackend) -> None:
    start = jobs.clock.now_ms()
    for delay in (30, 10, timedelta(seconds=20), 0.5):
        say(jobs, delay, str(delay))
    jobs.advance(60)

    rows = jobs.run(lambda ctx: ctx.db.query("events").collect())
    assert [row["at"] - start for row in rows] == [500, 10_000, 20_000, 30_000]


def test_run_at_takes_instants_and_one_in_the_past_is_now(jobs: TestBackend) -> None:
    def write(ctx: Any) -> None:
        ctx.scheduler.run_at(jobs.clock.now() + timedelta(seconds=5), internal.jobs.record, {"text": "datetime"})
        ctx.scheduler.run_at(jobs.clock.now_ms() / 1000 + 6, internal.jobs.record, {"text": "seconds"})
        ctx.scheduler.run_at(datetime(2024, 1, 1, tzinfo=UTC), internal.jobs.record, {"text": "past"})

    jobs.run(write)
    jobs.advance(0)
    assert events(jobs) == ["past"]

    jobs.advance(5)
    assert events(jobs) == ["past", "datetime"]

    jobs.run_all_scheduled()
    assert events(jobs) == ["past", "datetime", "seconds"]


def test_a_chain_runs_to_its_end_in_days_of_manual_time(jobs: TestBackend) -> None:
    begun = jobs.clock.now()
    schedule(jobs, 0, internal.jobs.schedule_itself, {"times": 30})
    jobs.run_all_scheduled()

    assert len(events(jobs)) == 31
    assert timedelta(hours=30) <= jobs.clock.now() - begun < timedelta(hours=30, seconds=1)


def test_a_chain_without_an_end_is_noticed(jobs: TestBackend) -> None:
    schedule(jobs, 0, internal.jobs.schedule_for_ever)

    with pytest.raises(RuntimeError, match="50 scheduled functions have run, and there are more"):
        jobs.run_all_scheduled(functions_max=50)


@pytest.mark.parametrize(
    ("delay", "problem"),
    [
        (-1, "non-negative"),
        (math.nan, "non-negative"),
        (math.inf, "non-negative"),
        ("5", "non-negative"),
        (6 * 365 * 86400, "more than 5 years"),
    ],
)
def test_a_wrong_delay_is_refused_at_the_call(jobs: TestBackend, delay: Any, problem: str) -> None:
    with pytest.raises(ConvexpyError, match=problem):
        say(jobs, delay, "never")


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        (datetime(2025, 1, 1), "aware datetime"),
        ("tomorrow", "aware datetime or epoch seconds"),
        (1_735_689_600_000, "divide _creationTime by 1000"),
    ],
)
def test_a_wrong_instant_is_refused_at_the_call(jobs: TestBackend, when: Any, problem: str) -> None:
    with pytest.raises(ConvexpyError, match=problem):
        jobs.run(lambda ctx: ctx.scheduler.run_at(when, internal.jobs.record, {"text": "never"}))


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("jobs:nowhere", "Attempted to schedule function at nonexistent path: "),
        (internal.jobs.look, "Unsupported function type: jobs:look is a query"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_at_the_call(jobs: TestBackend, function: Any, problem: str) -> None:
    with pytest.raises(ConvexpyError, match=problem):
        schedule(jobs, 0, function)


def test_a_mutation_schedules_at_most_a_thousand(jobs: TestBackend) -> None:
    def write(ctx: Any, count: int) -> None:
        for _ in range(count):
            ctx.scheduler.run_after(3600, internal.jobs.increment)

    jobs.run(lambda ctx: write(ctx, 1000))
    with pytest.raises(ConvexpyError, match=r"Too many functions scheduled by this mutation \(limit: 1000\)"):
        jobs.run(lambda ctx: write(ctx, 1001))

    assert len(jobs.run(lambda ctx: ctx.db.system.query("_scheduled_functions").collect())) == 1000


def test_the_thousand_is_of_the_whole_mutation(jobs: TestBackend) -> None:
    """Nested mutations have no thousand of their own."""

    def write(ctx: Any) -> None:
        for _ in range(999):
            ctx.scheduler.run_after(3600, internal.jobs.increment)
        ctx.run_mutation(internal.jobs.schedule_one)
        ctx.run_mutation(internal.jobs.schedule_one)

    with pytest.raises(ConvexpyError, match="Too many functions scheduled"):
        jobs.run(write)


# --- whether


def test_a_mutation_that_fails_has_scheduled_nothing(jobs: TestBackend) -> None:
    with pytest.raises(ConvexpyError, match="after scheduling"):
        jobs.mutation(internal.jobs.schedule_and_fail)
    jobs.run_all_scheduled()

    assert events(jobs) == []
    assert jobs.run(lambda ctx: ctx.db.system.query("_scheduled_functions").collect()) == []


def test_a_failing_child_takes_its_jobs_along(jobs: TestBackend) -> None:
    jobs.mutation("jobs:schedule_in_failing_child")
    jobs.run_all_scheduled()

    assert events(jobs) == ["kept", "kept too"]
    assert runs_of(jobs, "job") == 2


def test_an_action_schedules_at_once_whatever_becomes_of_it(jobs: TestBackend) -> None:
    with pytest.raises(ConvexpyError, match="afterwards"):
        jobs.action(internal.jobs.schedule_then_fail_in_action)
    jobs.advance(1)

    assert events(jobs) == ["scheduled all the same"]


def test_jobs_that_race_each_take_effect_once(jobs: TestBackend) -> None:
    """All are due at once and read the same counter, so most lose and run again."""
    ids = [schedule(jobs, 1, internal.jobs.increment) for _ in range(20)]
    jobs.advance(1)

    assert jobs.run(counter_of) == 20
    assert {state_of(jobs, job)["kind"] for job in ids} == {"success"}
    assert jobs.runtime.conflicts > 0


def test_a_failed_mutation_is_not_run_again_and_leaves_only_its_error(jobs: TestBackend) -> None:
    job = schedule(jobs, 0, internal.jobs.record_then_fail, {"text": "boom"})
    jobs.run_all_scheduled()

    state = state_of(jobs, job)
    assert events(jobs) == []
    assert state["kind"] == "failed"
    assert state["error"].startswith('Uncaught ConvexError: {"text":"boom"}')
    assert runs_of(jobs, "job") == 1


def test_nobody_is_logged_in_in_a_scheduled_function(jobs: TestBackend) -> None:
    ann = jobs.with_identity({"subject": "ann"})
    ann.mutation("jobs:schedule_in_failing_child")
    jobs.run_all_scheduled()

    assert jobs.run(lambda ctx: [row["who"] for row in ctx.db.query("events")]) == [None, None]


def test_pending_functions_survive_a_restart(jobs: TestBackend) -> None:
    say(jobs, 10, "after the restart")
    jobs.restart()
    jobs.advance(10)

    assert events(jobs) == ["after the restart"]


def test_rows_beyond_what_is_held_in_memory_run_too(jobs: TestBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the earliest rows of a queue are held; the others are read from the index when those have run."""
    monkeypatch.setattr(job_queues, "SCHEDULER_ROWS_IN_MEMORY_MAX", 4)
    start = jobs.clock.now_ms()
    delays = [(number * 7) % 30 for number in range(30)]
    for delay in delays:
        say(jobs, delay, str(delay))
    jobs.restart()
    for delay in delays:
        say(jobs, delay + 30, str(delay + 30))
    jobs.advance(60)

    rows = jobs.run(lambda ctx: ctx.db.query("events").collect())
    assert sorted(int(row["text"]) for row in rows) == list(range(60))
    assert all(row["at"] - start == int(row["text"]) * 1000 for row in rows)


def test_many_rows_that_wait_for_a_lane_are_not_looked_up_over_and_over(
    jobs: TestBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are due at once in one lane, and few fit into memory: some are loaded when half of those have run."""
    monkeypatch.setattr(job_queues, "SCHEDULER_ROWS_IN_MEMORY_MAX", 4)
    loads = []
    run_system = jobs.runtime.run_system

    async def count_loads(name: str, payload: dict[str, Any], **options: Any) -> Any:
        loads.extend([name] if name == "due_rows" else [])
        return await run_system(name, payload, **options)

    monkeypatch.setattr(jobs.runtime, "run_system", count_loads)
    for number in range(40):
        say(jobs, 1, f"{number:02}", lane="one")
    jobs.advance(1)

    assert events(jobs) == [f"{number:02}" for number in range(40)]
    assert 10 <= len(loads) <= 20


def test_finished_rows_go_after_a_week_and_pending_ones_never(jobs: TestBackend) -> None:
    done, pending = say(jobs, 0, "done"), say(jobs, timedelta(days=30), "pending")
    jobs.advance(timedelta(days=6, hours=22))
    assert row_of(jobs, done) is not None

    jobs.advance(timedelta(hours=4))

    assert row_of(jobs, done) is None
    assert state_of(jobs, pending) == {"kind": "pending"}


# --- cancel


def test_a_canceled_function_never_runs(jobs: TestBackend) -> None:
    job = say(jobs, 5, "never")
    jobs.mutation(internal.jobs.cancel, {"id": job})
    jobs.run_all_scheduled()

    assert events(jobs) == []
    assert state_of(jobs, job) == {"kind": "canceled"}


def test_canceling_what_has_run_changes_nothing(jobs: TestBackend) -> None:
    job = say(jobs, 0, "done")
    jobs.advance()
    before = row_of(jobs, job)
    jobs.mutation(internal.jobs.cancel, {"id": job})

    assert row_of(jobs, job) == before


def test_a_scheduled_cancel_that_races_with_the_start_leaves_one_outcome(jobs: TestBackend) -> None:
    """Both are due at once: either it ran and succeeded, or it was canceled and did not run."""
    job = say(jobs, 1, "raced")
    schedule(jobs, 1, internal.jobs.cancel, {"id": job})
    jobs.advance(1)

    assert (state_of(jobs, job)["kind"], events(jobs)) in (("success", ["raced"]), ("canceled", []))


def test_a_mutation_cannot_cancel_itself(jobs: TestBackend) -> None:
    job = schedule(jobs, 0, internal.jobs.cancel_itself)
    jobs.advance()

    assert "A mutation cannot cancel itself" in state_of(jobs, job)["error"]


@pytest.mark.parametrize("id", ["junk", "of another table"])
def test_canceling_takes_ids_of_scheduled_functions_only(jobs: TestBackend, id: str) -> None:
    other = jobs.run(lambda ctx: ctx.db.insert("events", {"text": "x"}))

    with pytest.raises(ConvexpyError, match=r"Invalid argument `id` for `scheduler\.cancel`"):
        jobs.run(lambda ctx: ctx.scheduler.cancel(id if id == "junk" else other))


def test_what_a_canceled_action_schedules_is_born_canceled(jobs: TestBackend) -> None:
    """By itself and by the mutations that it calls; the action runs on."""
    job = schedule(jobs, 0, internal.jobs.sleep_and_schedule, {"seconds": 10})
    jobs.advance(5)
    assert state_of(jobs, job) == {"kind": "inProgress"}

    jobs.mutation(internal.jobs.cancel, {"id": job})
    jobs.run_all_scheduled()

    rows = jobs.run(lambda ctx: ctx.db.system.query("_scheduled_functions").collect())
    assert events(jobs) == []
    assert len(rows) == 3
    assert {row["state"]["kind"] for row in rows} == {"canceled"}


def test_a_server_starts_after_a_running_action_was_canceled(jobs: TestBackend) -> None:
    job = schedule(jobs, 0, internal.jobs.work, {"text": "a", "seconds": 100})
    jobs.advance(1)
    jobs.mutation(internal.jobs.cancel, {"id": job})
    jobs.restart()

    assert state_of(jobs, job) == {"kind": "canceled"}
    assert jobs.action(internal.jobs.work, {"text": "b", "seconds": 1}) == "b"


# --- actions


def test_an_action_runs_once_and_its_row_says_how_far_it_is(jobs: TestBackend) -> None:
    job = schedule(jobs, 0, internal.jobs.work, {"text": "a", "seconds": 10})
    jobs.advance(9)
    assert (events(jobs), state_of(jobs, job)) == (["a begins"], {"kind": "inProgress"})

    jobs.advance(1)

    assert (events(jobs), state_of(jobs, job)) == (["a begins", "a ends"], {"kind": "success"})


def test_an_action_that_was_running_when_the_server_died_is_not_run_again(jobs: TestBackend) -> None:
    options = {"on_complete": internal.jobs.complete, "context": "c"}
    plain = schedule(jobs, 0, internal.jobs.work, {"text": "a", "seconds": 10})
    schedule(jobs, 0, internal.jobs.work, {"text": "b", "seconds": 10}, **options)
    jobs.advance(5)
    jobs.restart()
    jobs.run_all_scheduled()

    assert sorted(events(jobs)) == ["a begins", "b begins"]
    assert state_of(jobs, plain) == {"kind": "failed", "error": "Transient error while executing action"}
    assert [row["outcome"] for row in completions(jobs)] == [
        {"kind": "failed", "error": "Transient error while executing action"}
    ]


def test_an_action_that_takes_too_long_has_failed(jobs: TestBackend) -> None:
    job = schedule(jobs, 0, internal.jobs.work, {"text": "a", "seconds": 10_000})
    jobs.run_all_scheduled()

    assert "Function execution timed out (maximum duration: 600s)" in state_of(jobs, job)["error"]


@pytest.mark.parametrize("function", ["work", "record"])
def test_a_function_that_is_gone_when_it_is_due_has_failed(
    jobs: TestBackend, write_project: Callable[..., Path], function: str
) -> None:
    """An action as well as a mutation; it is not tried again and again."""
    args = {"text": "x", "seconds": 1} if function == "work" else {"text": "x"}
    job = schedule(jobs, 5, f"jobs:{function}", args)
    jobs.push(write_project(other="from convexpy import query\n"))
    jobs.advance(60)

    state = state_of(jobs, job)
    assert state["kind"] == "failed"
    assert f"Could not find function for 'jobs:{function}'" in state["error"]
    assert runs_of(jobs, "job") == 1
    assert jobs.reports == []


# --- on_complete


def test_success_is_delivered_in_the_transaction_of_the_function(jobs: TestBackend) -> None:
    """One run of one job did both, and the row is gone with it."""
    job = say(jobs, 2, "done", on_complete=internal.jobs.complete, context={"n": 1})
    jobs.advance(2)

    (row,) = completions(jobs)
    assert (row["context"], row["outcome"], row["job"]) == ({"n": 1}, {"kind": "success", "value": "DONE"}, job)
    assert runs_of(jobs, "job") == 1
    assert row_of(jobs, job) is None


def test_a_conflict_runs_function_and_completion_again_together(jobs: TestBackend) -> None:
    for _ in range(10):
        schedule(jobs, 1, internal.jobs.increment, on_complete=internal.jobs.complete, context=None)
    jobs.advance(1)

    assert jobs.runtime.conflicts > 0
    assert jobs.run(counter_of) == 10
    assert len(completions(jobs)) == 10


def test_failure_is_delivered_without_the_writes_of_the_function(jobs: TestBackend) -> None:
    schedule(jobs, 0, internal.jobs.record_then_fail, {"text": "x"}, on_complete=internal.jobs.complete)
    jobs.run_all_scheduled()

    (row,) = completions(jobs)
    assert row["outcome"]["kind"] == "failed"
    assert row["outcome"]["error"].startswith('Uncaught ConvexError: {"text":"x"}')
    assert row["outcome"]["data"] == {"text": "x"}
    assert events(jobs) == []


def test_a_cancel_is_delivered_once(jobs: TestBackend) -> None:
    job = say(jobs, 60, "never", on_complete=internal.jobs.complete, context=5)
    jobs.mutation(internal.jobs.cancel, {"id": job})
    jobs.mutation(internal.jobs.cancel, {"id": job})
    jobs.run_all_scheduled()

    assert [(row["job"], row["outcome"], row["context"]) for row in completions(jobs)] == [
        (job, {"kind": "canceled"}, 5)
    ]
    assert events(jobs) == []


@pytest.mark.parametrize(
    ("function", "args", "outcome"),
    [
        (internal.jobs.work, {"text": "a", "seconds": 3}, {"kind": "success", "value": "a"}),
        (internal.jobs.fail_in_action, {}, {"kind": "failed", "data": "the action"}),
    ],
)
def test_the_outcome_of_an_action_is_delivered(jobs: TestBackend, function: Any, args: Row, outcome: Row) -> None:
    schedule(jobs, 0, function, args, on_complete=internal.jobs.complete)
    jobs.run_all_scheduled()

    (row,) = completions(jobs)
    assert outcome.items() <= row["outcome"].items()


@pytest.mark.parametrize("function", [internal.jobs.speak, internal.jobs.speak_in_action], ids=["mutation", "action"])
@pytest.mark.parametrize("is_failing", [False, True])
def test_what_a_function_printed_is_part_of_its_outcome(jobs: TestBackend, function: Any, is_failing: bool) -> None:
    """Of one that failed too; not what `on_complete` prints. A conflict or a crash brings each line once."""
    args = {"lines": 2, "is_failing": is_failing}
    schedule(jobs, 0, function, args, on_complete=internal.jobs.complete)
    schedule(jobs, 0, internal.jobs.increment, on_complete=internal.jobs.complete)
    jobs.run_all_scheduled()

    spoke, silent = sorted((row["outcome"] for row in completions(jobs)), key=len, reverse=True)
    assert spoke["kind"] == ("failed" if is_failing else "success")
    assert spoke["log_lines"] == ["[LOG] line 0", "[LOG] line 1", "[WARN] all said", "[LOG] unfinished"]
    assert silent == {"kind": "success", "value": None}


def test_what_a_function_printed_is_cut_where_a_row_could_not_hold_it(jobs: TestBackend) -> None:
    schedule(jobs, 0, internal.jobs.speak_long, {"count": 10}, on_complete=internal.jobs.complete)
    jobs.run_all_scheduled()

    (row,) = completions(jobs)
    *kept, last = row["outcome"]["log_lines"]
    assert kept == ["[LOG] " + "ü" * 10_000] * 3  # 20,006 bytes each
    assert last == "[ERROR] Log too large to be kept. Remaining log lines omitted: 7."


def test_a_running_action_that_is_canceled_delivers_only_that(jobs: TestBackend) -> None:
    job = schedule(jobs, 0, internal.jobs.work, {"text": "a", "seconds": 10}, on_complete=internal.jobs.complete)
    jobs.advance(5)
    jobs.mutation(internal.jobs.cancel, {"id": job})
    jobs.run_all_scheduled()

    assert [row["outcome"] for row in completions(jobs)] == [{"kind": "canceled"}]
    assert events(jobs) == ["a begins", "a ends"]


def test_a_broken_completion_is_tried_again_until_it_is_mended(jobs: TestBackend) -> None:
    """The function's own effect stands from the first; what is owed waits as a row, longer each time, and shows why."""
    start = jobs.clock.now_ms()
    broken = jobs.run(lambda ctx: ctx.db.insert("broken", {}))
    say(jobs, 0, "done", on_complete=internal.jobs.complete, context="c")
    jobs.advance(10)

    (pending,) = jobs.run(lambda ctx: ctx.db.system.query("_scheduled_functions").collect())
    attempts = [call for call in jobs.calls if call.kind == "job"]
    assert events(jobs) == ["done"] and completions(jobs) == []
    assert pending["name"] == "jobs.js:complete" and pending["state"] == {"kind": "pending"}
    assert len(attempts) == 5, "at 0, 0.5, 1.5, 3.5 and 7.5 seconds"
    assert pending["scheduledTime"] == start + 15_500
    assert pending["failing"]["attempt"] == 5 and "the completion is broken" in pending["failing"]["error"]
    assert all("the completion is broken" in "\n".join(call.log_lines) for call in attempts)

    jobs.run(lambda ctx: ctx.db.delete(broken))
    jobs.run_all_scheduled()

    assert [(row["context"], row["outcome"]["kind"]) for row in completions(jobs)] == [("c", "success")]
    assert events(jobs) == ["done"]


def test_who_scheduled_hears_that_its_completion_fails(jobs: TestBackend) -> None:
    """In the commit that writes the next attempt, so what it keeps of this is never behind."""
    start = jobs.clock.now_ms()
    broken = jobs.run(lambda ctx: ctx.db.insert("broken", {}))
    callbacks = {"on_complete": internal.jobs.complete, "on_complete_failed": internal.jobs.note_failure}
    job = say(jobs, 0, "done", **callbacks, context="c")
    jobs.advance(2)

    told = jobs.run(lambda ctx: ctx.db.query("failures").collect())
    assert [(one["attempts"], one["nextAt"] - start) for one in told] == [(1, 500), (2, 1500), (3, 3500)]
    assert {(one["context"], one["job_id"]) for one in told} == {("c", job)}
    assert all("the completion is broken" in one["error"] and "in complete" not in one["error"] for one in told)

    jobs.run(lambda ctx: ctx.db.delete(broken))
    jobs.run_all_scheduled()
    assert len(jobs.run(lambda ctx: ctx.db.query("failures").collect())) == 3 and len(completions(jobs)) == 1


def test_a_completion_is_tried_again_whatever_who_hears_of_its_failure_does(jobs: TestBackend) -> None:
    broken = jobs.run(lambda ctx: ctx.db.insert("broken", {}))
    callbacks = {"on_complete": internal.jobs.complete, "on_complete_failed": internal.jobs.note_failure}
    say(jobs, 0, "done", **callbacks, context="nobody listens")
    jobs.advance(2)
    assert jobs.run(lambda ctx: ctx.db.query("failures").collect()) == []
    assert "on_complete_failed of jobs.js:complete failed: Uncaught ValueError: not even this works" in "\n".join(
        line for call in jobs.calls for line in call.log_lines
    )

    jobs.run(lambda ctx: ctx.db.delete(broken))
    jobs.run_all_scheduled()
    assert [row["outcome"]["kind"] for row in completions(jobs)] == ["success"]


def test_new_code_is_given_failing_completions_at_once(jobs: TestBackend) -> None:
    """One that has failed often would wait for hours. Each push gives each of them one attempt more, not many."""
    broken = jobs.run(lambda ctx: ctx.db.insert("broken", {}))
    for text in ("one", "two"):
        say(jobs, 0, text, on_complete=internal.jobs.complete, context=text)
    jobs.advance(3600)
    waiting = [row["failing"]["attempt"] for row in scheduled(jobs)]
    jobs.push()
    jobs.advance()
    assert [row["failing"]["attempt"] for row in scheduled(jobs)] == [attempt + 1 for attempt in waiting]

    jobs.run(lambda ctx: ctx.db.delete(broken))
    jobs.advance()
    assert completions(jobs) == []
    jobs.push()
    jobs.advance()  # no time passes

    assert sorted(row["context"] for row in completions(jobs)) == ["one", "two"]
    assert all("failing" not in row for row in scheduled(jobs))


def test_on_complete_failed_is_a_mutation_about_an_on_complete(jobs: TestBackend) -> None:
    with pytest.raises(ConvexpyError, match="on_complete_failed=… needs on_complete=…"):
        say(jobs, 0, "done", on_complete_failed=internal.jobs.note_failure)
    with pytest.raises(ConvexpyError, match="on_complete_failed must be a mutation, but jobs:work is an action"):
        say(jobs, 0, "done", on_complete=internal.jobs.complete, on_complete_failed=internal.jobs.work)


# --- lanes and queues


def test_a_lane_runs_one_at_a_time_in_order_of_due_time(jobs: TestBackend) -> None:
    """So they never lose to one another, though all are due at once."""
    jobs.mutation(internal.jobs.record, {"text": "the tables are there"})
    jobs.mutation(internal.jobs.increment)
    for number in range(10):
        schedule(jobs, 1, internal.jobs.increment, lane="counter")
        say(jobs, 1 + number / 1000, str(number), lane="texts")
    jobs.advance(2)

    assert jobs.run(counter_of) == 11
    assert jobs.runtime.conflicts == 0
    assert events(jobs)[1:] == [str(number) for number in range(10)]


def test_actions_of_a_lane_run_side_by_side(jobs: TestBackend) -> None:
    for text in "ab":
        args = {"text": text, "seconds": 10}
        schedule(jobs, 0, internal.jobs.work, args, lane="x", on_complete=internal.jobs.complete)
    jobs.advance(10)

    assert sorted(events(jobs)) == ["a begins", "a ends", "b begins", "b ends"]
    assert len(completions(jobs)) == 2


def test_a_queue_runs_as_many_as_its_limit_which_may_change(jobs: TestBackend) -> None:
    def begun() -> int:
        return sum(text.endswith("begins") for text in events(jobs))

    def limit(number: int) -> None:
        jobs.run(lambda ctx: ctx.scheduler.set_queue_limit("slow", number))
        jobs.advance()

    limit(2)
    for number in range(8):
        schedule(jobs, 0, internal.jobs.work, {"text": str(number), "seconds": 100}, queue="slow")
    say(jobs, 0, "not in the queue")
    jobs.advance(1)
    assert begun() == 2 and "not in the queue" in events(jobs)

    limit(5)
    assert begun() == 5

    limit(0)
    jobs.run_all_scheduled()
    assert begun() == 5, "a paused queue finishes what runs and starts nothing"

    jobs.restart()
    jobs.advance(1)
    assert begun() == 5, "the limit is a row, so it is still there"

    limit(1)
    jobs.run_all_scheduled()
    assert begun() == 8


def test_a_limit_holds_for_what_the_same_commit_schedules(jobs: TestBackend) -> None:
    def work(ctx: MutationCtx) -> None:
        ctx.scheduler.set_queue_limit("slow", 2)
        for number in range(8):
            ctx.scheduler.run_after(0, internal.jobs.work, {"text": str(number), "seconds": 100}, queue="slow")

    jobs.run(work)
    jobs.advance(1)

    assert sum(text.endswith("begins") for text in events(jobs)) == 2


def test_what_the_code_declares_gives_way_to_what_was_said_until_it_changes(jobs: TestBackend) -> None:
    def limits() -> list[float]:
        found: dict[str, float] = jobs.do(jobs.runtime.run_system("queue_limits", {}))
        return list(found.values())

    seen = []
    for method, number in (
        ("declare_queue_limit", 3),
        ("set_queue_limit", 7),
        ("declare_queue_limit", 3),
        ("declare_queue_limit", 4),
    ):
        jobs.run(lambda ctx, method=method, number=number: getattr(ctx.scheduler, method)("slow", number))  # type: ignore[misc]
        seen += limits()

    assert seen == [3, 7, 7, 4]


@pytest.mark.parametrize("limit", [-1, 1.5, True, "3"])
def test_a_limit_is_a_count(jobs: TestBackend, limit: Any) -> None:
    with pytest.raises(ConvexpyError, match="The limit of a queue is an integer of at least 0"):
        jobs.run(lambda ctx: ctx.scheduler.set_queue_limit("q", limit))
