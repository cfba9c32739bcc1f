"""A Restate server at its defaults with a Python service on granian, called over its HTTP ingress, 64 at once.

Usage: restate_workflows.py FOLDER RESTATE_SERVER. Prints as `dbos_workflows` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import uvloop

AT_ONCE = 64
SHARE = float(os.environ.get("BENCH_PEER_WORK", "1"))
COUNTS = {"one": int(1000 * SHARE), "ten": int(300 * SHARE), "wide": int(300 * SHARE)}
KINDS = {"one": ("in_turn", 1), "ten": ("in_turn", 10), "wide": ("side_by_side", 10)}
TIMED = 50
INGRESS, ADMIN, SERVICE, NODE = 23_080, 23_070, 23_090, 23_122
START_SECONDS_MAX = 60


@contextlib.contextmanager
def processes(folder: Path, binary: str) -> Iterator[None]:
    """The server and the service, each with all that descends from it gone in the end."""
    environment = {
        **os.environ,
        "RESTATE_BASE_DIR": str(folder),
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{INGRESS}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{ADMIN}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{NODE}",
        "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{NODE}",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "error",
    }
    granian = [str(Path(sys.executable).with_name("granian")), "--interface", "asgi", "--http", "2"]
    granian += ["--host", "127.0.0.1", "--port", str(SERVICE), "--loop", "uvloop", "--no-ws", "--log-level", "error"]
    with (folder / "peer.log").open("wb") as log:
        started = [
            subprocess.Popen(command, env=environment, cwd=where, stdout=log, stderr=log, start_new_session=True)
            for command, where in (([binary], folder), ([*granian, "restate_service:app"], Path(__file__).parent))
        ]
        try:
            yield
        finally:
            for process in started:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


async def register(http: aiohttp.ClientSession) -> None:
    """Tell the server of the service, as soon as both answer."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        with contextlib.suppress(aiohttp.ClientError):
            request = {"uri": f"http://127.0.0.1:{SERVICE}"}
            async with http.post(f"http://127.0.0.1:{ADMIN}/deployments", json=request) as answer:
                if answer.status < 300:
                    return
        if time.monotonic() > deadline:
            raise RuntimeError("Restate has not started")
        await asyncio.sleep(0.2)


async def one(http: aiohttp.ClientSession, kind: str) -> None:
    """Run one to its end."""
    handler, steps = KINDS[kind]
    async with http.post(f"http://127.0.0.1:{INGRESS}/bench/{handler}", json=steps) as answer:
        if answer.status != 200:
            raise RuntimeError(f"Restate answered {answer.status}: {await answer.text()}")
        await answer.read()


async def rate(http: aiohttp.ClientSession, kind: str, count: int) -> float:
    """Workflows a second."""
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            await one(http, kind)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return count / (time.perf_counter() - began)


async def measure() -> dict[str, float]:
    """All figures."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await register(http)
        await rate(http, "one", 200)
        found = {kind: await rate(http, kind, count) for kind, count in COUNTS.items()}
        times = []
        for _ in range(TIMED):
            began = time.perf_counter()
            await one(http, "ten")
            times.append((time.perf_counter() - began) * 1e3)
        return {**found, "ten_ms": statistics.median(times)}


if __name__ == "__main__":
    with processes(Path(sys.argv[1]), sys.argv[2]):
        print(json.dumps(uvloop.run(measure())), flush=True)
