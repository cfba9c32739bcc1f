"""A function that looks at the identity only at some times and for some data, against what is true for each user.

Everything that an entry shows must be what a run for its own user gives at its snapshot, as long as it says it holds.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from typing import Any

import pytest

from convexpy.runtime.interface import FunctionRequest, Outcome
from convexpy.runtime.live_entry import LiveEntry
from convexpy.runtime.live_queries import RETRY_SECONDS
from convexpy.runtime.messages import Reply
from convexpy.testing import TestBackend
from convexpy.transactions.commit_messages import Committed, Reads

from .live_query_bench import A, Bench, CountingListener, of

ADA, BOB, EVE = b'{"subject":"ada"}', b'{"subject":"bob"}', b'{"subject":"eve"}'


def value_of(entry: LiveEntry) -> bytes:
    assert entry.outcome is not None
    return entry.outcome.value


class HostileFunction:
    """Looks at the identity only where the data say so, which changes; and remembers what was true when."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.history: list[tuple[int, int, bool]] = [(bench.ts, 0, False)]

    def change(self, counter: int, is_looking: bool) -> None:
        self.bench.ts += 1
        self.history.append((self.bench.ts, counter, is_looking))
        ts = self.bench.ts
        self.bench.do(lambda: self.bench.publisher.publish([Committed(0, ts, [A])]))

    def run(self, identity: bytes | None, ts: int) -> tuple[bytes, bool]:
        counter, is_looking = next((count, looks) for at, count, looks in reversed(self.history) if at <= ts)
        who = json.loads(identity)["subject"] if identity is not None else None
        return json.dumps([counter, who if is_looking else "anybody"]).encode(), is_looking


@pytest.mark.parametrize("seed", range(150))
def test_whatever_happens_everybody_sees_his_own(bench: Bench, seed: int) -> None:
    """Users come, go and change while runs are under way and end in any order, on snapshots old and new. Replay one:
    pytest -k "his_own and [17]" """
    dice = random.Random(seed)
    function = HostileFunction(bench)
    begun: list[tuple[list[tuple[bytes | None, int]], Any]] = []
    live: list[tuple[LiveEntry, CountingListener, bytes | None]] = []
    seen: dict[int, int] = {}

    def begin() -> None:
        while bench.runner.frames:
            requests, future = bench.runner.frames.pop(0)
            begun.append(([(request.identity, bench.ts) for request in requests], future))

    def end() -> None:
        runs, future = begun.pop(dice.randrange(len(begun)))
        replies = []
        for identity, ts in runs:
            value, looked = function.run(identity, ts)
            lost = dice.random() < 0.1
            replies.append(
                Reply(id=0, is_ok=False, loss="died")
                if lost
                else Reply(id=0, is_ok=True, value=value, snapshot_ts=ts, reads=Reads([A], []), used_identity=looked)
            )
        bench.do(lambda: future.set_result(replies))

    def leave(entry: LiveEntry, listener: CountingListener) -> None:
        bench.do(lambda: bench.cache.unsubscribe(entry, listener))

    def check() -> None:
        for entry, _, identity in live:
            if entry.outcome is None:
                continue
            assert value_of(entry) == function.run(identity, entry.snapshot_ts)[0]
            until = bench.ts if entry.valid_until_ts is None else entry.valid_until_ts - 1
            assert all(not entry.snapshot_ts < at <= until for at, _, _ in function.history)
            assert seen.get(id(entry), 0) <= entry.snapshot_ts, "went back in time"
            seen[id(entry)] = entry.snapshot_ts

    for step in range(120):
        event = dice.choice(["come", "come", "go", "turn into another", "change", "begin", "end", "end", "wait"])
        if event == "come" or (event == "turn into another" and live):
            identity = dice.choice([ADA, BOB, EVE, None])
            listener = CountingListener()
            live.append((bench.subscribe(of(identity=identity), listener), listener, identity))
        if event in ("go", "turn into another") and len(live) > 1:
            entry, listener, _ = live.pop(dice.randrange(len(live) - 1))
            leave(entry, listener)
            if entry not in [other for other, _, _ in live]:
                seen.pop(id(entry), None)
        if event == "change":
            function.change(step, dice.random() < 0.5)
        if event == "begin":
            begin()
        if event == "end" and begun:
            end()
        if event == "wait":
            bench.clock.advance(RETRY_SECONDS)
            bench.settle()
        check()
    for _ in range(1000):
        begin()
        if begun:
            end()
        elif all(entry.valid_until_ts is None and entry.outcome is not None for entry, _, _ in live):
            break
        else:
            bench.clock.advance(RETRY_SECONDS)
            bench.settle()
        check()

    for entry, _, identity in live:
        assert entry.valid_until_ts is None and not entry.is_running
        assert value_of(entry) == function.run(identity, bench.ts)[0]


def test_a_run_that_looked_displaces_what_everybody_had_from_its_entry(bench: Bench) -> None:
    """What had read the clock expires without a commit, and the next run of the same data may look at the identity."""
    ada = bench.subscribe(of(identity=ADA), CountingListener())
    bench.answer(b"everybody's until noon", A, used_time=True)
    bench.clock.advance(20)
    bench.subscribe(of(identity=ADA), CountingListener())
    bench.answer(b"ada's from noon on", A, used_time=True, used_identity=True)

    bob = bench.subscribe(of(identity=BOB), CountingListener())

    assert value_of(ada) == b"ada's from noon on"
    assert bob.outcome is None and len(bench.runner.frames) == 1


def test_an_error_that_two_clients_share_has_the_request_id_of_each(backend: TestBackend) -> None:
    """Ids are whatever a client writes into a header, so nobody is shown another's."""
    runs = backend.runtime.live.runs

    async def ask() -> list[Outcome]:
        requests = [FunctionRequest(path="calls:none", args=b"{}", request_id=each) for each in ("ada's", "bob's", "")]
        return await asyncio.gather(*map(backend.runtime.query, requests))

    adas, bobs, plain = (outcome.error for outcome in backend.do(ask()))

    assert backend.runtime.live.runs == runs + 1
    assert adas.startswith("[Request ID: ada's] Server Error") and bobs.startswith("[Request ID: bob's] Server Error")
    assert re.match(r"\[Request ID: [0-9a-f]{16}\] Server Error", plain)
