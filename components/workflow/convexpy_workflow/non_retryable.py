"""The error with which an action says that trying again is of no use."""

from __future__ import annotations

from typing import Any

from convexpy import ConvexError


class NonRetryableError(ConvexError):
    """Raised in an action that runs as a step: the step fails at once, whatever its retry policy.

    The marker travels in the error's data, so it survives nested mutations and subclasses.

    Args:
        message: the failure's text, as the handler sees it.
        data: a value for the handler, in `StepFailed.data["data"]`.
    """

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__({"nonRetryable": True, "message": message, "data": data})

    def __str__(self) -> str:
        return str(self.data["message"])


def is_non_retryable(data: Any) -> bool:
    """Tell whether a failure's data carries the marker."""
    return isinstance(data, dict) and data.get("nonRetryable") is True
