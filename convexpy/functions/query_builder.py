"""`ctx.db.query("messages").with_index(…).order("desc").filter(…).take(10)`: a lazy, single-use read.

Nothing is read before a consumer (`collect`, `take`, `first`, `unique`, `paginate`, iteration) asks, and only what it
consumes is read and recorded. Texts: runtime-semantics 2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

from convexpy.errors import QueryError
from convexpy.functions.filter_expressions import FilterBuilder, as_expression, matches
from convexpy.functions.index_range_builder import ANY_ID, BY_CREATION_TIME, BY_ID, IndexRangeBuilder
from convexpy.functions.pagination import PageReader, PaginationHost
from convexpy.transactions.catalog_entries import IndexInfo, TableInfo, pending_name
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.transaction import Transaction
from convexpy.values import decode_id

Document = dict[str, Any]


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
        self._descriptions: list[str] = []  # of the conditions, for cursors
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
        expression = as_expression(build(FilterBuilder()))
        query._conditions.append(lambda document: matches(expression, document))
        query._descriptions.append(expression.description)
        return query

    def where(self, predicate: Callable[[Document], bool]) -> Query:
        """Like `filter`, with a Python function."""
        query = self._chain()
        query._conditions.append(lambda document: bool(predicate(document)))
        query._descriptions.append("where")
        return query

    def _chain(self) -> Query:
        self._use("chained")
        query = Query(self._transaction, self._table, self._name, self._host, self._present)
        query._index_name, query._range = self._index_name, self._range
        query._descending = self._descending
        query._conditions, query._descriptions = [*self._conditions], [*self._descriptions]
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

    def take(self, n: float) -> list[Document]:
        """The first `n`, fewer where there are fewer; nothing beyond them is read."""
        if type(n) is float and n.is_integer():
            n = int(n)  # an argument annotated `float`
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
        table = self._table
        if table is None:
            index, bounds, ids = self._index(), IndexBounds(), ANY_ID
        else:
            index, bounds, ids = self._range_to_read()
        asked = (
            f"{self._name}|{self._index_name}|{index.fields}|{bool(self._descending)}|"
            f"{'' if self._range is None else self._range.described()}|{'|'.join(self._descriptions)}"
        )
        reader = PageReader(self._host, asked, index, bounds, ids, bool(self._descending))
        return reader.read(options, self._transaction, table, self._visible)

    def __aiter__(self) -> Self:
        raise QueryError("ctx.db is synchronous: use `for`, not `async for`.")

    # --- rows

    def _documents(self) -> Iterator[Document]:
        table = self._table
        if table is None:
            return
        index, bounds, ids = self._range_to_read()
        rows: Iterator[Document]
        if index is BY_ID:
            rows = self._transaction.scan_by_id(table, *ids, bool(self._descending))
        else:
            rows = self._transaction.scan(table, index, bounds, bool(self._descending))
        for row in rows:
            document = self._visible(row) if index is BY_ID or _has_id_between(row, ids) else None
            if document is not None:
                yield document

    def _range_to_read(self) -> tuple[IndexInfo, IndexBounds, tuple[bytes, bytes]]:
        """The index, its sort keys, and the internal ids that this query is about."""
        index = self._index()
        if self._range is None:
            return index, IndexBounds(), ANY_ID
        bounds = self._range.bounds(index)
        return index, bounds, ANY_ID if self._table is None else self._range.id_bounds(self._table.number)

    def _visible(self, row: Document) -> Document | None:
        document = row if self._present is None else self._present(row)
        if document is None or not all(condition(document) for condition in self._conditions):
            return None
        return document

    def _index(self) -> IndexInfo:
        name = self._index_name or "by_creation_time"
        if name == "by_id":
            return BY_ID
        if self._table is None:
            return BY_CREATION_TIME if name == "by_creation_time" else IndexInfo(name, 0, (), "ready")
        index = self._table.indexes.get(name) or self._table.indexes.get(pending_name(name))
        label = f"{self._name}.{name}"
        if index is None or (self._present is not None and name != "by_creation_time"):
            raise QueryError(f"Index {label} not found.")
        if index.state == "backfilling":
            raise QueryError(f"Index {label} is currently backfilling and not available to query yet.")
        if index.state == "staged":
            raise QueryError(f"Index {label} is currently staged and not available to query until it is enabled")
        return index


def _has_id_between(row: Document, ids: tuple[bytes, bytes]) -> bool:
    return ids == ANY_ID or ids[0] <= decode_id(row["_id"])[1] < ids[1]
