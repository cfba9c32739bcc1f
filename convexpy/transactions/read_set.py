"""What a transaction has read, as keys and key ranges.

A read set holds key ranges, not documents: a query that scanned the empty range of unread messages depends on there
being none, so an insert into that range is a conflict although no document it saw has changed.

The committer asks whether a transaction may commit, the query cache whether a result still holds. Both get the same
answer: a write that makes a mutation retry is exactly a write that makes a subscribed query update.
"""

from __future__ import annotations

from convexpy.transactions.commit_messages import Reads


class ReadRange:
    """One range that is being consumed; `start` and `end` move as rows are read."""

    __slots__ = ("end", "start")

    def __init__(self, start: bytes, end: bytes) -> None:
        self.start, self.end = start, end


class ReadSet:
    """Keys and ranges read so far. Reads are added, never taken back, not even by a rollback."""

    __slots__ = ("_points", "_ranges", "_uncounted", "_uncounted_ranges")

    def __init__(self) -> None:
        self._points: set[bytes] = set()
        self._ranges: list[ReadRange] = []
        self._uncounted_ranges: list[ReadRange] = []
        self._uncounted: set[bytes] = set()

    def add_uncounted(self, key: bytes) -> None:
        """Record what no limit counts: rows of the platform, and the places of documents that are written."""
        self._uncounted.add(key)

    def add_point(self, key: bytes) -> None:
        """Record that the document at `key` was looked at, whether or not it was there."""
        self._points.add(key)

    def open_range(self, start: bytes, end: bytes, *, is_counted: bool = True) -> ReadRange:
        """Record a half-open range; the caller moves its bounds while it consumes rows."""
        read = ReadRange(start, end)
        (self._ranges if is_counted else self._uncounted_ranges).append(read)
        return read

    @property
    def range_count(self) -> int:
        """Ranges and points so far, before overlapping ones are merged."""
        return len(self._points) + len(self._ranges)

    def merged(self) -> Reads:
        """The whole set, ranges disjoint and in key order."""
        every = _disjoint([*self._ranges, *self._uncounted_ranges])
        ranges = [(start, end) for start, end in every if start < end]
        return Reads([*self._points, *(self._uncounted - self._points)], ranges)

    @property
    def merged_count(self) -> int:
        """Points and disjoint ranges, without what no limit counts. One that has just been opened counts."""
        return len(self._points) + len(_disjoint(self._ranges))


def _disjoint(reads: list[ReadRange]) -> list[tuple[bytes, bytes]]:
    """Ranges that neither overlap nor touch, those among them that nothing was read of yet."""
    ranges: list[tuple[bytes, bytes]] = []
    for start, end in sorted((read.start, read.end) for read in reads):
        if ranges and start <= ranges[-1][1]:
            if end > ranges[-1][1]:
                ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return ranges
