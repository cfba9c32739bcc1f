"""How stored keys are laid out, so that byte order is the order of documents and index entries.

A *keyspace* is a u32: a table's number for its documents, an index's number (high bit set) for its entries. Both are
unique in a deployment, so document keys and index keys share one ordered space and a read set is plain byte ranges.

    documents   u32 table ‖ id (16)            →  u64 commit_ts ‖ packed document
    indexes     u32 index ‖ sort key ‖ id (16) →  nothing
"""

from __future__ import annotations

import struct

from convexpy.limits import SORT_KEY_BYTES_MAX

ID_BYTES = 16
INDEX_BIT = 0x8000_0000

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


def keyspace_prefix(keyspace: int) -> bytes:
    """The four bytes that every key of a table's documents or of an index begins with."""
    return _U32.pack(keyspace)


def keyspace_of(key: bytes) -> int:
    """The table or index number of a stored key."""
    return int(_U32.unpack_from(key)[0])


def document_key(table: int, internal_id: bytes) -> bytes:
    """Key of one document."""
    return _U32.pack(table) + internal_id


def index_entry_key(prefix: bytes, sort_key: bytes, internal_id: bytes) -> bytes:
    """Key of one index entry; a sort key beyond `SORT_KEY_BYTES_MAX` is cut, its order comes from the row then."""
    return prefix + sort_key[:SORT_KEY_BYTES_MAX] + internal_id


def is_cut(entry_key: bytes) -> bool:
    """Whether an index entry's sort key may have been cut, so that equal stored keys can hide different values."""
    return len(entry_key) >= 4 + SORT_KEY_BYTES_MAX + ID_BYTES


def successor(key: bytes) -> bytes:
    """The smallest key after `key` itself."""
    return key + b"\x00"


def prefix_end(prefix: bytes) -> bytes:
    """The smallest key after every key that begins with `prefix`; `prefix` must not be all 0xff."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,))


def encode_ts(ts: int) -> bytes:
    """A commit timestamp as eight bytes whose order is the order of commits."""
    return _U64.pack(ts)


def decode_ts(raw: bytes) -> int:
    """The timestamp in the first eight bytes of a stored document or log key."""
    return int(_U64.unpack_from(raw)[0])
