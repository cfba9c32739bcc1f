"""The database as it was at an earlier commit: today's snapshot with the commits since then taken back.

Only the latest versions are stored; the log has those before. What each commit since `ts` replaced lies over the
snapshot: of a key that was written several times the first commit's old version counts. All of it is byte for byte
what the snapshot of that time was, the catalog's own rows included, so an index that has been dropped since can be read
and one that has been added since does not exist. Only the commit timestamps of versions that have been replaced are
not known any more; such a document reads as written at ts 0.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator
from operator import itemgetter

from convexpy.errors import OutOfRetention
from convexpy.limits import PAST_READ_BYTES_MAX, PAST_READ_COMMITS_MAX
from convexpy.storage.keys import encode_ts
from convexpy.storage.lmdb_store import Snapshot
from convexpy.transactions.commit_log import decode_commit

PAST_CATALOG = -1  # as `catalog_ts`: a catalog of its own, which nobody keeps
_UNKNOWN_TS = encode_ts(0)


class PastSnapshot:
    """Reads as a `Snapshot` of commit `ts` does, for as long as `now` is open.

    Opening costs time and memory in proportion to what was written since.

    Raises:
        OutOfRetention: the commits since `ts` are not all kept, or are too many.
    """

    def __init__(self, now: Snapshot, ts: int) -> None:
        assert ts <= now.ts, f"{ts} is later than the snapshot of {now.ts} that it is to be taken from"
        if ts < now.log_floor_ts():
            raise OutOfRetention(f"The database as it was at {ts} can no longer be read. Begin at a new timestamp.")
        self.ts = ts
        self.catalog_ts = now.catalog_ts if now.catalog_ts <= ts else PAST_CATALOG
        self._now = now
        self._documents: dict[bytes, bytes | None] = {}
        self._entries: dict[bytes, bool] = {}
        self._take_back()
        self._document_keys = sorted(key for key, old in self._documents.items() if old is not None)
        self._entry_keys = sorted(key for key, was_there in self._entries.items() if was_there)

    def _take_back(self) -> None:
        read_bytes = 0
        for number, (_, value) in enumerate(self._now.log_entries(self.ts + 1, self._now.ts + 1)):
            read_bytes += len(value)
            if number >= PAST_READ_COMMITS_MAX or read_bytes > PAST_READ_BYTES_MAX:
                raise OutOfRetention(
                    f"More than {PAST_READ_COMMITS_MAX:,} commits, or {PAST_READ_BYTES_MAX // 2**20} MiB, were written "
                    f"since {self.ts}, so it can no longer be read. Begin at a new timestamp."
                )
            commit = decode_commit(value)
            for write in commit.documents:
                self._documents.setdefault(write.key, write.old)
            for key in commit.index_deletes:
                self._entries.setdefault(key, True)
            for key in commit.index_puts:
                self._entries.setdefault(key, False)

    def instance_secret(self) -> bytes:
        """See `Snapshot`."""
        return self._now.instance_secret()

    def document(self, key: bytes) -> bytes | None:
        """See `Snapshot`."""
        if key not in self._documents:
            return self._now.document(key)
        old = self._documents[key]
        return None if old is None else _UNKNOWN_TS + old

    def document_entries(self, start: bytes, end: bytes, descending: bool) -> Iterator[tuple[bytes, bytes]]:
        """See `Snapshot`."""
        documents = self._documents
        unchanged = (entry for entry in self._now.document_entries(start, end, descending) if entry[0] not in documents)
        changed = (
            (key, _UNKNOWN_TS + (documents[key] or b""))
            for key in _between(self._document_keys, start, end, descending)
        )
        return heapq.merge(unchanged, changed, key=itemgetter(0), reverse=descending)

    def index_keys(self, start: bytes, end: bytes, descending: bool) -> Iterator[bytes]:
        """See `Snapshot`."""
        entries = self._entries
        unchanged = (key for key in self._now.index_keys(start, end, descending) if key not in entries)
        return heapq.merge(unchanged, _between(self._entry_keys, start, end, descending), reverse=descending)


AnySnapshot = Snapshot | PastSnapshot


def _between(keys: list[bytes], start: bytes, end: bytes, descending: bool) -> list[bytes]:
    found = keys[bisect_left(keys, start) : bisect_left(keys, end)]
    if descending:
        found.reverse()
    return found
