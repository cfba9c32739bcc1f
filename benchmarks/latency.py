"""How long does one client's mutation take, beside what its raw parts take one after another?

A mutation needs one commit, one way to the server and back, and two round trips inside it: server → worker → server →
committer → server. Each part is measured alone, in turns with the mutation, by clients that wait for one thing at a
time; on an idle machine most of a round trip is waking up who waits.
"""

from __future__ import annotations

from benchmarks import raw
from benchmarks.common import SECONDS, Figure, convexpy_server, each_run, percentile, run, scratch_folder
from benchmarks.load import SyncBackend, one_after_another

ROUND_TRIPS = 2
PARTS = ("raw LMDB commit of one put", "raw WebSocket echo", f"{ROUND_TRIPS} round trips between processes")


def measure() -> list[Figure]:
    """The median mutation of one client beside the sum of the parts, and beside each."""
    ours, parts = [], []
    with scratch_folder() as folder, convexpy_server(folder) as url:
        run(mutation_p50_ms(url))
        for _ in each_run():
            ours.append(run(mutation_p50_ms(url)))
            parts.append((raw.commit_p50_ms(), raw.echo_p50_ms(), ROUND_TRIPS * raw.round_trip_p50_ms()))
    together = Figure("raw commit + raw echo + round trips", [sum(each) for each in parts], "ms", goal="≤ 2.5")
    apart = [Figure(part, [each[place] for each in parts], "ms") for place, part in enumerate(PARTS)]
    return [Figure("mutation, 1 client, p50", ours, "ms", [together, *apart])]


async def mutation_p50_ms(url: str) -> float:
    """One client's mutations, one after another."""
    (writer,) = await SyncBackend(url).writers(1)
    (taken,) = await one_after_another([writer.create], SECONDS)
    writer.close()
    return percentile(taken, 0.5)
