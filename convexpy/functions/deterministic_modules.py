"""Replaces what reads the clock or makes randomness in `time`, `random`, `os`, `uuid` (and with them `secrets`).

Each replacement asks this thread's slot, and is the real function where that is empty.
"""

from __future__ import annotations

import logging
import os
import random
import time
import uuid
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

from convexpy.functions.call_environment import CallEnvironment, replace, slot

_real_seed = random.Random.seed
_RANDOM_FUNCTIONS = (
    "seed random uniform triangular randint choice randrange sample shuffle choices normalvariate lognormvariate "
    "expovariate vonmisesvariate gammavariate gauss betavariate binomialvariate paretovariate weibullvariate getstate "
    "setstate getrandbits randbytes"
)
_SEED_BITS = 256
_UUID_EPOCH_TICKS = 0x01B21DD213814000  # 100 ns ticks from 1582-10-15, where version 1 starts, to 1970. RFC 9562, 5.1
_MULTICAST_BIT = 1 << 40  # marks a node that is no network card's. RFC 9562, 6.10


def install() -> None:
    """Put the replacements into their modules; once a process."""
    _keep_log_records_real()
    _replace_time()
    _replace_random()
    replace(uuid, "uuid1", _uuid1)
    # uuid4 takes its bytes from os.urandom, and secrets from a SystemRandom, which has its own name for the same.
    replace(os, "urandom", _urandom)
    replace(random, "_urandom", _urandom)
    if hasattr(os, "getrandom"):
        replace(os, "getrandom", lambda environment, size, flags=0: _urandom(environment, size))


def _replace_time() -> None:
    real_gmtime, real_localtime, real_strftime = time.gmtime, time.localtime, time.strftime
    real_ctime, real_asctime = time.ctime, time.asctime

    def seconds(environment: CallEnvironment, *clock: int) -> float:
        return environment.read_clock_ms() / 1000

    def nanoseconds(environment: CallEnvironment, *clock: int) -> int:
        return environment.read_clock_ms() * 1_000_000

    def with_seconds(real: Callable[[float], Any]) -> Callable[..., Any]:
        def convert(environment: CallEnvironment, secs: float | None = None) -> Any:
            return real(environment.read_clock_ms() / 1000 if secs is None else secs)

        return convert

    def strftime(environment: CallEnvironment, format: str, *when: Any) -> str:
        return real_strftime(format, *(when or (real_localtime(environment.read_clock_ms() / 1000),)))

    def asctime(environment: CallEnvironment, *when: Any) -> str:
        return real_asctime(*(when or (real_localtime(environment.read_clock_ms() / 1000),)))

    for clock in ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime"):
        for name, in_call in ((clock, seconds), (f"{clock}_ns", nanoseconds)):
            if hasattr(time, name):  # some platforms lack some clocks
                replace(time, name, in_call)
    replace(os, "times", lambda environment: os.times_result((0.0, 0.0, 0.0, 0.0, seconds(environment))))
    replace(time, "gmtime", with_seconds(real_gmtime))
    replace(time, "localtime", with_seconds(real_localtime))
    replace(time, "ctime", with_seconds(real_ctime))
    replace(time, "asctime", asctime)
    replace(time, "strftime", strftime)


def _keep_log_records_real() -> None:
    # Each record is stamped. For the operator that is the real time, and a query that logs does not depend on it.
    unguarded_time = ModuleType("time")
    vars(unguarded_time).update(vars(time))
    vars(logging)["time"] = unguarded_time


def _replace_random() -> None:
    def drawing(name: str) -> Callable[..., Any]:
        return lambda environment, *args, **kwargs: getattr(environment.random, name)(*args, **kwargs)

    for name in _RANDOM_FUNCTIONS.split():
        if hasattr(random, name):  # binomialvariate came with Python 3.12
            replace(random, name, drawing(name))

    @wraps(_real_seed)
    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None and (environment := slot.environment) is not None:
            a = environment.random.getrandbits(_SEED_BITS)
        _real_seed(self, a, version)

    # In the class itself, so that `random.Random()` stays of the class that libraries have imported or derived from.
    random.Random.seed = seed  # type: ignore[method-assign]


def _urandom(environment: CallEnvironment, size: int) -> bytes:
    if size < 0:
        raise ValueError("negative argument not allowed")
    return environment.random.randbytes(size)


def _uuid1(environment: CallEnvironment, node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
    draw = environment.random.getrandbits
    ticks = environment.read_clock_ms() * 10_000 + _UUID_EPOCH_TICKS
    sequence = draw(14) if clock_seq is None else clock_seq & 0x3FFF
    return uuid.UUID(
        fields=(
            ticks & 0xFFFFFFFF,
            ticks >> 32 & 0xFFFF,
            ticks >> 48 & 0x0FFF,
            sequence >> 8,
            sequence & 0xFF,
            draw(48) | _MULTICAST_BIT if node is None else node,
        ),
        version=1,
    )
