"""One run of a workflow handler as a state machine: news goes in, commands come out. No I/O, no clock, no database.

    engine.feed(Started(now))             -> [StartStep(0, ...)]
    engine.feed(StepResolved(now, 0, …))  -> [StartStep(1, ...), StartStep(2, ...)]
    engine.feed(StepResolved(now, 2, …))  -> [CancelStep(1), Finish(Success(...))]

Invariants:
  1. One resolution at a time, then the handler's loop is drained to rest. Two resolutions before one drain would make
     the order of callbacks depend on how they were grouped, and grouping is a race.
  2. Steps are numbered in the order in which the handler issues them.
  3. Which commands come out depends only on the handler and on the resolutions so far. So a run is replayed by feeding
     its recorded resolutions again, and a suspended engine continues exactly as a replayed one would.
  4. `Finish` is the last command. Steps that nobody awaited by then are withdrawn in the same answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from types import FrameType
from typing import Any, Literal, TypeAlias

from convexpy_workflow.backtraces import describe_failure, describe_wait, frames_of_wait, is_users
from convexpy_workflow.commands import (
    Canceled,
    CancelRequested,
    CancelStep,
    Command,
    Failure,
    Finish,
    Outcome,
    Resolution,
    Started,
    StartStep,
    StepResolved,
    Success,
    TimerFired,
)
from convexpy_workflow.errors import (
    DeterminismError,
    Evicted,
    NotAllowedInWorkflow,
    StalledError,
    StepCanceled,
    StepFailed,
)
from convexpy_workflow.loop import WorkflowLoop
from convexpy_workflow.patches import Patches

Main: TypeAlias = Callable[["Engine"], Coroutine[Any, Any, Any]]
Environment: TypeAlias = Callable[[int], AbstractContextManager[Any]]


def no_environment(now_ms: int) -> AbstractContextManager[None]:
    """Run the handler with the process's own clock and randomness: for tests of the engine itself."""
    return nullcontext()


class Engine:
    """A handler, suspended between two resolutions.

    Args:
        main: makes the handler's coroutine; it gets this engine, for the step object.
        environment: entered around each drain with the drain's instant; supplies deterministic time and randomness.
        on_unawaited: what becomes of steps that run when the handler returns: withdrawn, or waited for.
    """

    def __init__(
        self,
        main: Main,
        environment: Environment = no_environment,
        on_unawaited: Literal["cancel", "wait"] = "cancel",
    ) -> None:
        self.warnings: list[str] = []  # lines for the run's log; the driver empties it
        self.steps_issued = 0
        self.resolutions_fed = 0
        self.outcome: Outcome | None = None
        self.patches = Patches()
        self.on_step: Callable[[StartStep], None] | None = (
            None  # called where a step is issued, its caller on the stack
        )
        self.loop = WorkflowLoop(self.warnings.append)  # type: ignore[abstract]  # the rest is set as refusals
        self._main = main
        self._environment = environment
        self._on_unawaited = on_unawaited
        self._task: asyncio.Task[Any] | None = None
        self._is_cancel_requested = False
        self._pending: dict[int, tuple[StartStep, asyncio.Future[Any]]] = {}
        self._commands: list[Command] = []

    def feed(self, resolution: Resolution) -> list[Command]:
        """Take one piece of news and run the handler until it rests.

        Returns:
            what the handler asked for meanwhile, in order.

        Raises:
            DeterminismError: the handler waits for no such step or timer.
            DeadlockError: the handler did not come to rest. The engine is of no use afterwards; call `close`.
        """
        assert self.outcome is None, "a finished run takes no news"
        assert (self._task is None) == isinstance(resolution, Started), "a run starts once, and first"
        self.loop.advance(resolution.now_ms)
        match resolution:
            case Started():
                self._task = self.loop.create_task(self._main(self), name="handler", context=Context())
            case StepResolved():
                self._resolve_step(resolution)
            case TimerFired():
                self._fire_timer(resolution)
            case CancelRequested():
                assert self._task is not None
                self._is_cancel_requested = True
                self._task.cancel()
        self.resolutions_fed += 1
        with self._environment(resolution.now_ms):
            self.loop.drain(self._is_over)
        if self._is_over():
            self._finish()
        commands, self._commands = self._commands, []
        return commands

    @property
    def now_ms(self) -> int:
        """The handler's present instant, milliseconds since the Unix epoch."""
        return self.loop.now_ms

    @property
    def pending_positions(self) -> list[int]:
        """Steps that were started and have no outcome yet, in the order of their issue."""
        return list(self._pending)

    @property
    def pending_count(self) -> int:
        """How many steps were started and have no outcome yet."""
        return len(self._pending)

    def due_timer(self, now_ms: int) -> TimerFired | None:
        """Give the resolution of the first timer whose deadline has come, if there is one."""
        timer = self.loop.next_timer()
        if self.outcome is not None or timer is None or timer.deadline_ms > now_ms:
            return None
        return TimerFired(now_ms, timer.number, timer.deadline_ms)

    @property
    def wake_at_ms(self) -> int | None:
        """Deadline of the first pending timer: when the run wants to be woken without any step's news."""
        timer = self.loop.next_timer()
        return None if self.outcome is not None or timer is None else timer.deadline_ms

    def stalled(self) -> StalledError | None:
        """Tell whether the handler waits for something that can never come."""
        if self.outcome is not None or self._pending or self.loop.next_timer() is not None:
            return None
        return StalledError([describe_wait(task) for task in self.loop.live_tasks()])

    def waiting_frames(self) -> list[FrameType]:
        """The user's frames of the handler's own task, from its first line to the await where it is."""
        return [] if self._task is None else frames_of_wait(self._task)

    def close(self) -> None:
        """Drop the handler's coroutines. User code may see `GeneratorExit`; nothing it does is recorded."""
        self.loop.evict()
        self._pending.clear()
        self._commands.clear()

    # What the step object calls, inside a drain.

    async def run_step(self, make: Callable[[int], StartStep]) -> Any:
        """Issue a step and wait for its outcome.

        Args:
            make: builds the command from its position.

        Raises:
            StepFailed, StepCanceled: as the step ended.
            NotAllowedInWorkflow: called outside the handler's own tasks.
        """
        self.check_inside()
        command = make(self.steps_issued)
        self.steps_issued += 1
        future = self.loop.create_future()
        self._pending[command.position] = (command, future)
        self._commands.append(command)
        if self.on_step is not None:
            self.on_step(command)
        try:
            return await future
        except asyncio.CancelledError:
            # The awaiting task was canceled. A step whose outcome came first is not withdrawn.
            if self._pending.pop(command.position, None) is not None and not self.loop.is_evicting:
                self._commands.append(CancelStep(command.position))
            raise

    def check_inside(self) -> None:
        """Refuse calls that do not come from the handler's own tasks during a drain.

        Raises:
            Evicted: the run leaves memory.
            NotAllowedInWorkflow: any other outside caller.
        """
        running = asyncio._get_running_loop()
        is_others = isinstance(running, WorkflowLoop) and running is not self.loop  # this step object was kept
        if self.loop.is_evicting and not is_others:
            raise Evicted
        is_inside = running is self.loop and not self.loop.is_finalizing
        if not is_inside or asyncio.current_task(self.loop) is None:
            raise NotAllowedInWorkflow(
                "A step was called outside its handler's own tasks: from another thread, another event loop, a "
                "finaliser, by another run, or after the run had ended. Call steps in the handler and in the tasks it "
                "creates."
            )

    def _resolve_step(self, resolution: StepResolved) -> None:
        position = resolution.position
        if position not in self._pending:
            raise DeterminismError(
                position, "unexpected", detail="its outcome was recorded here, but the handler does not wait for it."
            )
        command, future = self._pending.pop(position)
        match resolution.outcome:
            case Success(value):
                future.set_result(value)
            case Failure(error, data, traceback):
                future.set_exception(StepFailed(position, command.name, error, data, traceback))
            case Canceled():
                future.set_exception(StepCanceled(position, command.name, "Canceled"))

    def _fire_timer(self, resolution: TimerFired) -> None:
        timer = self.loop.timer(resolution.number)
        if timer is None or timer.deadline_ms != resolution.deadline_ms:
            now = "no such timer is pending" if timer is None else f"its deadline is {timer.deadline_ms} ms now"
            raise DeterminismError(
                None,
                "timer",
                detail=f"timer {resolution.number} fired with deadline {resolution.deadline_ms} ms, but {now}. "
                "Timers come from asyncio.sleep, asyncio.timeout and asyncio.wait_for.",
            )
        self.loop.fire_timer(resolution.number)

    def _is_over(self) -> bool:
        if self._task is None or not self._task.done():
            return False
        if self._on_unawaited == "cancel":
            return True
        return not self._pending and self.loop.next_timer() is None and not self.loop.has_ready

    def _finish(self) -> None:
        assert self._task is not None
        self.outcome = self._read_outcome(self._task)
        for position, (command, _) in self._pending.items():
            self.warnings.append(
                f"Step {position} ({command.name}) was still running when the handler ended: withdrawn."
            )
            self._commands.append(CancelStep(position, at_end=True))
        self._commands.append(Finish(self.outcome))
        commands, self._commands = self._commands, []
        self.close()
        self._commands = commands

    def _read_outcome(self, task: asyncio.Task[Any]) -> Outcome:
        if task.cancelled():
            if self._is_cancel_requested:
                return Canceled()
            # On CPython 3.11 and 3.12 nested timeouts and task groups can leak a CancelledError that nobody meant.
            return Failure("CancelledError: the handler was canceled from inside; nobody canceled the run.")
        exception = task.exception()
        if exception is None:
            return Success(task.result())
        if not is_users(exception):
            raise exception  # the host's own interruption, a time limit for one: the wave's failure, not the run's
        return describe_failure(exception)
