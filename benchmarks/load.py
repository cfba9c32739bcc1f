"""The load that every backend gets alike: clients that write one after another, and writes that others wait to see."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

from benchmarks.common import percentile
from benchmarks.countdown import Countdown
from benchmarks.sync_client import SyncClient, connect

BODY = "x" * 150  # a document of about 200 bytes, as in the raw measures
WARM_WRITES = 3
_numbers = itertools.count(1)  # of texts: one that is there already would be no change, and pushed to nobody
TEXT_CHARS = 400  # of what is pushed: with its frame about the 500 bytes of the raw broadcast


class Writer(Protocol):
    """One client that writes."""

    def create(self) -> Awaitable[Any]:
        """Add a document; done when the client knows that it is there."""

    def publish(self, topic: int | None, text: str) -> Awaitable[Any]:
        """Write what watchers see: those of one topic, or with None everybody."""

    def close(self) -> None:
        """Disconnect."""


class Backend(Protocol):
    """A running server, as its clients see it."""

    async def writers(self, count: int) -> Sequence[Writer]:
        """Connect so many."""

    async def watchers(
        self, count: int, are_topics: bool, pushed: Callable[[str | bytes], None]
    ) -> Sequence[Callable[[], None]]:
        """Connect so many that watch one query, or each a topic of its own.

        Args:
            pushed: called with what each push shows, from now on.

        Returns:
            What disconnects each, once all subscriptions are in force.
        """


class Push(NamedTuple):
    """One write and the last push of it."""

    milliseconds: float  # from sending the write
    arrived_ns: int  # on the wall clock
    answer: Any  # what the writer was answered


async def one_after_another(calls: Sequence[Callable[[], Awaitable[Any]]], seconds: float) -> list[list[float]]:
    """Call each of `calls` again and again for so long; milliseconds of every call, by caller."""
    until = time.perf_counter() + seconds

    async def repeat(call: Callable[[], Awaitable[Any]]) -> list[float]:
        taken = []
        began = time.perf_counter()
        while began < until:
            await call()
            ended = time.perf_counter()
            taken.append((ended - began) * 1e3)
            began = ended
        return taken

    return list(await asyncio.gather(*map(repeat, calls)))


async def creates_a_second(backend: Backend, clients: int, seconds: float) -> float:
    """How many documents so many clients create, each waiting for its last one."""
    writers = await backend.writers(clients)
    await asyncio.gather(*(writer.create() for writer in writers))
    began = time.perf_counter()
    taken = await one_after_another([writer.create for writer in writers], seconds)
    rate = sum(map(len, taken)) / (time.perf_counter() - began)
    for writer in writers:
        writer.close()
    return rate


async def pushes(backend: Backend, watchers: int, writes: int, *, are_topics: bool = False) -> list[Push]:
    """Write, and wait for all whom it concerns: everybody, or with topics one."""
    loop = asyncio.get_running_loop()
    board = Countdown(0)
    expected = "nothing yet"
    chance = random.Random(watchers)

    def pushed(shown: str | bytes) -> None:
        # A push of something else belongs to no write of ours: a first value, or a result that came twice.
        if (expected if isinstance(shown, str) else expected.encode()) in shown:  # type: ignore[operator]
            board.arrived()

    async def write() -> Push:
        nonlocal board, expected
        expected = f"text {next(_numbers)}."
        board = Countdown(1 if are_topics else watchers)
        topic = chance.randrange(watchers) if are_topics else None
        began = time.perf_counter()
        answer, last = await asyncio.gather(writer.publish(topic, expected.ljust(TEXT_CHARS, "x")), board.last)
        return Push((last.seconds - began) * 1e3, last.wall_ns, answer)

    closes = await backend.watchers(watchers, are_topics, pushed)
    (writer,) = await backend.writers(1)
    for _ in range(WARM_WRITES):
        await write()
    found = [await write() for _ in range(writes)]
    for close in closes:
        loop.call_soon(close)
    writer.close()
    return found


async def push_p50_ms(backend: Backend, watchers: int, writes: int, *, are_topics: bool = False) -> float:
    """Median time from a write to the last push of it."""
    return percentile(
        [push.milliseconds for push in await pushes(backend, watchers, writes, are_topics=are_topics)], 0.5
    )


class SyncWriter:
    """Ours, over its WebSocket."""

    def __init__(self, client: SyncClient) -> None:
        self._client = client
        self.close = client.close

    def create(self) -> Awaitable[Any]:
        """See `Writer`."""
        return self._client.mutation("notes:add", {"body": BODY})

    def publish(self, topic: int | None, text: str) -> Awaitable[Any]:
        """See `Writer`."""
        if topic is None:
            return self._client.mutation("notes:publish", {"body": text})
        return self._client.mutation("notes:publish_topic", {"name": f"topic {topic}", "body": text})


class SyncBackend:
    """`convexpy serve`, over its WebSocket."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def writers(self, count: int) -> Sequence[SyncWriter]:
        """See `Backend`."""
        return [SyncWriter(client) for client in await connect(self._url, count)]

    async def watchers(
        self, count: int, are_topics: bool, pushed: Callable[[str | bytes], None]
    ) -> Sequence[Callable[[], None]]:
        """See `Backend`."""
        first_values = Countdown(count)
        clients = await connect(self._url, count)

        def watch(number: int, client: SyncClient) -> None:
            has_begun = False

            def shown(value: str | None) -> None:
                nonlocal has_begun
                if has_begun:
                    pushed(value or "")
                else:
                    has_begun = True
                    first_values.arrived()

            if are_topics:
                client.subscribe("notes:topic", {"name": f"topic {number}"}, shown)
            else:
                client.subscribe("notes:published", {}, shown)

        for number, client in enumerate(clients):
            watch(number, client)
        await first_values.last
        return [client.close for client in clients]
