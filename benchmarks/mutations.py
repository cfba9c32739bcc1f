"""How many mutations a second do 1, 16 and 64 clients get through, each waiting for its last one to be done?"""

from __future__ import annotations

import asyncio
import time

from benchmarks import raw
from benchmarks.common import RUNS, SECONDS, Figure, convexpy_server, run, scratch_folder
from benchmarks.sync_client import SyncClient, connect

CLIENTS = (1, 16, 64)
BODY = "x" * 150  # a document of about 200 bytes, as in the raw measures


def measure() -> list[Figure]:
    """One figure a number of clients, beside what LMDB and the WebSocket alone do with as many.

    The last one beside it is the same stack and the same frames, with no backend between them.
    """
    figures = []
    with scratch_folder() as folder, convexpy_server(folder) as url:
        for clients in CLIENTS:
            runs = run(_mutations(url, clients))
            beside = (raw.group_commit(clients), raw.echo(clients), raw.answers(clients))
            figures.append(Figure(f"mutations, {clients} client{'s' if clients > 1 else ''}", runs, "/s", beside))
    return figures


async def _mutations(url: str, count: int) -> list[float]:
    clients = await connect(url, count)
    await asyncio.gather(*(client.mutation("notes:add", {"body": BODY}) for client in clients))
    runs = []
    for _ in range(RUNS):
        began = time.perf_counter()
        done = await asyncio.gather(*(_one_after_another(client, began + SECONDS) for client in clients))
        runs.append(sum(done) / (time.perf_counter() - began))
    for client in clients:
        client.close()
    return runs


async def _one_after_another(client: SyncClient, until: float) -> int:
    count = 0
    while time.perf_counter() < until:
        await client.mutation("notes:add", {"body": BODY})
        count += 1
    return count
