"""Finds what is stored under numbers that the catalog does not know: all that is left of a dropped index or a table.

A commit that drops an index or deletes a table only takes it out of the catalog; its entries and documents go
afterwards, in portions. Numbers are never given out twice, so whatever the catalog does not know may go, whoever was
interrupted when.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from convexpy.storage.keys import keyspace_of, keyspace_prefix, prefix_end
from convexpy.transactions.catalog import Catalog
from convexpy.transactions.past_snapshot import AnySnapshot

_LAST = b"\xff" * 600


def first_leftover(snapshot: AnySnapshot, catalog: Catalog, from_keyspace: int) -> int | None:
    """The lowest number from `from_keyspace` on that has documents or entries and no place in the catalog.

    Costs one look a number that is in use, however much is stored under it.
    """
    known = catalog.by_keyspace.keys() | catalog.by_index_keyspace.keys()
    stored = chain(_document_keyspaces(snapshot, from_keyspace), _index_keyspaces(snapshot, from_keyspace))
    return next((keyspace for keyspace in stored if keyspace not in known), None)


def _document_keyspaces(snapshot: AnySnapshot, from_keyspace: int) -> Iterator[int]:
    start = keyspace_prefix(from_keyspace)
    while (found := next(iter(snapshot.document_entries(start, _LAST, False)), None)) is not None:
        yield keyspace_of(found[0])
        start = prefix_end(found[0][:4])


def _index_keyspaces(snapshot: AnySnapshot, from_keyspace: int) -> Iterator[int]:
    start = keyspace_prefix(from_keyspace)
    while (found := next(iter(snapshot.index_keys(start, _LAST, False)), None)) is not None:
        yield keyspace_of(found)
        start = prefix_end(found[:4])
