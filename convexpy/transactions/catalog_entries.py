"""What is known of one table and of one index."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from convexpy.storage.keys import keyspace_prefix

IndexState = Literal["ready", "backfilling", "staged"]


@dataclass(frozen=True)
class IndexInfo:
    """An index: entries are sorted by `fields`, then `_creationTime`, then the document id.

    `fields` are dotted paths into the document; `_creationTime` is not listed. A backfilling or staged index is
    maintained by every write, but may not be read. A sparse one leaves out documents that lack its first field.
    """

    name: str
    keyspace: int
    fields: tuple[str, ...]
    state: IndexState
    is_sparse: bool = False

    @cached_property
    def prefix(self) -> bytes:
        return keyspace_prefix(self.keyspace)

    @cached_property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """`fields` split at their dots."""
        return tuple(tuple(path.split(".")) for path in self.fields)


@dataclass(frozen=True)
class TableInfo:
    """A table of one component instance (`namespace`), or of the platform (`SYSTEM_NAMESPACE`).

    `keyspace` is unique in the deployment; `number` is what its document ids carry, unique in its namespace.
    """

    namespace: int
    name: str
    keyspace: int
    number: int
    indexes: dict[str, IndexInfo] = field(hash=False)
    row_id: bytes = b""  # id of its row in `_tables`; empty for the platform's own

    @cached_property
    def prefix(self) -> bytes:
        return keyspace_prefix(self.keyspace)

    @cached_property
    def is_system(self) -> bool:
        return self.row_id == b""
