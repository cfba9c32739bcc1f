"""A backend in memory whose every step a test can order: when a run begins, when it ends, when a commit lands.

Functions: query `db:read {keys}` gives `{who, <key>: <value>, …}`; mutation `db:write {key, value}`; action `db:act`;
`db:fail` and `db:refuse` (with ConvexError data) fail as any kind; `db:overload` makes the backend itself raise.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from convexpy.errors import OutOfRetention, Overloaded, WorkerLost
from convexpy.runtime.interface import Entry, FunctionRequest, Listener, Outcome

FIRST_TS = 1_700_000_000_000_000_000


class FakeEntry:
    """A live query; one run at a time, in two halves."""

    def __init__(self, request: FunctionRequest) -> None:
        self.request = request
        self.outcome: Outcome | None = None
        self.snapshot_ts = 0
        self.valid_until_ts: int | None = None
        self.is_running = False
        self.listeners: list[Listener] = []
        self.running: tuple[int, Outcome] | None = None  # begun, not yet back


class FakeBackend:
    """Args: is_automatic: runs begin and end by themselves, in later steps of the running loop."""

    def __init__(self, is_automatic: bool = False) -> None:
        self.is_automatic = is_automatic
        self.published_ts = FIRST_TS
        self.history: dict[str, list[tuple[int, Any]]] = {}
        self.entries: dict[FunctionRequest, FakeEntry] = {}
        self.recorded: dict[tuple[str, int], Outcome] = {}
        self.calls: list[FunctionRequest] = []
        self.mutations_in_flight = 0

    @property
    def live(self) -> FakeBackend:
        return self

    # --- the database ---

    def read(self, key: str, ts: int) -> Any:
        return next((value for at, value in reversed(self.history.get(key, [])) if at <= ts), None)

    def commit(self, key: str, value: Any) -> int:
        """Write, mark what it touches, publish; as one step."""
        ts = self.published_ts + 10
        self.history.setdefault(key, []).append((ts, value))
        for entry in list(self.entries.values()):
            if entry.outcome is not None and entry.valid_until_ts is None and key in keys_of(entry.request):
                entry.valid_until_ts = ts
                self._tell(entry)
        self.published_ts = ts
        return ts

    def evaluate(self, request: FunctionRequest, ts: int) -> Outcome:
        args = json.loads(request.args)
        name = request.path.partition(":")[2]
        if name == "fail":
            return Outcome(ok=False, error="[Request ID: 0123456789abcdef] Server Error\nbroken\n", ts=ts)
        if name == "refuse":
            return Outcome(ok=False, error="[Request ID: 0123456789abcdef] Server Error", error_data=b"null", ts=ts)
        if name == "overload":
            raise Overloaded("Too many calls wait.")
        if name == "lose":
            raise WorkerLost("The worker died.")
        if name == "write":
            return Outcome(ok=True, value=b"1.0", log_lines=["[LOG] 'wrote'"])
        if name == "act":
            return Outcome(ok=True, value=b'{"acted":true}', ts=self.published_ts)
        if name == "args":
            return Outcome(ok=True, value=request.args, ts=ts)
        if name != "read":
            return Outcome(ok=False, error=f"Could not find public function for '{request.path}'.", ts=ts)
        found = {key: self.read(key, ts) for key in args["keys"]}
        who = None if request.identity is None else json.loads(request.identity)["subject"]
        value = json.dumps({"who": who, **found}, sort_keys=True).encode()
        return Outcome(ok=True, value=value, ts=ts, journal=request.journal)

    # --- live queries ---

    def subscribe(self, request: FunctionRequest, listener: Listener) -> FakeEntry:
        entry = self.entries.setdefault(request, FakeEntry(request))
        if entry.outcome is None or entry.valid_until_ts is not None:
            self._want(entry)
        entry.listeners.append(listener)
        return entry

    def unsubscribe(self, entry: Entry, listener: Listener) -> None:
        assert isinstance(entry, FakeEntry)
        entry.listeners.remove(listener)
        if not entry.listeners:
            self.entries.pop(entry.request, None)

    def begin_run(self, entry: FakeEntry) -> None:
        entry.running = (self.published_ts, self.evaluate(entry.request, self.published_ts))

    def end_run(self, entry: FakeEntry) -> None:
        assert entry.running is not None
        (entry.snapshot_ts, entry.outcome), entry.running = entry.running, None
        touched = [
            ts
            for key in keys_of(entry.request)
            for ts, _ in self.history.get(key, [])
            if entry.snapshot_ts < ts <= self.published_ts
        ]
        entry.valid_until_ts = min(touched, default=None)
        entry.is_running = False
        self._tell(entry)

    def run_together_at(self, requests: list[FunctionRequest], ts: int) -> list[Outcome]:
        return [self.evaluate(request, ts) for request in requests]

    async def run_together(self, requests: list[FunctionRequest]) -> tuple[int, list[Outcome]]:
        ts = self.published_ts
        outcomes = self.run_together_at(requests, ts)
        await asyncio.sleep(0)
        return ts, outcomes

    def _tell(self, entry: FakeEntry) -> None:
        if entry.valid_until_ts is not None:
            self._want(entry)
        for listener in entry.listeners:
            listener.entry_changed()

    def _want(self, entry: FakeEntry) -> None:
        if entry.is_running:
            return
        entry.is_running = True
        if self.is_automatic:
            asyncio.get_running_loop().call_soon(self._run, entry)

    def _run(self, entry: FakeEntry) -> None:
        if entry.listeners:
            self.begin_run(entry)
            self.end_run(entry)

    # --- calls ---

    async def query(self, request: FunctionRequest) -> Outcome:
        self.calls.append(request)
        return self.evaluate(request, self.published_ts)

    async def query_at(self, request: FunctionRequest, ts: int) -> Outcome:
        self.calls.append(request)
        if ts < FIRST_TS:
            raise OutOfRetention(f"The database as it was at {ts} can no longer be read.")
        return self.evaluate(request, ts)

    async def mutation(self, request: FunctionRequest, session: tuple[str, int] | None = None) -> Outcome:
        self.calls.append(request)
        assert self.mutations_in_flight == 0, "two mutations of one client at once"
        self.mutations_in_flight += 1
        await asyncio.sleep(0)
        self.mutations_in_flight -= 1
        if session is not None and session in self.recorded:
            return self.recorded[session]
        outcome = self.evaluate(request, self.published_ts)
        if outcome.ok:
            args = json.loads(request.args)
            outcome.ts = self.commit(args["key"], args["value"]) if "key" in args else self.published_ts
            if session is not None:
                self.recorded[session] = outcome
        return outcome

    async def action(self, request: FunctionRequest) -> Outcome:
        self.calls.append(request)
        return self.evaluate(request, self.published_ts)

    async def any_function(self, request: FunctionRequest) -> Outcome:
        self.calls.append(request)
        return self.evaluate(request, self.published_ts)


def keys_of(request: FunctionRequest) -> list[str]:
    keys: list[str] = json.loads(request.args).get("keys", [])
    return keys
