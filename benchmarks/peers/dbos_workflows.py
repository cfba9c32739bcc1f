"""DBOS Transact on SQLite at its defaults, workflows as `async def`: the fastest of its forms here.

Usage: dbos_workflows.py FOLDER CALLERS. Prints {"one", "ten", "wide"} in workflows a second, and in milliseconds
{"p50"}, the median of ten steps in turn, one workflow at a time.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

from dbos import DBOS, DBOSConfig

AT_ONCE = int(sys.argv[2])
COUNTS = {"one": 300, "ten": 60, "wide": 60}  # fewer than of the others, as it is slower
TIMED = 20

DBOS(
    config=DBOSConfig(
        name="bench", system_database_url=f"sqlite:///{Path(sys.argv[1]) / 'system.sqlite'}", log_level="ERROR"
    )
)


@DBOS.step()
async def nothing(number: int) -> int:
    """The step."""
    return number


@DBOS.workflow()
async def in_turn(steps: int) -> int:
    """So many steps, one after the other."""
    for number in range(steps):
        await nothing(number)
    return steps


@DBOS.workflow()
async def side_by_side(steps: int) -> int:
    """So many steps at once."""
    return len(await asyncio.gather(*(nothing(number) for number in range(steps))))


KINDS = {"one": (in_turn, 1), "ten": (in_turn, 10), "wide": (side_by_side, 10)}


async def one(kind: str) -> None:
    """Run one to its end."""
    workflow, steps = KINDS[kind]
    handle = await DBOS.start_workflow_async(workflow, steps)
    await handle.get_result()


async def rate(kind: str, count: int) -> float:
    """Workflows a second."""
    free = asyncio.Semaphore(AT_ONCE)

    async def bounded() -> None:
        async with free:
            await one(kind)

    began = time.perf_counter()
    await asyncio.gather(*(bounded() for _ in range(count)))
    return count / (time.perf_counter() - began)


async def measure() -> dict[str, float]:
    """All figures."""
    await rate("one", 20)
    found = {kind: await rate(kind, count) for kind, count in COUNTS.items()}
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        await one("ten")
        times.append((time.perf_counter() - began) * 1e3)
    return {**found, "p50": statistics.median(times)}


if __name__ == "__main__":
    DBOS.launch()
    print(json.dumps(asyncio.run(measure())), flush=True)
    DBOS.destroy()
