"""Records what many clients do to a real server, window by window, and has every window judged.

Between two windows nothing runs, and each has lists and registers of its own, so no cycle spans two: judging windows is
judging the whole, and takes memory for one. Rows and banks go on; the replay takes its model along.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from convexpy.storage.lmdb_store import LmdbStore
from convexpy.transactions.commit_log import decode_commit
from convexpy.values import unpack
from tests.clients.server import Server
from tests.faults.convex_client import http, sync_client
from tests.histories.anomalies import Anomaly, find_anomalies
from tests.histories.clients import Client, HttpClient, SocketClient, run_plans
from tests.histories.history import Record, to_json_lines
from tests.histories.model import Model
from tests.histories.replay import replay
from tests.histories.workloads import Plan, Workload

APP = Path(__file__).parent / "app"
WINDOW_TRANSACTIONS = 10_000
NAME = "history"


@dataclass
class Report:
    """What came of a run."""

    seed: int
    clients: int
    transactions: int = 0
    operations: int = 0
    commits: int = 0
    running_seconds: float = 0.0
    judging_seconds: float = 0.0
    anomalies: list[Anomaly] = field(default_factory=list)

    def __str__(self) -> str:
        running, judging = max(self.running_seconds, 1e-9), max(self.judging_seconds, 1e-9)
        return (
            f"{self.operations:,} operations in {self.transactions:,} transactions ({self.commits:,} commits) of "
            f"{self.clients} clients, seed {self.seed}: {self.operations / running:,.0f} operations/s and "
            f"{self.transactions / running:,.0f} transactions/s while running, {self.operations / judging:,.0f} "
            f"operations/s while judging; {len(self.anomalies)} anomalies"
        )


def run(operations: int, clients: int, seed: int, tell: Callable[[str], None], history: Path | None = None) -> Report:
    """Start a server on an empty folder, run at least so many operations, judge them; ends at the first bad window.

    Args:
        tell: gets a line a window.
        history: a file for the history in Jepsen's shape.
    """
    with tempfile.TemporaryDirectory(prefix="convexpy-history-") as folder:
        server = Server(APP, Path(folder) / "data", mode="serve")
        server.start()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_Run(server, clients, seed, tell, history).play(operations))
        finally:
            server.stop()


class _Run:
    def __init__(
        self, server: Server, clients: int, seed: int, tell: Callable[[str], None], history: Path | None
    ) -> None:
        self._server = server
        self._tell = tell
        self._history = history
        self._workload = Workload(seed, NAME)
        self._model = Model()
        self._report = Report(seed, clients)
        self._judged_ts = 0

    async def play(self, operations: int) -> Report:
        report = self._report
        async with contextlib.AsyncExitStack() as stack:
            clients: list[Client] = []
            for number in range(report.clients):
                if number % 2:
                    clients.append(HttpClient(await stack.enter_async_context(http(self._server.port))))
                else:
                    clients.append(SocketClient(await stack.enter_async_context(sync_client(self._server.port))))
            while report.operations < operations and not report.anomalies:
                begun = time.monotonic()
                records = await self._record_window(clients, operations - report.operations)
                ended = time.monotonic()
                report.anomalies += self._judge(records)
                report.running_seconds += ended - begun
                report.judging_seconds += time.monotonic() - ended
                self._tell(str(report))
        return report

    async def _record_window(self, clients: list[Client], operations: int) -> list[Record]:
        self._workload.begin_window()
        self._model.forget_keys()
        records: list[Record] = []
        plans = self._plans(operations)
        async with asyncio.TaskGroup() as tasks:
            for process, client in enumerate(clients):
                tasks.create_task(run_plans(client, process, plans, records))
        return records

    def _plans(self, operations: int) -> Iterator[Plan]:
        report = self._report
        begun = report.operations
        for _ in range(WINDOW_TRANSACTIONS):
            if report.operations - begun >= operations:
                return
            plan = self._workload.next()
            report.transactions += 1
            report.operations += sum(len(step[1]) if step[0] in ("try", "call") else 1 for step in plan.steps)
            yield plan

    def _judge(self, records: list[Record]) -> list[Anomaly]:
        if self._history is not None:
            with self._history.open("a") as file:
                file.writelines(f"{line}\n" for line in to_json_lines(records))
        found = find_anomalies(records)  # before any timestamp of the log is known: registers are judged by reads alone
        found += self._take_timestamps(records)
        return found + replay(records, self._model)

    def _take_timestamps(self, records: list[Record]) -> list[Anomaly]:
        """Find every commit of the window in the database's own log; what clients were told must agree with it."""
        stamps = dict(self._commits())
        self._report.commits += len(stamps)
        found: list[Anomaly] = []
        for record in records:
            ts = stamps.pop(record.mark, None) if record.mark else None
            if ts is None:
                continue
            if record.status == "fail":
                found.append(Anomaly("G1a", f"it failed, and was committed at {ts}", (record,)))
            elif record.ts not in (None, ts):
                found.append(Anomaly("timestamp-told", f"told {record.ts}, committed at {ts}", (record,)))
            record.ts = ts
        return found + [Anomaly("nobodys-commit", f"{mark} at {ts}") for mark, ts in stamps.items()]

    def _commits(self) -> Iterator[tuple[str, int]]:
        """Marks and timestamps of the commits since the last call."""
        store = LmdbStore(self._server.data, readonly=True)
        try:
            with store.snapshot() as snapshot:
                for ts, value in snapshot.log_entries(self._judged_ts + 1, snapshot.ts + 1):
                    yield from ((mark, ts) for mark in _marks(value))
                self._judged_ts = snapshot.ts
        finally:
            store.close()


def _marks(log_value: bytes) -> list[str]:
    """Marks that a commit has written; one, unless it is none of ours."""
    found = []
    for write in decode_commit(log_value).documents:
        fields: dict[str, Any] = {} if write.new is None else unpack(write.new)
        if "mark" in fields:
            found.append(fields["mark"])
    return found
