"""One client in a process of its own, and what it has reported so far."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import transcripts
from tests.patience import PATIENCE_SECONDS

from .lines import Lines

FOLDER = Path(__file__).parent

COMMANDS = {
    "browser": ["node", "drivers/browser_client.mjs"],
    "react": ["node", "drivers/react_hooks.mjs"],
    "http": ["node", "drivers/http_client.mjs"],
    "python": [sys.executable, "drivers/python_client.py"],
    "python-http": [sys.executable, "drivers/python_client.py"],
}
LIVE_CLIENTS = ["browser", "react", "python"]
ALL_CLIENTS = list(COMMANDS)

Event = dict[str, Any]


class CallError(Exception):
    """A call that the client reports as failed, with all that the client knows of it."""

    def __init__(self, event: Event) -> None:
        super().__init__(event["message"])
        self.message: str = event["message"]
        self.is_convex_error: bool = event["isConvexError"]
        self.data: Any = event["data"]


class Driver:
    """Commands to one client. Every wait ends with the event, or with a sentence that shows what came instead."""

    def __init__(self, kind: str, url: str) -> None:
        arguments = {"python": ["websocket"], "python-http": ["http"]}.get(kind, [])
        self.process = subprocess.Popen(
            [*COMMANDS[kind], url, *arguments],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._events = Lines(self.process.stdout)
        self._complaints = Lines(self.process.stderr)
        transcripts.keep(f"the {kind} client of {url}", self.process, events=self._events, stderr=self._complaints)
        self._seen: list[Event] = []
        self._count = 0
        self._wait(lambda event: event["event"] == "ready")

    def subscribe(self, path: str, args: dict[str, Any] | None = None) -> Subscription:
        """Watch a query. Values come by `Subscription.next`."""
        return Subscription(self, self._send("subscribe", path=path, args=args or {}))

    def authenticate(self, token_url: str) -> Subscription:
        """Call as whom the tokens are for that `token_url` gives out. Clients that watch over their tokens tell by
        `Subscription.next` whether the server takes them."""
        return Subscription(self, self._send("authenticate", url=token_url))

    def sign_out(self) -> None:
        """Call as nobody from now on. JavaScript clients only."""
        self.finish(self._send("signOut"))

    def paginate(self, path: str, args: dict[str, Any], size: int) -> Subscription:
        """Watch a paginated query, from a first page of `size`; values are `{"results", "status"}`. React only."""
        return Subscription(self, self._send("paginate", path=path, args=args, size=size))

    def load_more(self, pages: Subscription, count: int) -> None:
        """Ask for the next page. React only."""
        self._send("more", list=pages.name, count=count)

    def start(self, kind: str, path: str, args: dict[str, Any] | None = None) -> str:
        """Begin a call and return at once; `finish` waits for it."""
        return self._send(kind, path=path, args=args or {})

    def finish(self, call: str) -> Any:
        """The value of a call that was begun.

        Raises:
            CallError: the client rejected it.
        """
        event = self._wait(lambda event: event["of"] == call and event["event"] in {"done", "failed"})
        if event["event"] == "failed":
            raise CallError(event)
        return event["value"]

    def query(self, path: str, args: dict[str, Any] | None = None) -> Any:
        """Run a query once."""
        return self.finish(self.start("query", path, args))

    def consistent_query(self, path: str, args: dict[str, Any] | None = None) -> Any:
        """Run a query at the timestamp of the client's first one of these. `http` only."""
        return self.finish(self.start("consistent", path, args))

    def mutation(self, path: str, args: dict[str, Any] | None = None) -> Any:
        """Run a mutation."""
        return self.finish(self.start("mutation", path, args))

    def action(self, path: str, args: dict[str, Any] | None = None) -> Any:
        """Run an action."""
        return self.finish(self.start("action", path, args))

    def start_counting(
        self, path: str, args: dict[str, Any], shown: str, shown_args: dict[str, Any], times: int
    ) -> str:
        """Begin `times` mutations at once, each with an optimistic update that adds `args["by"]` to the value of the
        query `shown`; `finish` waits for all. JavaScript clients only."""
        return self._send("count", path=path, args=args, shown={"path": shown, "args": shown_args}, times=times)

    def close(self) -> None:
        """End the client's process and let go of its pipes."""
        self.process.kill()
        self.process.wait()
        self._events.close()
        self._complaints.close()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def next_of(self, name: str) -> Event:
        """The next update or error of a subscription."""
        return self._wait(lambda event: event["of"] == name and event["event"] in {"update", "error"})

    def _send(self, verb: str, **fields: Any) -> str:
        self._count += 1
        name = f"{verb}-{self._count}"
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": verb, "as": name, **fields}) + "\n")
        self.process.stdin.flush()
        return name

    def _wait(self, is_it: Callable[[Event], bool]) -> Event:
        """Take the first event that fits out of those seen and those to come; the others stay for later."""
        for position, event in enumerate(self._seen):
            if is_it(event):
                return self._seen.pop(position)
        while (line := self._events.next(PATIENCE_SECONDS)) is not None:
            fresh: Event = json.loads(line)
            if is_it(fresh):
                return fresh
            self._seen.append(fresh)
        raise AssertionError(
            f"the client did not report what was waited for; unread events: {self._seen}; "
            f"stderr: {self._complaints.so_far()}"
        )


class Subscription:
    """What one subscribed query has given, in order."""

    def __init__(self, driver: Driver, name: str) -> None:
        self._driver = driver
        self.name = name

    def next(self) -> Any:
        """The next value.

        Raises:
            CallError: the query failed.
        """
        event = self._driver.next_of(self.name)
        if event["event"] == "error":
            raise CallError(event)
        return event["value"]

    def until(self, is_it: Callable[[Any], bool]) -> Any:
        """The first value that fits; updates may be coalesced, so how many came before says nothing."""
        while not is_it(value := self.next()):
            pass
        return value
