"""What a transaction hands to the committer, and what comes back: plain data, so that it can cross a socket.

Every Struct is `array_like`: positional on the wire.
"""

from __future__ import annotations

from msgspec import Struct


class Reads(Struct, array_like=True):
    """Keys and key ranges that a call looked at; see transactions/read_set.py."""

    points: list[bytes]
    ranges: list[tuple[bytes, bytes]]


class DocumentWrite(Struct, array_like=True):
    """One document before and after. `None`: absent."""

    key: bytes
    new: bytes | None
    old: bytes | None


class CommitRequest(Struct, array_like=True):
    """All that the committer needs; it never decodes a document."""

    begin_ts: int
    generation: int  # -1: any (system calls)
    function: str  # for the text of a conflict
    reads: Reads
    documents: list[DocumentWrite]
    index_puts: list[bytes]
    index_deletes: list[bytes]
    index_touches: list[bytes]  # entries that stay where they are although their document changed
    is_catalog_change: bool = False
    new_generation: int | None = None  # a push: from this commit on only this generation may commit
    unread_puts: list[bytes] = []  # entries of an index that nobody can read yet: nobody needs to hear of them


class Committed(Struct, array_like=True, tag=0):
    """Request `id` is durable at `ts`; `keys` are the stored keys it touched, old and new."""

    id: int
    ts: int
    keys: list[bytes]


class Conflicted(Struct, array_like=True, tag=1):
    """Request `id` lost: `key`, which it had read, was written at `ts` by `written_by`; ts 0: it is too old to tell."""

    id: int
    ts: int
    key: bytes
    written_by: str


class Refused(Struct, array_like=True, tag=2):
    """Request `id` could not be written (disk full, map full), or must not be; nothing of it is stored."""

    id: int
    text: str
    is_beyond_bound: bool = False  # of the deployment; it is not to be tried again as it is


class BatchOutcome(Struct, array_like=True):
    """One LMDB transaction's outcomes, in commit order; the frame is sent after the sync."""

    outcomes: list[Committed | Conflicted | Refused]
