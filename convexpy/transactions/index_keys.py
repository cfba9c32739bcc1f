"""A document's place in an index, and the part of an index that a range of values covers.

Sort keys concatenate the encoded values of the index's fields and of `_creationTime`. Encoded values are
self-delimiting and no tag reaches 0xff, so `key + 0xff` is above everything that begins with `key`. Behind a whole sort
key there is no tag but, in stored keys, a document id, which may begin with 0xff: `above_whole` is for these.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from convexpy.limits import SORT_KEY_BYTES_MAX
from convexpy.storage.keys import ID_BYTES, prefix_end
from convexpy.transactions.catalog_entries import IndexInfo
from convexpy.values import UNSET, sort_key

ABOVE = b"\xff"
_ABOVE_ANY_ID = b"\xff" * (ID_BYTES + 1)


class IndexBounds(NamedTuple):
    """A half-open range of full (uncut) sort keys: `start <= key < end`."""

    start: bytes = b""
    end: bytes = ABOVE


def sort_key_of(index: IndexInfo, fields: dict[str, Any]) -> bytes:
    """A document's full sort key in an index. A missing or non-object step of a dotted path is a missing value."""
    return key_of_fields(index, fields) + sort_key(fields["_creationTime"])


def key_of_fields(index: IndexInfo, fields: dict[str, Any]) -> bytes:
    """The part of a sort key before `_creationTime`."""
    parts = []
    for path in index.paths:
        value: Any = fields.get(path[0], UNSET)
        for name in path[1:]:
            value = value.get(name, UNSET) if type(value) is dict else UNSET
        parts.append(sort_key(value))
    return b"".join(parts)


def above_whole(key: bytes) -> bytes:
    """The smallest key above all entries whose whole sort key, up to `_creationTime`, is `key`, whatever their ids."""
    return prefix_end(key)


def stored_range(prefix: bytes, bounds: IndexBounds) -> tuple[bytes, bytes]:
    """The stored keys that may hold entries within `bounds`; groups of cut keys are covered whole."""
    start, end = bounds
    if len(end) > SORT_KEY_BYTES_MAX:
        end = end[:SORT_KEY_BYTES_MAX] + _ABOVE_ANY_ID
    return prefix + start[:SORT_KEY_BYTES_MAX], prefix + end


def cut_group_range(entry: bytes) -> tuple[bytes, bytes]:
    """The stored keys of all entries, there or not, whose order against a cut entry only their rows can tell."""
    group = entry[:-ID_BYTES]
    return group, group + _ABOVE_ANY_ID
