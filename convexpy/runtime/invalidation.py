"""Who has read what: finds those that a commit's keys concern, in time that does not grow with all others.

A range is filed under the longest prefix that its two ends share, so a key need only be looked up under its own
prefixes, of the few lengths in use. Ranges of different arguments (`channel == x`) thereby never meet. Where many
ranges share a prefix they are ordered by their start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from sortedcontainers import SortedList

from convexpy.transactions.commit_messages import Reads

Reader = TypeVar("Reader", bound=Hashable)


class InvalidationIndex(Generic[Reader]):
    """Readers by the points and ranges that they depend on."""

    def __init__(self) -> None:
        self._points: dict[bytes, set[int]] = {}
        self._buckets: dict[bytes, SortedList[tuple[bytes, bytes, int]]] = {}
        self._prefix_lengths: dict[bytes, Counter[int]] = {}
        self._reads: dict[Reader, Reads] = {}
        self._numbers: dict[Reader, int] = {}
        self._readers: dict[int, Reader] = {}
        self._next_number = 0

    def __len__(self) -> int:
        return len(self._reads)

    def put(self, reader: Reader, reads: Reads) -> None:
        """File a reader under points that differ; what it was filed under before is forgotten."""
        self.remove(reader)
        number = self._next_number
        self._next_number += 1
        self._reads[reader], self._numbers[reader], self._readers[number] = reads, number, reader
        for key in reads.points:
            self._points.setdefault(key, set()).add(number)
        for start, end in reads.ranges:
            prefix = _shared_prefix(start, end)
            bucket = self._buckets.get(prefix)
            if bucket is None:
                bucket = self._buckets[prefix] = SortedList()
                self._prefix_lengths.setdefault(prefix[:4], Counter())[len(prefix)] += 1
            bucket.add((start, end, number))

    def reads_of(self, reader: Reader) -> Reads:
        """What a reader is filed under."""
        return self._reads[reader]

    def remove(self, reader: Reader) -> None:
        """Forget a reader; one that is not filed is fine."""
        reads = self._reads.pop(reader, None)
        if reads is None:
            return
        number = self._numbers.pop(reader)
        del self._readers[number]
        for key in reads.points:
            at_point = self._points[key]
            at_point.discard(number)
            if not at_point:
                del self._points[key]
        for start, end in reads.ranges:
            prefix = _shared_prefix(start, end)
            bucket = self._buckets[prefix]
            bucket.remove((start, end, number))
            if not bucket:
                del self._buckets[prefix]
                lengths = self._prefix_lengths[prefix[:4]]
                lengths[len(prefix)] -= 1
                if not lengths[len(prefix)]:
                    del lengths[len(prefix)]
                if not lengths:
                    del self._prefix_lengths[prefix[:4]]

    def touched(self, keys: Iterable[bytes]) -> list[Reader]:
        """All readers that depend on one of `keys`, in the order in which they were filed."""
        found: set[int] = set()
        points, buckets = self._points, self._buckets
        for key in keys:
            at_point = points.get(key)
            if at_point is not None:
                found |= at_point
            for length in self._prefix_lengths.get(key[:4], ()):
                bucket = buckets.get(key[:length])
                if bucket is not None:
                    for _, end, number in bucket.irange(maximum=(key, b"\xff" * 512, 0)):
                        if key < end:
                            found.add(number)
        return [self._readers[number] for number in sorted(found)]


def _shared_prefix(start: bytes, end: bytes) -> bytes:
    """The longest common prefix, at least the keyspace where both ends lie in one."""
    if end.startswith(start):
        return start
    # Nearly all ranges take the line above (equality) or differ within a few bytes of their ends.
    low, high = 0, min(len(start), len(end))
    while low < high:
        middle = (low + high + 1) // 2
        if start[:middle] == end[:middle]:
            low = middle
        else:
            high = middle - 1
    return start[:low]
