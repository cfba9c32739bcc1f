"""When connections send what has changed: together, soon, and not before the answer to what they have changed.

A commit is published and the future of its mutation is resolved in one step of the loop; the mutation's answer goes out
in the next step, when its task runs. A result that shows the commit may be there in the first of the two steps already,
because a worker has seen the commit before the server heard of it. A client that saw the result before the answer would
show its optimistic update on top of it. So who waits for an answer sends what has changed only after two whole steps.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Protocol

from convexpy.limits import FLUSHES_PER_STEP

# Two whole steps, whether the change came before or after this step's own turn.
_STEPS = 3


class Sender(Protocol):
    """A connection."""

    @property
    def awaits_answer(self) -> bool:
        """Whether a mutation of its client is under way."""

    def flush(self) -> None:
        """Send what is due."""


class Flusher:
    """Who is to send in one of the next steps of the loop."""

    def __init__(self) -> None:
        self._step = 0
        self._due: dict[Sender, int] = {}  # by the step in which they send, the next ones first
        self._is_stepping = False

    def note_change(self, sender: Sender) -> None:
        """Have a connection send soon. Each change makes one that awaits an answer wait again."""
        if sender in self._due:
            if not sender.awaits_answer:
                return
            del self._due[sender]
        self._due[sender] = self._step + _STEPS
        if not self._is_stepping:
            self._is_stepping = True
            asyncio.get_running_loop().call_soon(self._advance)

    def is_early(self, sender: Sender) -> bool:
        """Whether what has changed must not be sent now; it will be soon."""
        return sender in self._due and sender.awaits_answer

    def note_answer(self, sender: Sender) -> None:
        """The answer that it awaited is there: all may be sent."""
        self._due.pop(sender, None)

    def _advance(self) -> None:
        """Some connections a step: what comes in meanwhile is not to wait for all of a thousand."""
        self._step += 1
        for sender, step in list(itertools.islice(self._due.items(), FLUSHES_PER_STEP)):
            if step > self._step:
                break
            del self._due[sender]
            sender.flush()
        self._is_stepping = bool(self._due)
        if self._is_stepping:
            asyncio.get_running_loop().call_soon(self._advance)
