"""Runs one scheduled row, or its action, until it has an outcome: again while the server itself cannot run it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from convexpy.errors import ConvexpyError
from convexpy.runtime.interface import FunctionRequest, Outcome
from convexpy.runtime.log_capture import lines_to_keep

RETRY_SECONDS = 1.0  # after a run that failed for the server's own reasons; doubled each time
RETRY_SECONDS_MAX = 60.0
LOST_ACTION = {"kind": "failed", "error": "Transient error while executing action"}


class JobRunner(Protocol):
    """The backend, as the scheduler needs it."""

    async def run_job(self, job_id: str, prefer: int | None, more_jobs: Sequence[str] = ()) -> dict[str, Any]: ...

    async def run_system(
        self, name: str, payload: dict[str, Any], *, prefer: int | None = None, job_id: str | None = None
    ) -> Any: ...

    async def action(self, request: FunctionRequest, job_id: str | None = None) -> Outcome: ...


class JobRuns:
    """The transactions and actions of scheduled rows."""

    def __init__(self, runner: JobRunner, report: Callable[[str], None]) -> None:
        self._runner = runner
        self._report = report
        self.transactions_in_flight = 0

    async def run_row(self, job_id: str, prefer: int | None, more_jobs: Sequence[str] = ()) -> dict[str, Any]:
        """Run the row's transaction; gives what `job_batches.run_job` does."""
        self.transactions_in_flight += 1
        delay_seconds = RETRY_SECONDS
        try:
            while True:
                try:
                    return await self._runner.run_job(job_id, prefer, more_jobs)
                except ConvexpyError as error:
                    self._report(f"A scheduled function could not be run and is tried again: {error}")
                    await asyncio.sleep(delay_seconds)
                    # An `on_complete` that ends its process costs workers each time.
                    delay_seconds = min(2 * delay_seconds, RETRY_SECONDS_MAX)
        finally:
            self.transactions_in_flight -= 1

    async def run_action(self, job_id: str, start: dict[str, Any]) -> dict[str, Any]:
        """Run an action whose row says that it has begun, once; gives its outcome, for `finish_action`.

        Args:
            start: what `run_row` gave.
        """
        request = FunctionRequest(
            component=start["component"],
            path=start["path"],
            args=start["args"],
            is_admin=True,
            is_nested=True,
            caller="Scheduler",
        )
        try:
            result = await self._runner.action(request, job_id)
        except ConvexpyError as error:
            return {"kind": "failed", "error": str(error)}
        return _action_outcome(result)

    async def finish_action(self, job_id: str, outcome: dict[str, Any], prefer: int | None) -> None:
        """Record an action's outcome, in a transaction of its own."""
        while True:
            try:
                await self._runner.run_system("finish_action", {"job_id": job_id, "outcome": outcome}, prefer=prefer)
                return
            except ConvexpyError as error:
                self._report(f"The outcome of a scheduled action could not be stored and is tried again: {error}")
                await asyncio.sleep(RETRY_SECONDS)

    async def finish_lost_actions(self) -> None:
        """Record of the actions that the last server has left behind that they are lost.

        Raises:
            ConvexpyError: the server cannot do it now.
        """
        while lost := await self._runner.run_system("running_actions", {"limit": 100}):
            for job_id in lost:
                await self._runner.run_system("finish_action", {"job_id": job_id, "outcome": LOST_ACTION})


def _action_outcome(result: Outcome) -> dict[str, Any]:
    """An action's outcome as `finish_action` takes it; the text without the frame for clients."""
    outcome: dict[str, Any]
    if result.ok:
        outcome = {"kind": "success", "value": result.value}
    else:
        text = result.error.partition("\n")[2].rstrip("\n") or result.error
        outcome = {"kind": "failed", "error": text}
        if result.error_data is not None:
            outcome["data"] = result.error_data
    if result.log_lines:
        outcome["log_lines"] = lines_to_keep(result.log_lines)
    return outcome
