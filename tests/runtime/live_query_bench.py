"""The query cache over a runner that answers when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from convexpy.runtime.interface import FunctionRequest, Outcome
from convexpy.runtime.live_entry import LiveEntry
from convexpy.runtime.live_queries import LiveQueryCache
from convexpy.runtime.messages import Reply
from convexpy.runtime.publishing import Publisher
from convexpy.testing.clock import ManualClock, ManualEnvironment
from convexpy.testing.loop import ManualLoop
from convexpy.transactions.commit_messages import Committed, Reads

A, B = b"key a", b"key b"


class FakeRunner:
    """Keeps what it is asked to run until the test answers."""

    def __init__(self) -> None:
        self.frames: list[tuple[list[FunctionRequest], asyncio.Future[list[Reply]]]] = []

    def run_queries(self, requests: list[FunctionRequest]) -> asyncio.Future[list[Reply]]:
        future: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
        self.frames.append((requests, future))
        return future

    def outcome_of(self, request: FunctionRequest, reply: Reply) -> Outcome:
        return Outcome(ok=reply.is_ok, value=reply.value, error=reply.error, ts=reply.snapshot_ts)


class CountingListener:
    """Counts how often it has been told."""

    def __init__(self) -> None:
        self.count = 0

    def entry_changed(self) -> None:
        self.count += 1


class Bench:
    """Cache, publisher, runner and clock, and a loop that stands still until `settle`."""

    def __init__(self, loop: ManualLoop, clock: ManualClock, cache_bytes: int) -> None:
        self.loop, self.clock = loop, clock
        environment = ManualEnvironment(clock, 0)
        self.ts = clock.now_ns()
        self.publisher = Publisher(self.ts, environment)
        self.runner = FakeRunner()
        self.cache = LiveQueryCache(self.runner, self.publisher, environment, cache_bytes)
        self.publisher.add_subscriber(self.cache.take_commits)

    def settle(self) -> None:
        """Run what is due at this instant."""
        self.loop.run_until_idle(lambda timeout: False)

    def do(self, act: Callable[[], Any]) -> Any:
        """Call something of the cache inside the loop, then settle."""

        async def call() -> Any:
            return act()

        result = self.loop.run(call())
        self.settle()
        return result

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(work)
        self.settle()
        return task

    def subscribe(self, request: FunctionRequest, listener: CountingListener) -> LiveEntry:
        entry: LiveEntry = self.do(lambda: self.cache.subscribe(request, listener))
        return entry

    def answer(self, value: bytes = b"1", *keys: bytes, ts: int | None = None, **fields: Any) -> None:
        """Answer the oldest frame: every query of it gave `value` and read `keys`."""
        requests, future = self.runner.frames.pop(0)
        reply = Reply(
            id=0, is_ok=True, value=value, snapshot_ts=self.ts if ts is None else ts, reads=Reads([*keys], [])
        )
        reply = msgspec.structs.replace(reply, **fields)
        self.do(lambda: future.set_result([reply] * len(requests)))

    def commit(self, *keys: bytes, publish: bool = True) -> int:
        """A commit that touches `keys`."""
        self.ts += 1
        if publish:
            self.do(lambda: self.publisher.publish([Committed(0, self.ts, [*keys])]))
        return self.ts


def of(path: str = "m:f", **fields: Any) -> FunctionRequest:
    return FunctionRequest(path=path, args=b"{}", **fields)
