"""Recent commits by the keys they touched: answers whether anything was written to a read set since a timestamp.

The committer keeps one to find conflicts; the server keeps one to tell whether a result that was computed on an older
snapshot still holds. The question costs time in proportion to the read set, not to the commits in between.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import NamedTuple

from convexpy.limits import WRITE_LOG_FORGET_COMMITS_MAX, WRITE_LOG_FRESH_KEYS_MAX
from convexpy.transactions.commit_messages import Reads

_SEGMENT_KEYS = 2048
_INSERTED_KEYS_MAX = 32  # more are sorted all together


class Overlap(NamedTuple):
    """A write that landed in a read set."""

    key: bytes
    ts: int
    written_by: str


class WriteLog:
    """Keys touched by the commits after `floor_ts`, with the latest commit of each.

    Much of what comes in is never asked about: commits are taken as they are, and indexed by their keys when a question
    comes that they could answer, or when they have become so many that it would have to wait for them. For ranges the
    keys are sorted, in segments of commits that follow one another. Most questions are about what came last, so few
    segments are looked at; and an old one is dropped as a whole.

    Args:
        floor_ts: nothing is known about this commit and earlier ones.
        keys_max: beyond it the oldest commits are forgotten, and `floor_ts` rises.
    """

    def __init__(self, floor_ts: int, keys_max: int) -> None:
        self.floor_ts = floor_ts
        self._keys_max = keys_max
        self._size = 0
        self._last_ts = floor_ts
        self._commits: deque[tuple[int, list[bytes], str]] = deque()  # indexed ones
        self._fresh: deque[tuple[int, list[bytes], str]] = deque()  # those after them
        self._fresh_size = 0
        self._latest: dict[bytes, tuple[int, str]] = {}
        self._segments: deque[tuple[int, list[bytes]]] = deque()  # last commit and sorted keys
        self._young: list[bytes] = []  # sorted keys of the segment to come
        self._unsorted: list[bytes] = []  # and those that are not among them yet

    def append(self, ts: int, keys: list[bytes], written_by: str) -> None:
        """Add one commit; `ts` must be above all before."""
        self._fresh.append((ts, keys, written_by))
        self._last_ts = ts
        self._size += len(keys)
        self._fresh_size += len(keys)
        if self._fresh_size > WRITE_LOG_FRESH_KEYS_MAX:
            self._index_fresh()
        while self._size > self._keys_max and len(self._commits) + len(self._fresh) > 1:
            self._forget_oldest()

    def forget_before(self, ts: int) -> None:
        """Drop commits older than `ts`, some with each call, so that after a burst nobody waits for all to go."""
        for _ in range(WRITE_LOG_FORGET_COMMITS_MAX):
            oldest = self._commits or self._fresh
            if not oldest or oldest[0][0] >= ts:
                return
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        if not self._commits:
            self.floor_ts, keys, _ = self._fresh.popleft()
            self._size -= len(keys)
            self._fresh_size -= len(keys)
            return
        ts, keys, _ = self._commits.popleft()
        self.floor_ts = ts
        self._size -= len(keys)
        latest = self._latest
        for key in keys:
            fact = latest.get(key)
            if fact is not None and fact[0] == ts:
                del latest[key]
        if self._segments and self._segments[0][0] <= ts:
            self._segments.popleft()

    def _index_fresh(self) -> None:
        latest, unsorted = self._latest, self._unsorted
        for ts, keys, written_by in self._fresh:
            fact = (ts, written_by)
            for key in keys:
                latest[key] = fact
            unsorted += keys
            if len(unsorted) + len(self._young) >= _SEGMENT_KEYS:
                self._segments.append((ts, sorted({*self._young, *unsorted})))
                self._young.clear()
                unsorted.clear()
        self._commits += self._fresh
        self._fresh.clear()
        self._fresh_size = 0

    def _sort_young(self) -> None:
        if len(self._unsorted) < _INSERTED_KEYS_MAX:
            for key in self._unsorted:
                insort(self._young, key)
        else:
            self._young += self._unsorted
            self._young.sort()
        self._unsorted.clear()

    def first_overlap(self, reads: Reads, after_ts: int) -> Overlap | None:
        """Find a commit after `after_ts` that wrote to `reads`; an error can then name it.

        `after_ts` must not be below `floor_ts`; the caller decides what being too old means.
        """
        if after_ts >= self._last_ts:
            return None
        if self._fresh:
            self._index_fresh()
        latest = self._latest
        for key in reads.points:
            fact = latest.get(key)
            if fact is not None and fact[0] > after_ts:
                return Overlap(key, *fact)
        return self._first_range_overlap(reads.ranges, after_ts) if reads.ranges else None

    def _first_range_overlap(self, ranges: list[tuple[bytes, bytes]], after_ts: int) -> Overlap | None:
        self._sort_young()
        found = self._first_in(self._young, ranges, after_ts)
        for last_ts, keys in reversed(self._segments):
            if found is not None or last_ts <= after_ts:
                break
            found = self._first_in(keys, ranges, after_ts)
        return found

    def _first_in(self, keys: list[bytes], ranges: list[tuple[bytes, bytes]], after_ts: int) -> Overlap | None:
        latest = self._latest
        for start, end in ranges:
            for position in range(bisect_left(keys, start), len(keys)):
                key = keys[position]
                if key >= end:
                    break
                fact = latest.get(key)
                if fact is not None and fact[0] > after_ts:
                    return Overlap(key, *fact)
        return None

    def earliest_overlap_ts(self, reads: Reads, after_ts: int) -> int | None:
        """Timestamp of the first commit after `after_ts` that wrote to `reads`; None: they still hold.

        Where a key was written more than once the first of those commits counts, so all commits since are walked.
        """
        if self.first_overlap(reads, after_ts) is None:
            return None
        points, ranges = set(reads.points), reads.ranges
        earliest: int | None = None
        for ts, keys, _ in reversed(self._commits):
            if ts <= after_ts:
                break
            if any(key in points or any(start <= key < end for start, end in ranges) for key in keys):
                earliest = ts
        assert earliest is not None, "an overlap was found, but no commit in the log holds it"
        return earliest
