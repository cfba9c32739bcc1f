"""What the database should do, in plain Python: dicts that are copied, filtered and sorted. Nothing of the engine."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any, Literal

MISSING = object()
Document = dict[str, Any]
Filter = tuple[str, Literal["gt", "eq", "lte"], Any]  # a field by dotted path, compared with a value


@dataclass
class Read:
    """One read: a range of an index, an order, a filter, and how much of it is taken."""

    table: str
    index: str = "by_creation_time"
    equal: tuple[Any, ...] = ()
    low: tuple[Any, bool] | None = None  # value, inclusive
    high: tuple[Any, bool] | None = None
    descending: bool = False
    filter: Filter | None = None
    take: int | None = None


@dataclass
class Table:
    """Documents by id, and the fields of the indexes."""

    indexes: dict[str, list[str]]
    rows: dict[str, Document] = field(default_factory=dict)


def place(value: Any) -> tuple[Any, ...]:
    """A tuple whose order is the order of values; missing first."""
    if value is MISSING:
        return (0,)
    if value is None:
        return (1,)
    if isinstance(value, bool):
        return (4, value)
    if type(value) is int or type(value) is float:
        number = float(value)
        sign = math.copysign(1, number)
        if math.isnan(number):
            return (3, sign * 2, 0.0, 0.0)
        return (3, 0, number, sign if number == 0 else 0.0)
    if isinstance(value, int):
        return (2, int(value))  # Int64
    if isinstance(value, str):
        return (5, value)
    if isinstance(value, bytes):
        return (6, value)
    if isinstance(value, list):
        return (7, [place(item) for item in value])
    return (8, [(name, place(value[name])) for name in sorted(value)])


def at(document: Document, path: str) -> Any:
    """A field by dotted path; a step that is missing or no object leads to nothing."""
    found: Any = document
    for name in path.split("."):
        found = found.get(name, MISSING) if isinstance(found, dict) else MISSING
    return found


class Database:
    """Tables as one transaction sees them."""

    def __init__(self, indexes: dict[str, dict[str, list[str]]]) -> None:
        self.tables = {name: Table(copy.deepcopy(own)) for name, own in indexes.items()}

    def copy(self) -> Database:
        return copy.deepcopy(self)

    def key(self, read: Read, document: Document) -> list[tuple[Any, ...]]:
        """Where a document stands in an index."""
        fields = self.fields(read)
        return [place(at(document, path)) for path in fields]

    def fields(self, read: Read) -> list[str]:
        if read.index == "by_id":
            return ["_id"]
        declared = [] if read.index == "by_creation_time" else self.tables[read.table].indexes[read.index]
        return [*declared, "_creationTime", "_id"]

    def in_range(self, read: Read) -> list[Document]:
        """All documents of the range in order, filtered ones included."""
        rows = list(self.tables[read.table].rows.values())
        rows.sort(key=lambda row: self.key(read, row), reverse=read.descending)
        return [row for row in rows if self._is_in_range(read, row)]

    def _is_in_range(self, read: Read, row: Document) -> bool:
        key = self.key(read, row)
        prefix = [place(value) for value in read.equal]
        if key[: len(prefix)] != prefix:
            return False
        if len(prefix) == len(key):
            return True
        own = key[len(prefix)]
        if read.low is not None and (own < place(read.low[0]) or (own == place(read.low[0]) and not read.low[1])):
            return False
        if read.high is None:
            return True
        return own < place(read.high[0]) or (own == place(read.high[0]) and read.high[1])

    def passes(self, read: Read, row: Document) -> bool:
        """Whether the filter lets a document through."""
        if read.filter is None:
            return True
        path, comparison, value = read.filter
        found, wanted = place(at(row, path)), place(value)
        return {"gt": found > wanted, "eq": found == wanted, "lte": found <= wanted}[comparison]

    def read(self, read: Read) -> list[Document]:
        """What the read gives."""
        return [row for row in self.in_range(read) if self.passes(read, row)][: read.take]

    def documents_read(self, read: Read) -> int:
        """How many documents must be looked at for it."""
        if read.take == 0:
            return 0
        found = 0
        rows = self.in_range(read)
        for number, row in enumerate(rows, 1):
            found += self.passes(read, row)
            if found == read.take:
                return number
        return len(rows)
