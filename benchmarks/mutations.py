"""How many mutations a second do 1, 16 and 64 clients get through, each waiting for its last one to be done?

Beside them, in turns: what LMDB and the WebSocket alone do with as many, and the same WebSocket server when it reads
the same request frame and sends the same two answer frames, with no backend in between.
"""

from __future__ import annotations

from functools import partial

from benchmarks import raw
from benchmarks.common import SECONDS, Figure, Part, convexpy_server, in_turns, run, scratch_folder
from benchmarks.load import SyncBackend, creates_a_second

CLIENTS = (1, 16, 64)
GOALS = {64: "≥ 0.4"}


def measure() -> list[Figure]:
    """One figure a number of clients."""
    with scratch_folder() as folder, convexpy_server(folder) as url:
        return [_figure(url, clients) for clients in CLIENTS]


def _figure(url: str, clients: int) -> Figure:
    connections = f"{clients} connection{'s' if clients > 1 else ''}"
    return in_turns(
        "/s",
        Part(
            f"mutations, {clients} client{'s' if clients > 1 else ''}",
            lambda: run(creates_a_second(SyncBackend(url), clients, SECONDS)),
        ),
        Part(f"raw LMDB, {clients} put{'s' if clients > 1 else ''} a commit", partial(raw.puts_a_second, clients)),
        Part(f"raw WebSocket echo, {connections}", partial(raw.echoes_a_second, clients)),
        Part(
            f"raw request and two answers, {connections}",
            partial(raw.answers_a_second, clients),
            GOALS.get(clients, ""),
        ),
    )
