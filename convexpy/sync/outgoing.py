"""Messages that wait for a client's socket, and how much of them may wait."""

from __future__ import annotations

from collections import deque

from convexpy.limits import UNSENT_BYTES_MAX, UNSENT_TRANSITIONS_MAX

# What a message is, for the accounts; of a transition in parts the last one stands for all.
_ANSWER, _PART, _TRANSITION = range(3)


class Outgoing:
    """A queue that knows its weight. A message counts as unsent until the socket has taken it.

    Transitions are bounded by their number, however long one is, for results coalesce meanwhile. Answers cannot: what
    waits of them behind the message that is on its way is bounded in bytes.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._taken: tuple[bytes, int] | None = None
        self._unsent_transitions = 0
        self._waiting_answers = 0
        self._waiting_bytes = 0  # of answers

    @property
    def is_empty(self) -> bool:
        return self._taken is None and not self._waiting

    @property
    def is_full(self) -> bool:
        """Further results must coalesce."""
        return self._unsent_transitions >= UNSENT_TRANSITIONS_MAX

    @property
    def is_overflowing(self) -> bool:
        """The client does not read; coalescing does not help."""
        # A lone answer may be larger: nothing else is held up by it.
        return self._waiting_bytes > UNSENT_BYTES_MAX and self._waiting_answers > 1

    def push(self, message: bytes) -> None:
        """Add an answer, or whatever else is no transition."""
        self._waiting.append((message, _ANSWER))
        self._waiting_answers += 1
        self._waiting_bytes += len(message)

    def push_transition(self, *parts: bytes) -> None:
        """Add a transition, whole or in the parts in which the client gets it, with nothing between them."""
        *others, last = parts
        self._waiting.extend((part, _PART) for part in others)
        self._waiting.append((last, _TRANSITION))
        self._unsent_transitions += 1

    def take(self) -> bytes | None:
        """The next message to send, the same one until `sent` follows."""
        if self._taken is None:
            if not self._waiting:
                return None
            self._taken = message, kind = self._waiting.popleft()
            if kind == _ANSWER:
                self._waiting_answers -= 1
                self._waiting_bytes -= len(message)
        return self._taken[0]

    def sent(self) -> None:
        """The socket has taken the message, and had room for it."""
        assert self._taken is not None, "no message was taken"
        self._unsent_transitions -= self._taken[1] == _TRANSITION
        self._taken = None
