"""Messages that wait for a client's socket, and how much of them may wait."""

from __future__ import annotations

from collections import deque

from convexpy.limits import UNSENT_BYTES_MAX, UNSENT_TRANSITIONS_MAX


class Outgoing:
    """A queue that knows its weight. A message counts as unsent until the socket has taken it."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._taken: tuple[bytes, bool] | None = None
        self._unsent_transitions = 0
        self._unsent_bytes = 0

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
        # A lone message may be larger: it is on its way, and nothing else is held up by it.
        return self._unsent_bytes > UNSENT_BYTES_MAX and len(self._waiting) > 1

    def push(self, message: bytes, is_transition: bool = False) -> None:
        self._waiting.append((message, is_transition))
        self._unsent_transitions += is_transition
        self._unsent_bytes += len(message)

    def take(self) -> bytes | None:
        """The next message to send, the same one until `sent` follows."""
        if self._taken is None:
            if not self._waiting:
                return None
            self._taken = self._waiting.popleft()
        return self._taken[0]

    def sent(self) -> None:
        """The socket has taken the message, and had room for it."""
        assert self._taken is not None, "no message was taken"
        message, is_transition = self._taken
        self._taken = None
        self._unsent_transitions -= is_transition
        self._unsent_bytes -= len(message)
