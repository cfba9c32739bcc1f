"""Runs the reading room and shows in the terminal how one document goes through its workflow, live.

make demo                       serves until Ctrl-C, and prints the address of the page
make demo FILE=notes.txt        with a text of yours
make demo ONCE=1                stops when the workflow has completed: exit code 0, or 1 if it has not
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO, Any

import convex

FOLDER = Path(__file__).parent
APP = FOLDER / "app"
READY = re.compile(r"convexpy is serving (\S+) \(site (\S+)\)")
START_SECONDS_MAX = 60
CHANGE_SECONDS_MAX = 60
STOP_SECONDS_MAX = 15
KEPT_LINES = 40


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


def choose_ports() -> tuple[int, int]:
    """3210 and 3211, or the next pair that is free: the page expects the API one port below its own."""
    for port in range(3210, 3410, 2):
        with socket.socket() as api, socket.socket() as site:
            try:
                api.bind(("127.0.0.1", port))
                site.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port, port + 1
    raise DemoError("No two neighbouring ports between 3210 and 3409 are free.")


class DevServer:
    """`convexpy dev` on the reading room, and the last lines it has said."""

    def __init__(self) -> None:
        port, site_port = choose_ports()
        command = [Path(sys.executable).with_name("convexpy"), "dev", APP]
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            [*map(str, command), "--port", str(port), "--site-port", str(site_port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.urls: tuple[str, str] | None = None
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._is_ready_or_gone = threading.Event()
        assert self.process.stdout is not None
        threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True).start()

    def wait_until_ready(self) -> tuple[str, str]:
        """Addresses of the API and of the site, as soon as both answer."""
        if not self._is_ready_or_gone.wait(START_SECONDS_MAX):
            raise DemoError(f"The server was not ready after {START_SECONDS_MAX} s. It said:\n{self.said()}")
        if self.urls is None:
            raise DemoError(f"The server ended before it was ready. It said:\n{self.said()}")
        return self.urls

    def said(self) -> str:
        """Its last lines."""
        return "".join(self._said) or "nothing"

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _listen(self, output: IO[str]) -> None:
        for line in output:
            self._said.append(line)
            if found := READY.search(line):
                self.urls = (found[1], found[2])
                self._is_ready_or_gone.set()
        self._is_ready_or_gone.set()


class Story:
    """Prints what has changed from one state of the document to the next."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._told: set[str] = set()

    def tell(self, sentence: str) -> None:
        """Print a sentence with the time since the start, unless it has been told."""
        if sentence not in self._told:
            self._told.add(sentence)
            print(f"  {time.monotonic() - self._began:6.2f} s  {sentence}", flush=True)

    def tell_changes(self, document: dict[str, Any]) -> None:
        """Everything that is new in a state of the document."""
        self.tell_steps(document["steps"])
        if analysis := document["analysis"]:
            frequent = ", ".join(f"{word['word']} {word['count']:.0f}" for word in analysis["frequent"])
            self.tell(
                f"indexed: {analysis['words']:.0f} words, {analysis['sentences']:.0f} sentences, "
                f"{analysis['readingSeconds']:.0f} s to read, {analysis['language']}; {frequent}"
            )
        self.tell(f"workflow is {document['workflow']}")

    def tell_steps(self, steps: list[dict[str, Any]], within: str = "") -> None:
        """What is new of a run's steps; those of a nested run are indented."""
        for number, step in enumerate(steps):
            name = f"{within}step {number:.0f}, {step['name'].rpartition(':')[2]} ({step['kind']}),"
            self.tell(f"{name} has begun")
            for attempt in range(1, int(step["failedAttempts"]) + 1):
                self.tell(f"{name} has failed, and is tried again: attempt {attempt + 1}")
            self.tell_steps(step["steps"], f"  {within}")
            if step["isDone"]:
                self.tell(f"{name} is done")


async def follow(client: convex.ConvexClient, document_id: str) -> str:
    """Print every change of the document until its workflow has ended; returns how it ended."""
    story = Story()
    subscription = client.subscribe("documents:one", {"document": document_id})
    while True:
        try:
            document: Any = await asyncio.wait_for(anext(subscription), CHANGE_SECONDS_MAX)
        except TimeoutError:
            raise DemoError(
                f"Nothing has changed for {CHANGE_SECONDS_MAX} s, and the workflow has not ended."
            ) from None
        if document is None:
            raise DemoError("The document is gone.")
        story.tell_changes(document)
        if document["workflow"] != "inProgress":
            return str(document["workflow"])


def read_document() -> tuple[str, str]:
    """Title and text: the file that FILE names, or the sample."""
    path = Path(os.environ.get("FILE") or FOLDER / "sample.txt")
    try:
        return path.name, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DemoError(f"FILE={path} cannot be read as text: {error}") from error


def main() -> int:
    """The demo from start to end; returns the exit code."""
    is_once = os.environ.get("ONCE", "") not in {"", "0"}
    server: DevServer | None = None
    try:
        title, text = read_document()
        server = DevServer()
        url, site_url = server.wait_until_ready()
        print(f"The reading room is open: {url}, page {site_url}", flush=True)
        client = convex.ConvexClient(url)
        document_id = client.mutation("documents:add", {"title": title, "text": text})
        print(f"{title!r} is handed in.", flush=True)
        end = asyncio.run(follow(client, document_id))
        if is_once:
            return 0 if end == "completed" else 1
        print(f"\nNow open {site_url} and hand in a document of yours. Ctrl-C ends the server.", flush=True)
        server.process.wait()
        raise DemoError(f"The server has ended by itself. It said:\n{server.said()}")
    except KeyboardInterrupt:
        return 0
    except (DemoError, convex.ConvexError) as error:
        print(f"The demo has failed. {error}", file=sys.stderr)
        return 1
    finally:
        if server is not None:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
