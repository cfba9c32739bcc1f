"""Every error of the workflow component, in one tree.

    WorkflowError
        WorkflowNotFound, WorkflowNotRunning, WorkflowStillRunning, InvalidWorkflowId, StepNotFound
                                   a call of the manager that does not fit the run's state
        StepError                  raised at an await of the handler
            StepFailed             the step's function raised
            StepCanceled           the step was withdrawn before it finished
        DeterminismError           code and journal disagree; only other code mends it
        StalledError               the handler waits for something that no step and no timer will ever bring
        DeadlockError              one drain of the handler did not come to rest
        ValueTooLarge              an argument or a result that the journal cannot hold
        JournalTooLarge            a run that has become too long to be replayed
        EventError                 an event that cannot be sent or awaited
            EventNotFound, EventAlreadySent, EventAlreadyWaiting, EventAlreadyConsumed
        NotAllowedInWorkflow       threads, sockets, blocking calls; the text says what to use instead
    Evicted                        control flow, no error: the run's coroutine leaves memory

Fields hold the facts, for tests and for the stored reason of a stuck run; `__str__` tells a person.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class WorkflowError(Exception):
    """Base of all errors of this package."""


@dataclass(eq=False)
class WorkflowNotFound(WorkflowError):
    """No run has this id: it never existed, or it was cleaned up."""

    workflow_id: str

    def __str__(self) -> str:
        return f"Workflow not found: {self.workflow_id}"


@dataclass(eq=False)
class WorkflowNotRunning(WorkflowError):
    """The run has finished, so it can be neither canceled nor resumed."""

    workflow_id: str

    def __str__(self) -> str:
        return f"Workflow not running: {self.workflow_id}"


@dataclass(eq=False)
class WorkflowStillRunning(WorkflowError):
    """The run has not finished yet."""

    workflow_id: str

    def __str__(self) -> str:
        return f"Workflow is still running: {self.workflow_id}"


@dataclass(eq=False)
class InvalidWorkflowId(WorkflowError):
    """A string that is no id of a run of this component."""

    workflow_id: str

    def __str__(self) -> str:
        return f"Invalid workflow ID: {self.workflow_id}"


class StepNotFound(WorkflowError):
    """A restart names a step that the run does not have; the text says which."""


class EventError(WorkflowError):
    """An event cannot be sent or awaited as asked; the text says why."""


@dataclass(eq=False)
class EventNotFound(EventError):
    """No event of the run has this id."""

    event_id: str

    def __str__(self) -> str:
        return f"Event not found: {self.event_id}"


@dataclass(eq=False)
class EventAlreadySent(EventError):
    """An event is sent once; this one waits for the handler to take it."""

    event_id: str

    def __str__(self) -> str:
        return f"Event already sent: {self.event_id}"


@dataclass(eq=False)
class EventAlreadyWaiting(EventError):
    """Another step of the handler waits for this event."""

    event_id: str

    def __str__(self) -> str:
        return f"Event already waiting: {self.event_id}"


@dataclass(eq=False)
class EventAlreadyConsumed(EventError):
    """The handler has taken this event."""

    event_id: str

    def __str__(self) -> str:
        return f"Event already consumed: {self.event_id}"


class StepError(WorkflowError):
    """A step that brought no value. Raised at the handler's await; a new object each time.

    Args:
        position: number of the step in its run, from 0.
        name: the step's name, by default the path of its function.
        text: what the step's function raised, as text.
        data: the data of a `ConvexError` that the function raised, else None.
        traceback: the frames of the step's function where it raised, with file, line and source; "" if unknown.
    """

    def __init__(self, position: int, name: str, text: str, data: Any = None, traceback: str = "") -> None:
        super().__init__(position, name, text, data)
        self.position, self.name, self.text, self.data, self.traceback = position, name, text, data, traceback


class StepTraceback(WorkflowError):
    """Where a step's function raised: the cause of a `StepFailed`, so that a printed traceback shows both sides."""

    def __str__(self) -> str:
        return f"the step's function raised\n{self.args[0]}"


class StepFailed(StepError):
    """The step's function raised, and its retries (if it has any) are used up."""

    def __init__(self, position: int, name: str, text: str, data: Any = None, traceback: str = "") -> None:
        super().__init__(position, name, text, data, traceback)
        if traceback:
            self.__cause__ = StepTraceback(traceback)

    def __str__(self) -> str:
        return f"Step {self.position} ({self.name}) failed: {self.text}"


class StepCanceled(StepError):
    """The step was withdrawn before its function finished."""

    def __str__(self) -> str:
        return "Canceled"


@dataclass(eq=False)
class DeterminismError(WorkflowError):
    """The handler, run again over its journal, asked for something else than it asked for before.

    Raised outside the handler, never at an await, so no `except` of user code can swallow it.

    Args:
        position: number of the step at which the two part; None where it is no step (a timer, an early end).
        difference: which part differs: kind, name, function, args, duration, inline, missing (recorded, not
            asked for), unexpected (asked for, not recorded), canceled, timer or finished.
        recorded: the journal's step in plain data, None if it has none here.
        actual: what the handler asked for now, None if nothing.
    """

    position: int | None
    difference: str
    recorded: dict[str, Any] | None = None
    actual: dict[str, Any] | None = None
    detail: str = ""

    def __str__(self) -> str:
        where = "The handler" if self.position is None else f"Step {self.position}"
        parts = [f"{where} does not fit the journal ({self.difference}): {self.detail}"]
        if self.position is not None:
            parts.append(f"  recorded: {describe_step(self.recorded)}")
            parts.append(f"  expected by the code now: {describe_step(self.actual)}")
        parts.append(
            "A handler must ask for the same steps in the same order when it is run again over its journal. Restore "
            "the order of its steps, or start new runs for the new code."
        )
        return "\n".join(parts)

    def to_fields(self) -> dict[str, Any]:
        """Give the facts as a value that a document can hold."""
        return {
            "position": self.position,
            "difference": self.difference,
            "recorded": self.recorded,
            "actual": self.actual,
            "detail": self.detail,
        }


def describe_step(step: dict[str, Any] | None) -> str:
    """Say in one line what a step is: kind, function, and its name, duration or arguments."""
    if step is None:
        return "nothing"
    words = [str(step["kind"])]
    if step.get("function") is not None:
        words.append(str(step["function"]))
    if step["name"] != step.get("function") and step["name"] != step["kind"]:
        words.append(f"named {step['name']!r}")
    if step.get("duration_ms") is not None:
        words.append(f"of {step['duration_ms']} ms")
    if step.get("is_inline"):
        words.append("inline")
    if step.get("function") is not None or step.get("args"):
        words.append(f"with args {shorten(repr(step.get('args')))}")
    return " ".join(words)


def shorten(text: str, chars_max: int = 400) -> str:
    """Cut a long text in its middle, where arguments are the least telling."""
    if len(text) <= chars_max:
        return text
    half = chars_max // 2
    return f"{text[:half]} … {text[-half:]}"


@dataclass(eq=False)
class StalledError(WorkflowError):
    """The handler is not done, yet no step, timer or event is pending that could wake it.

    Args:
        waiting: one line for each task that waits, innermost frame last.
    """

    waiting: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = "".join(f"\n  {line}" for line in self.waiting)
        return (
            "The handler waits for something that no step and no timer will bring, so it can never go on. Await "
            f"steps, or futures that the handler's own tasks complete.{lines}"
        )


@dataclass(eq=False)
class DeadlockError(WorkflowError):
    """The handler kept its own tasks busy without ever waiting for a step or a timer."""

    callbacks: int

    def __str__(self) -> str:
        return (
            f"The handler did not come to rest within {self.callbacks} turns of its loop. A loop around "
            "`asyncio.sleep(0)` never ends here: wait for a step, an event or a timer instead."
        )


class NotAllowedInWorkflow(WorkflowError):
    """Something that a handler cannot do again over its journal; the text says what to use instead."""


class ValueTooLarge(WorkflowError, ValueError):
    """An argument, a result or a context that the journal cannot hold; the text has its size and a preview."""


@dataclass(eq=False)
class JournalTooLarge(WorkflowError):
    """A run that could not be replayed any more within one transaction; it has failed.

    Args:
        unit, of: what is counted.
        used, most: how much there is, and how much there may be.
    """

    unit: str
    of: str
    used: int
    most: int

    def __str__(self) -> str:
        return (
            f"the journal of this run has {self.used} {self.unit}{self.of}; {self.most} are the most. Pass ids of "
            "documents or files instead of large values, and let a long loop end by starting a new run."
        )


class Evicted(BaseException):
    """The run's coroutine leaves memory; the run goes on later from its journal.

    A `BaseException`, so that `except Exception` in a handler does not take it for an error. It is raised by step
    calls that a `finally` block makes while its coroutine is being closed; nothing of that is recorded.
    """
