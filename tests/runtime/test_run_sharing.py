"""Whose run answers whom: users share what was made without a look at who they are, and nothing else."""

from __future__ import annotations

import random

import msgspec
import pytest

from convexpy.runtime.interface import FunctionRequest
from convexpy.runtime.live_entry import LiveEntry
from convexpy.runtime.live_queries import RETRY_SECONDS
from convexpy.runtime.messages import Reply
from convexpy.testing import TestBackend
from convexpy.transactions.commit_messages import Reads
from tests.runtime.live_query_bench import A, B, Bench, CountingListener, of
from tests.seeds import asked_seed

PLAYS, STEPS = 60, 60
EVENTS = ["subscribe", "subscribe", "leave", "commit", "other", "push", "answer", "answer", "answer"]


def by(user: str, **fields: str) -> FunctionRequest:
    return of(identity=msgspec.json.encode({"subject": user}), **fields)


def values(entries: list[LiveEntry]) -> list[bytes | None]:
    return [None if entry.outcome is None else entry.outcome.value for entry in entries]


def answer_each(bench: Bench, *, looks: bool) -> None:
    """Answer the oldest frame, each query with the name of who asked."""
    requests, future = bench.runner.frames.pop(0)
    replies = [
        Reply(
            id=0,
            is_ok=True,
            value=request.identity or b"nobody",
            snapshot_ts=bench.ts,
            reads=Reads([A], []),
            used_identity=looks,
        )
        for request in requests
    ]
    bench.do(lambda: future.set_result(replies))


def subscribe_all(bench: Bench, users: str) -> list[LiveEntry]:
    return [bench.subscribe(by(user), CountingListener()) for user in users]


def asked(bench: Bench) -> list[int]:
    """How many queries each frame that waits for an answer has."""
    return [len(requests) for requests, _ in bench.runner.frames]


def test_a_hundred_users_of_one_query_cost_one_run_a_change(bench: Bench) -> None:
    entries = [bench.subscribe(by(f"user {n}"), CountingListener()) for n in range(100)]
    bench.answer(b"1", A)
    assert values(entries) == [b"1"] * 100 and bench.cache.runs == 1

    bench.commit(A)
    bench.answer(b"2", A)

    assert values(entries) == [b"2"] * 100 and bench.cache.runs == 2
    assert all(entry.valid_until_ts is None and not entry.is_running for entry in entries)


def test_each_listener_hears_of_the_shared_outcome(bench: Bench) -> None:
    listeners = [CountingListener() for _ in range(3)]
    for user, listener in zip("abc", listeners, strict=True):
        bench.subscribe(by(user), listener)
    bench.answer(b"1", A)

    assert [listener.count for listener in listeners] == [1, 1, 1]


def test_a_newcomer_is_given_what_somebody_else_holds(bench: Bench) -> None:
    subscribe_all(bench, "a")
    bench.answer(b"1", A)
    newcomer = bench.subscribe(by("b"), CountingListener())
    assert values([newcomer]) == [b"1"] and bench.cache.runs == 1

    bench.commit(A)
    bench.answer(b"2", A)

    assert values([newcomer]) == [b"2"], "and hears of every change"


def test_who_looks_at_the_identity_answers_for_himself_alone(bench: Bench) -> None:
    entries = subscribe_all(bench, "abc")
    answer_each(bench, looks=True)
    assert values(entries) == [by("a").identity, None, None]
    answer_each(bench, looks=True)

    assert values(entries) == [by(user).identity for user in "abc"]
    assert values(subscribe_all(bench, "d")) == [None], "and nobody takes it over"


def test_users_of_a_personal_query_do_not_wait_for_each_other(bench: Bench) -> None:
    entries = subscribe_all(bench, "abc")
    answer_each(bench, looks=True)
    answer_each(bench, looks=True)
    bench.commit(A)
    assert asked(bench) == [3], "all at once, in one frame"
    answer_each(bench, looks=True)

    assert values(entries) == [by(user).identity for user in "abc"]


def test_a_function_that_looks_only_sometimes_is_judged_run_by_run(bench: Bench) -> None:
    entries = subscribe_all(bench, "abc")
    answer_each(bench, looks=False)
    assert values(entries) == [by("a").identity] * 3, "it was the run of the first, and it looked at nobody"

    bench.commit(A)
    answer_each(bench, looks=True)
    assert values(entries)[0] == by("a").identity
    assert values(entries)[1:] == [by("a").identity] * 2, "still the old one, which was everybody's"
    answer_each(bench, looks=True)
    assert values(entries) == [by(user).identity for user in "abc"]

    bench.commit(A)
    answer_each(bench, looks=False)
    bench.commit(A)
    assert asked(bench) == [1], "shared again"


def test_an_error_that_came_of_the_identity_is_the_users_own(bench: Bench) -> None:
    entries = subscribe_all(bench, "ab")
    bench.answer(b"", A, is_ok=False, error="You may not.", used_identity=True)
    bench.answer(b"1", A, used_identity=True)

    assert [entry.outcome and entry.outcome.ok for entry in entries] == [False, True]


def test_of_a_run_that_was_cut_off_nothing_is_known(bench: Bench) -> None:
    entries = subscribe_all(bench, "ab")
    bench.answer(b"", is_ok=False, error="It took too long.", reads=None, loss="killed", snapshot_ts=0)
    assert values(entries) == [b"", None] and asked(bench) == [1]


def test_a_stale_outcome_is_given_to_nobody(bench: Bench) -> None:
    subscribe_all(bench, "a")
    bench.answer(b"old", A)
    bench.commit(A)
    newcomer = bench.subscribe(by("b"), CountingListener())
    assert values([newcomer]) == [None]
    bench.answer(b"new", A)

    assert values([newcomer]) == [b"new"] and bench.cache.runs == 2


def test_an_expired_outcome_is_given_to_nobody(bench: Bench) -> None:
    subscribe_all(bench, "a")
    bench.answer(b"old", A, used_time=True)
    bench.clock.advance(15.1)

    assert values(subscribe_all(bench, "b")) == [None]


@pytest.mark.parametrize("loss", ["died", "overloaded"])
def test_followers_of_a_lost_run_are_answered_by_the_next(bench: Bench, loss: str) -> None:
    entries = subscribe_all(bench, "abc")
    bench.answer(b"", is_ok=False, loss=loss)
    bench.clock.advance(RETRY_SECONDS)
    bench.settle()
    bench.answer(b"1", A)

    assert values(entries) == [b"1"] * 3


def test_new_code_is_asked_anew_for_all(bench: Bench) -> None:
    entries = subscribe_all(bench, "ab")
    bench.do(lambda: bench.cache.make_all_stale(bench.ts))
    bench.answer(b"old code", A)
    bench.answer(b"new code", A)

    assert values(entries) == [b"new code"] * 2


def test_a_commit_during_the_run_makes_it_stale_for_all(bench: Bench) -> None:
    entries = subscribe_all(bench, "ab")
    before = bench.ts
    bench.commit(A)
    bench.answer(b"old", A, ts=before)
    assert values(entries) == [b"old"] * 2 and asked(bench) == [1]
    bench.answer(b"new", A)

    assert values(entries) == [b"new"] * 2


def test_a_page_that_was_pinned_is_not_shared_with_who_begins(bench: Bench) -> None:
    """The first one's page has an end; who comes later wants a page of as many rows as he asked for."""
    pinned = subscribe_all(bench, "ab")
    bench.answer(b"page", A, journal="end")
    bench.commit(A)
    beginner = bench.subscribe(by("c"), CountingListener())
    assert [request.journal for requests, _ in bench.runner.frames for request in requests] == ["end", None]
    bench.answer(b"longer page", A, journal="end")
    bench.answer(b"new page", A, journal="other end")

    assert values([*pinned, beginner]) == [b"longer page", b"longer page", b"new page"]


def test_a_leader_that_nobody_waits_for_any_more_still_answers_its_followers(bench: Bench) -> None:
    listener = CountingListener()
    leader = bench.subscribe(by("a"), listener)
    (follower,) = subscribe_all(bench, "b")
    bench.do(lambda: bench.cache.unsubscribe(leader, listener))
    bench.answer(b"1", A)

    assert values([follower]) == [b"1"] and bench.cache.runs == 1


def test_functions_of_an_app_share_until_they_look(backend: TestBackend) -> None:
    users = [backend.with_identity({"subject": subject}) for subject in ("ann", "bob")]
    assert [user.query("calls:notes_or_mine") for user in users] == ["nobody's"] * 2
    backend.mutation("calls:add")

    assert [user.query("calls:notes_or_mine") for user in users] == ["ann", "bob"]


@pytest.mark.parametrize("play", range(PLAYS))
def test_nobody_ever_sees_what_was_made_for_another(bench: Bench, play: int) -> None:
    """Random users, commits, pushes, late answers; a run that looks answers with the name of who asked."""
    seed = asked_seed("SHARING_SEED")
    chance = random.Random(seed)
    held: list[tuple[str, LiveEntry, CountingListener]] = []
    public: set[bytes] = set()

    for number in range(STEPS):
        match chance.choice(
            ["subscribe", "subscribe", "leave", "commit", "other", "push", "answer", "answer", "answer"]
        ):
            case "subscribe":
                user, listener = chance.choice("abcd"), CountingListener()
                held.append((user, bench.subscribe(by(user), listener), listener))
            case "leave" if held:
                _, entry, listener = held.pop(chance.randrange(len(held)))
                bench.do(lambda entry=entry, listener=listener: bench.cache.unsubscribe(entry, listener))  # type: ignore[misc]
            case "commit":
                bench.commit(A)
            case "other":
                bench.commit(B)
            case "push":
                bench.do(lambda: bench.cache.make_all_stale(bench.ts))
            case "answer" if bench.runner.frames:
                if chance.random() < 0.5:
                    answer_each(bench, looks=True)
                else:
                    public.add(b"public %d" % number)
                    bench.answer(b"public %d" % number, A)
        for user, entry, _ in held:
            assert entry.outcome is None or entry.outcome.value in {by(user).identity, *public}
    while bench.runner.frames:
        answer_each(bench, looks=True)
    for user, entry, _ in held:
        assert entry.outcome is not None and entry.valid_until_ts is None and not entry.is_running
        assert entry.outcome.value in {by(user).identity, *public}
