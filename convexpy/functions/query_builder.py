"""`ctx.db.query("messages").with_index(…).order("desc").filter(…).take(10)`: a lazy, single-use read.

Nothing is read before a consumer (`collect`, `take`, `first`, `unique`, `paginate`, iteration) asks, and only what it
consumes is read and recorded. Texts: runtime-semantics 2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

from convexpy.errors import InvalidId, QueryError
from convexpy.functions.filter_expressions import FilterBuilder, matches
from convexpy.functions.index_range_builder import IndexRangeBuilder
from convexpy.functions.pagination import PageReader, PaginationHost
from convexpy.storage.keys import ID_BYTES
from convexpy.transactions.catalog_entries import IndexInfo, TableInfo
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.transaction import Transaction
from convexpy.values import decode_id, encode_id, sort_key

Document = dict[str, Any]
_WHOLE_ID_RANGE = (b"", b"\xff" * (ID_BYTES + 1))


class Query:
    """One read that is being built.

    Args:
        table: None for a table that does not exist (yet): the read is empty.
        present: turns a stored row into what the user sees; None for user tables.
    """

    def __init__(
        self,
        transaction: Transaction,
        table: TableInfo | None,
        name: str,
        host: PaginationHost,
        present: Callable[[Document], Document | None] | None = None,
    ) -> None:
        self._transaction = transaction
        self._table = table
        self._name = name
        self._host = host
        self._present = present
        self._index_name: str | None = None
        self._range: IndexRangeBuilder | None = None
        self._descending: bool | None = None
        self._conditions: list[Callable[[Document], bool]] = []
        self._state: Literal["open", "chained", "consumed"] = "open"

    # --- building

    def with_index(
        self,
        name: str,
        build: Callable[[IndexRangeBuilder], IndexRangeBuilder] | None = None,
        /,
        **equalities: Any,
    ) -> Query:
        """Read through an index, a range of it, in its order.

        Args:
            build: `lambda q: q.eq("a", 1).gt("b", 2)`.
            equalities: shorthand for `eq` on each, in any order.
        """
        query = self._chain()
        if query._index_name is not None:
            raise QueryError("A query may use one index only.")
        range_builder = IndexRangeBuilder(f"{self._name}.{name}")
        for field, value in equalities.items():
            range_builder.eq(field, value)
        if build is not None:
            range_builder = build(range_builder)
            if not isinstance(range_builder, IndexRangeBuilder):
                raise QueryError("The function given to with_index must return the range: lambda q: q.eq(…)")
        query._index_name, query._range = name, range_builder
        return query

    def order(self, order: Literal["asc", "desc"]) -> Query:
        """Order of the index, or its reverse; once a query."""
        query = self._chain()
        if query._descending is not None:
            raise QueryError("Queries may only specify order at most once")
        if order not in ("asc", "desc"):
            raise QueryError(f'order() takes "asc" or "desc", not {order!r}.')
        query._descending = order == "desc"
        return query

    def filter(self, build: Callable[[FilterBuilder], Any]) -> Query:
        """Let through what matches; every scanned document counts as read. May be repeated: all must match."""
        query = self._chain()
        expression = build(FilterBuilder())
        query._conditions.append(lambda document: matches(expression, document))
        return query

    def where(self, predicate: Callable[[Document], bool]) -> Query:
        """Like `filter`, with a Python function."""
        query = self._chain()
        query._conditions.append(lambda document: bool(predicate(document)))
        return query

    def _chain(self) -> Query:
        self._use("chained")
        query = Query(self._transaction, self._table, self._name, self._host, self._present)
        query._index_name, query._range = self._index_name, self._range
        query._descending, query._conditions = self._descending, [*self._conditions]
        return query

    def _use(self, state: Literal["chained", "consumed"]) -> None:
        if self._state == "chained":
            raise QueryError("This query has been chained with another operator and can't be reused.")
        if self._state == "consumed":
            raise QueryError("Iteration can only begin on a query once.")
        self._state = state

    # --- consuming

    def __iter__(self) -> Iterator[Document]:
        self._use("consumed")
        return self._documents()

    def collect(self) -> list[Document]:
        """All of them."""
        return list(self)

    def take(self, n: int) -> list[Document]:
        """The first `n`, fewer where there are fewer; nothing beyond them is read."""
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise QueryError(f"take() needs a non-negative integer, not {n!r}.")
        self._use("consumed")
        taken: list[Document] = []
        if n == 0:
            return taken
        for document in self._documents():
            taken.append(document)
            if len(taken) == n:
                break
        return taken

    def first(self) -> Document | None:
        """The first one, or None."""
        self._use("consumed")
        return next(self._documents(), None)

    def unique(self) -> Document | None:
        """The only one, or None.

        Raises:
            QueryError: there are two or more.
        """
        self._use("consumed")
        documents = self._documents()
        found = next(documents, None)
        second = next(documents, None)
        if found is not None and second is not None:
            raise QueryError(
                f"unique() query returned more than one result from table {self._name}: "
                f"[{found['_id']}, {second['_id']}, ...]"
            )
        return found

    def paginate(self, options: dict[str, Any]) -> dict[str, Any]:
        """One page: `{"page", "isDone", "continueCursor", "splitCursor", "pageStatus"}`.

        Args:
            options: the wire's `paginationOpts`: `numItems`, `cursor`, and optionally `endCursor`,
                `maximumRowsRead`, `maximumBytesRead`.
        """
        self._use("consumed")
        index = None if self._table is None or self._is_by_id else self._index()
        reader = PageReader(
            self._host, self._name, self._index_name, self._bounds_for_page(index), bool(self._descending)
        )
        return reader.read(options, self._transaction, self._table, index, self._visible)

    def __aiter__(self) -> Self:
        raise QueryError("ctx.db is synchronous: use `for`, not `async for`.")

    # --- rows

    @property
    def _is_by_id(self) -> bool:
        if self._index_name is None:
            return self._table is not None and "by_creation_time" not in self._table.indexes
        return self._index_name == "by_id"

    def _documents(self) -> Iterator[Document]:
        table = self._table
        if table is None:
            return
        if self._is_by_id:
            rows = self._transaction.scan_by_id(table, *self._id_range(table), bool(self._descending))
        else:
            index = self._index()
            bounds = self._range.bounds(index) if self._range else IndexBounds()
            rows = self._transaction.scan(table, index, bounds, bool(self._descending))
        for row in rows:
            document = self._visible(row)
            if document is not None:
                yield document

    def _visible(self, row: Document) -> Document | None:
        document = row if self._present is None else self._present(row)
        if document is None or not all(condition(document) for condition in self._conditions):
            return None
        return document

    def _index(self) -> IndexInfo:
        name = self._index_name or "by_creation_time"
        index = self._table.indexes.get(name) if self._table else None
        label = f"{self._name}.{name}"
        if index is None or (self._present is not None and name != "by_creation_time"):
            raise QueryError(f"Index {label} not found.")
        if index.state == "backfilling":
            raise QueryError(f"Index {label} is currently backfilling and not available to query yet.")
        if index.state == "staged":
            raise QueryError(f"Index {label} is currently staged and not available to query until it is enabled")
        return index

    def _bounds_for_page(self, index: IndexInfo | None) -> IndexBounds:
        if (
            self._is_by_id
            and self._range is not None
            and (self._range.equalities or self._range.lower or self._range.upper)
        ):
            raise QueryError("paginate() over by_id takes the whole table. Use an index for a part of it.")
        return self._range.bounds(index) if index is not None and self._range else IndexBounds()

    def _id_range(self, table: TableInfo) -> tuple[bytes, bytes]:
        if self._range is None:
            return _WHOLE_ID_RANGE
        as_index = IndexInfo("by_id", 0, ("_id",), "ready")
        self._range.bounds(as_index)  # refuses foreign fields with the usual texts
        start, end = _WHOLE_ID_RANGE
        lower, upper = self._range.lower, self._range.upper
        if "_id" in self._range.equalities:
            lower = upper = ("_id", self._range.equalities["_id"], True)
        if lower is not None:
            found = _internal_id(table, lower[1])
            start = found if lower[2] else found + b"\x00"
        if upper is not None:
            found = _internal_id(table, upper[1])
            end = found + b"\x00" if upper[2] else found
        return start, end


def _internal_id(table: TableInfo, value: Any) -> bytes:
    """Where a value falls among a table's ids, which are strings whose order is that of the ids' bytes."""
    try:
        number, internal_id = decode_id(value)
    except (InvalidId, TypeError, AttributeError):
        number, internal_id = -1, b""
    if number == table.number:
        return internal_id
    return b"" if sort_key(value) < sort_key(encode_id(table.number, bytes(ID_BYTES))) else _WHOLE_ID_RANGE[1]
