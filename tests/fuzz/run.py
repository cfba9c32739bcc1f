"""Fires inputs at a server: bent recordings over WebSockets and HTTP, and what hypothesis invents."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from tests.clients.server import Server
from tests.fuzz.corpus import Session, recorded_requests, recorded_sessions
from tests.fuzz.file_requests import api_requests, site_requests
from tests.fuzz.mutate import bend_request, bend_session
from tests.fuzz.strategies import sessions
from tests.fuzz.target import Fault, Target

APP = Path(__file__).parent.parent / "clients" / "app"
AT_ONCE = 8  # connections, so that sessions of different clients meet
ROUND_INPUTS = 2_000  # between two looks at how the server does
FRAMES_PER_REQUEST = 2
WARM_ROUNDS = 2  # before memory counts: allocators have filled
GROWTH_KIB_MAX = 64 * 1024  # most of it the query cache, which strange arguments fill up to its own bound


class Report(NamedTuple):
    """What was sent, and memory after warming up and at the end, in KiB."""

    frames: int
    requests: int
    seconds: float
    warm_kib: int
    end_kib: int

    def __str__(self) -> str:
        return (
            f"{self.frames:,} WebSocket frames and {self.requests:,} HTTP connections in {self.seconds:.0f} s; "
            f"memory {self.warm_kib / 1024:.1f} MiB after warming up, {self.end_kib / 1024:.1f} MiB at the end"
        )


def fuzz(inputs: int, number: int, say: Callable[[str], object]) -> Report:
    """Send `inputs` frames and requests made from seed `number` to a server of its own.

    Raises:
        Fault: the server did what it must not, or grew.
    """
    say(f"seed {number}")
    with tempfile.TemporaryDirectory(prefix="convexpy-fuzz-") as folder:
        server = Server(APP, Path(folder))
        server.start()
        try:
            return _fuzz(Target(server), inputs, number, say)
        finally:
            server.stop()


def _fuzz(target: Target, inputs: int, number: int, say: Callable[[str], object]) -> Report:
    random = Random(number)
    began = time.monotonic()
    warm_kib = 0
    rounds = 0
    with asyncio.Runner() as runner:
        while (sent := target.frames_sent + target.requests_sent) < inputs:
            goal = min(inputs, sent + ROUND_INPUTS)
            runner.run(_bent_recordings(target, random, goal))
            _invented(target, runner, random.randrange(2**32), ROUND_INPUTS // 40)
            runner.run(target.check())
            rounds += 1
            if rounds <= WARM_ROUNDS:
                warm_kib = target.memory_kib()
            say(f"{target.frames_sent + target.requests_sent:,} inputs, {target.memory_kib() / 1024:.1f} MiB")
    end_kib = target.memory_kib()
    if end_kib - warm_kib > GROWTH_KIB_MAX:
        raise Fault(f"memory grew from {warm_kib:,} to {end_kib:,} KiB in {inputs:,} inputs")
    return Report(target.frames_sent, target.requests_sent, time.monotonic() - began, warm_kib, end_kib)


async def _bent_recordings(target: Target, random: Random, goal: int) -> None:
    """Until `goal` inputs are sent in all; what is sent depends on `random` alone, in which order it meets does not."""
    recorded, of_functions = recorded_sessions(), recorded_requests()
    of_files, to_site = await asyncio.to_thread(api_requests, target.url), site_requests()

    async def client() -> None:
        while target.frames_sent + target.requests_sent < goal:
            if target.requests_sent * FRAMES_PER_REQUEST > target.frames_sent:
                await target.take_session(bend_session(random.choice(recorded), recorded, random))
            else:
                requests = random.choice((of_functions, of_files, to_site))
                bent = bend_request(random.choice(requests), random)
                await target.take_request(bent, is_to_site=requests is to_site)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(client())


def _invented(target: Target, runner: asyncio.Runner, number: int, examples: int) -> None:
    """Sessions that hypothesis makes up; a failing one is shrunk before it is raised."""

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(sessions)
    def take(session: Session) -> None:
        runner.run(target.take_session(session))

    take()
