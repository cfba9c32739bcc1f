"""The two rounds in which a session comes by a timestamp at which all its results hold; see `state`."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from convexpy.runtime.interface import Outcome
from convexpy.sync.query_set import ClientQuery


class FirstRound:
    """Waits for every result that was stale when it began to come back once, fresh enough for it.

    It has come back if it is another one than the client holds.

    Args:
        queries: all of the session's.
        ts: what the client has seen, or was answered, or must be told of at least.
    """

    def __init__(self, queries: Iterable[ClientQuery], ts: int) -> None:
        self._ts = ts
        self._stale: dict[int, Outcome | None] = {
            query.id: query.sent for query in queries if query.entry.valid_until_ts is not None
        }

    def is_over(self, queries: Iterable[ClientQuery]) -> bool:
        """Whether nothing that runs is worth waiting for."""
        return not any(query.entry.is_running and self._is_awaited(query) for query in queries)

    def _is_awaited(self, query: ClientQuery) -> bool:
        entry = query.entry
        if entry.outcome is None:
            return True
        if self._stale.get(query.id) is entry.outcome:
            return True
        # A run that had begun before the commit came back too old; the next one is not.
        return entry.valid_until_ts is not None and entry.valid_until_ts <= self._ts


class SecondRound(Struct):
    """What runs together, and the version that the transition made of it will end at but for its timestamp."""

    queries: list[ClientQuery]
    removed: list[int]
    query_set: int
    identity: int
