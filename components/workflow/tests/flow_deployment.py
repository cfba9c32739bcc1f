"""`TestBackend` with the words of these tests: start a run, watch it, look into its rows and its commits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from convexpy.testing import TestBackend

APP = Path(__file__).parent / "flow_app"
DOCUMENTS = 4  # the place of `documents` in a commit request


class FlowDeployment(TestBackend):
    """A deployment of an app whose module `flows` has `start`, `status` and the like; see `flow_app`."""

    def __init__(self, app: Path = APP, **options: Any) -> None:
        super().__init__(app, **options)

    def start(self, flow: str, args: dict[str, Any] | None = None, **options: Any) -> str:
        """Start a run of `flows:{flow}`; what it schedules waits for `advance`."""
        return self.start_path(f"flows:{flow}", args, **options)

    def start_path(self, path: str, args: dict[str, Any] | None = None, **options: Any) -> str:
        """The same for a workflow of another module."""
        run: str = self.mutation("flows:start", {"flow": path, "args": args or {}, "options": options})
        return run

    def result(self, flow: str, args: dict[str, Any] | None = None) -> Any:
        """Run a workflow to its end and give what it returned."""
        run = self.start(flow, args)
        self.run_all_scheduled()
        status = self.status(run)
        assert status["type"] == "completed", status
        return status["result"]

    def status(self, run: str) -> dict[str, Any]:
        status: dict[str, Any] = self.query("flows:status", {"run": run})
        return status

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of one of the component's tables, oldest first."""
        return self.run(lambda ctx: ctx.db.query(table).collect(), component="workflow")

    def app_rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of one of the app's tables, oldest first."""
        return self.run(lambda ctx: ctx.db.query(table).collect())

    def counter(self, name: str) -> float:
        value: float = self.query("work:read", {"name": name})
        return value

    def printed(self) -> list[str]:
        """All log lines of all runs that have been committed, in order."""
        return [line for call in self.calls for line in call.log_lines]

    def watch_commits(self) -> list[tuple[str, int, int]]:
        """Note each commit from now on: who, how many documents it writes, how many bytes they have."""
        commits: Any = self.runtime.commits
        submit = commits.submit
        noted: list[tuple[str, int, int]] = []

        def noting_submit(commit: msgspec.Raw) -> Any:
            request = msgspec.msgpack.decode(commit)
            documents = request[DOCUMENTS]
            noted.append((request[2], len(documents), sum(len(new or b"") for _, new, _ in documents)))
            return submit(commit)

        commits.submit = noting_submit
        return noted
