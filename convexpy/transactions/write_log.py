"""Recent commits by the keys they touched: answers whether anything was written to a read set since a timestamp.

The committer keeps one to find conflicts; the server keeps one to tell whether a result that was computed on an older
snapshot still holds. The question costs time in proportion to the read set, not to the commits in between.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from sortedcontainers import SortedList

from convexpy.transactions.commit_messages import Reads


class Overlap(NamedTuple):
    """A write that landed in a read set."""

    key: bytes
    ts: int
    written_by: str


class WriteLog:
    """Keys touched by the commits after `floor_ts`, with the latest commit of each.

    Args:
        floor_ts: nothing is known about this commit and earlier ones.
        keys_max: beyond it the oldest commits are forgotten, and `floor_ts` rises.
    """

    def __init__(self, floor_ts: int, keys_max: int) -> None:
        self.floor_ts = floor_ts
        self._keys_max = keys_max
        self._latest: dict[bytes, tuple[int, str]] = {}
        self._commits: deque[tuple[int, list[bytes]]] = deque()
        self._size = 0
        # Sorted only when a range is asked for: point reads, the common case, never pay for it.
        self._sorted: SortedList[bytes] = SortedList()
        self._unsorted: list[bytes] = []

    def append(self, ts: int, keys: list[bytes], written_by: str) -> None:
        """Add one commit; `ts` must be above all before."""
        latest, unsorted = self._latest, self._unsorted
        fact = (ts, written_by)
        for key in keys:
            if key not in latest:
                unsorted.append(key)
            latest[key] = fact
        self._commits.append((ts, keys))
        self._size += len(keys)
        while self._size > self._keys_max and len(self._commits) > 1:
            self._forget_oldest()

    def forget_before(self, ts: int) -> None:
        """Drop commits older than `ts`."""
        while self._commits and self._commits[0][0] < ts:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        ts, keys = self._commits.popleft()
        self._size -= len(keys)
        self.floor_ts = ts
        gone = [key for key in set(keys) if self._latest[key][0] == ts]
        if gone:
            self._merge_unsorted()
        for key in gone:
            del self._latest[key]
            self._sorted.remove(key)

    def _merge_unsorted(self) -> None:
        if self._unsorted:
            self._sorted.update(self._unsorted)
            self._unsorted.clear()

    def first_overlap(self, reads: Reads, after_ts: int) -> Overlap | None:
        """Find a commit after `after_ts` that wrote to `reads`; an error can then name it.

        `after_ts` must not be below `floor_ts`; the caller decides what being too old means.
        """
        latest = self._latest
        for key in reads.points:
            fact = latest.get(key)
            if fact is not None and fact[0] > after_ts:
                return Overlap(key, *fact)
        if reads.ranges and self._commits and self._commits[-1][0] > after_ts:
            return self._first_range_overlap(reads.ranges, after_ts)
        return None

    def _first_range_overlap(self, ranges: list[tuple[bytes, bytes]], after_ts: int) -> Overlap | None:
        self._merge_unsorted()
        for start, end in ranges:
            for key in self._sorted.irange(start, end, inclusive=(True, False)):
                fact = self._latest[key]
                if fact[0] > after_ts:
                    return Overlap(key, *fact)
        return None

    def earliest_overlap_ts(self, reads: Reads, after_ts: int) -> int | None:
        """Timestamp of the first commit after `after_ts` that wrote to `reads`; None: they still hold.

        Where a key was written more than once the first of those commits counts, so the commits are walked in order.
        """
        if self.first_overlap(reads, after_ts) is None:
            return None
        points, ranges = set(reads.points), reads.ranges
        for ts, keys in self._commits:
            if ts > after_ts and any(key in points or any(start <= key < end for start, end in ranges) for key in keys):
                return ts
        raise AssertionError("an overlap was found, but no commit in the log holds it")
