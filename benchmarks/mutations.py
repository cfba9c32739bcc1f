"""How many mutations a second do 1, 16 and 64 clients get through, each waiting for its last one to be done?"""

from __future__ import annotations

from benchmarks import raw
from benchmarks.common import RUNS, SECONDS, Figure, convexpy_server, run, scratch_folder
from benchmarks.load import SyncBackend, creates_a_second

CLIENTS = (1, 16, 64)


def measure() -> list[Figure]:
    """One figure a number of clients, beside what LMDB and the WebSocket alone do with as many.

    The last one beside it is the same stack and the same frames, with no backend between them.
    """
    figures = []
    with scratch_folder() as folder, convexpy_server(folder) as url:
        for clients in CLIENTS:
            runs = run(creates_a_second(SyncBackend(url), clients, SECONDS, RUNS))
            beside = (raw.group_commit(clients), raw.echo(clients), raw.answers(clients))
            figures.append(Figure(f"mutations, {clients} client{'s' if clients > 1 else ''}", runs, "/s", beside))
    return figures
