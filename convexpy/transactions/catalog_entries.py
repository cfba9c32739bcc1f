"""What is known of one table and of one index."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from convexpy.storage.keys import keyspace_prefix
from convexpy.values import Validator

IndexState = Literal["ready", "backfilling", "staged"]
_PENDING = " (pending)"  # no code can say such a name, and the running code may have an index of the same one


@dataclass(frozen=True)
class IndexInfo:
    """An index: entries are sorted by `fields`, then `_creationTime`, then the document id.

    `fields` are dotted paths into the document; `_creationTime` is not listed. A backfilling or staged index is
    maintained by every write, but may not be read. A backfilling one belongs to a push that has not switched yet, and
    goes by its `pending_name`. A sparse one leaves out documents that lack its first field.
    """

    name: str
    keyspace: int
    fields: tuple[str, ...]
    state: IndexState
    is_sparse: bool = False

    @cached_property
    def prefix(self) -> bytes:
        return keyspace_prefix(self.keyspace)

    @property
    def declared_name(self) -> str:
        """As the schema says it, whether it is pending or not."""
        return self.name.removesuffix(_PENDING)

    @property
    def is_pending(self) -> bool:
        """Whether it is of a push that has not switched yet."""
        return self.name.endswith(_PENDING)

    @cached_property
    def top_fields(self) -> tuple[str, ...]:
        """The fields of the document itself in which `fields` lie."""
        return tuple(path[0] for path in self.paths)

    @cached_property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """`fields` split at their dots."""
        return tuple(tuple(path.split(".")) for path in self.fields)


def pending_name(name: str) -> str:
    """What an index that the schema calls `name` is called until its push switches."""
    return name + _PENDING


@dataclass(frozen=True)
class PendingSchema:
    """What documents of a table must match once a push under way has switched.

    `push` is the id of its row in `_pushes`. Who writes what does not match writes it, and thereby fails that push.
    """

    push: str
    validator: Validator


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
    pending_schema: PendingSchema | None = None

    @cached_property
    def prefix(self) -> bytes:
        return keyspace_prefix(self.keyspace)

    @cached_property
    def is_system(self) -> bool:
        return self.row_id == b""
