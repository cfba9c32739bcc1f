"""What names a run, and one of its steps, in the calls of a manager."""

from __future__ import annotations

from typing import Any

from convexpy import Function, Reference
from convexpy_workflow.app_values import step_name
from convexpy_workflow.arguments import checked_text, checked_whole, shown
from convexpy_workflow.errors import InvalidWorkflowId, StepNotFound

STEP_NUMBER_MAX = 2**53


def checked_run(workflow_id: Any) -> str:
    """What can be a run's id.

    Raises:
        InvalidWorkflowId: it is no text.
    """
    if isinstance(workflow_id, str):
        return workflow_id
    raise InvalidWorkflowId(f"{shown(workflow_id)}. It is the text that start(…) returned")


def checked_step(from_: Any) -> int | str:
    """Which step `from_` means: a number, or a name.

    Raises:
        TypeError, ValueError: it says neither.
        StepNotFound: a negative number.
    """
    if isinstance(from_, str):
        return checked_text(from_, "from_")
    if isinstance(from_, int) and not isinstance(from_, bool) and -STEP_NUMBER_MAX < from_ < 0:
        raise StepNotFound(f"Step number cannot be negative: {from_}")
    if isinstance(from_, int | float):
        return checked_whole(from_, "from_, where it is a number,", 0, STEP_NUMBER_MAX)
    if isinstance(from_, Reference | Function):
        return step_name(from_)
    raise TypeError(f"from_ is the number, the name or the function of a step, not {shown(from_)}.")
