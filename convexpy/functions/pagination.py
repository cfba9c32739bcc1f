"""Pages of a query that stay gapless while rows come and go.

A cursor names a position "just after this row" in one query's order; it is bound to that query by a fingerprint and
signed, so a client cannot make one up. A page covers the half-open range (cursor, end]; where it ended is the query's
journal: a rerun with the journal covers the same range again. Source: wire-protocol 7, runtime-semantics 2.8.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from convexpy.errors import ConvexError, QueryError
from convexpy.storage.keys import ID_BYTES
from convexpy.transactions.catalog_entries import IndexInfo, TableInfo
from convexpy.transactions.index_keys import ABOVE, IndexBounds, sort_key_of
from convexpy.transactions.transaction import Transaction
from convexpy.values import decode_id

Document = dict[str, Any]

PAGE_ITEMS_MAX = 32_000
SPLIT_ITEMS = 6144  # more results than this and the client is advised to split the page
_END = b"\xff"
_SIGNATURE_BYTES = 12


class InvalidCursor(ConvexError):
    """A cursor that is not of this query; clients start again at the first page."""

    def __init__(self) -> None:
        super().__init__({"isConvexSystemError": True, "paginationError": "InvalidCursor"})

    def __str__(self) -> str:
        return (
            "InvalidCursor: Tried to run a query starting from a cursor, but it looks like this cursor is from a "
            "different query."
        )


class PaginationHost(Protocol):
    """What a run offers to its one paginated query."""

    cursor_secret: bytes
    query_journal: str | None

    def begin_pagination(self) -> None:
        """Refuse a second paginated query, and any in a component."""

    def end_pagination(self, journal: str) -> None:
        """Keep where the page ended."""


class Position(NamedTuple):
    """A row's place: its full sort key and id; `(b"\\xff", b"")` is the end of the range."""

    sort_key: bytes
    internal_id: bytes


class PageReader:
    """Reads one page of one query."""

    def __init__(
        self, host: PaginationHost, table: str, index: str | None, bounds: IndexBounds, descending: bool
    ) -> None:
        self._host = host
        self._bounds = bounds
        self._descending = descending
        described = f"{table}|{index}|{bounds.start.hex()}|{bounds.end.hex()}|{descending}"
        self._fingerprint = hashlib.sha256(described.encode()).digest()[:8]

    def read(
        self,
        options: dict[str, Any],
        transaction: Transaction,
        table: TableInfo | None,
        index: IndexInfo | None,
        visible: Callable[[Document], Document | None],
    ) -> dict[str, Any]:
        """Read the page that `options` ask for; see `Query.paginate`."""
        self._host.begin_pagination()
        wanted = _item_count(options.get("numItems"))
        cursor = options.get("cursor")
        end_cursor = options.get("endCursor") or self._host.query_journal
        after = None if cursor is None else self._decode(cursor)
        until = None if end_cursor is None else self._decode(end_cursor)
        rows_max = options.get("maximumRowsRead")
        bytes_max = options.get("maximumBytesRead")
        page: list[Document] = []
        positions: list[Position] = []
        status: str | None = None
        last: Position = after or Position(b"", b"")
        is_done = True
        bytes_before = transaction.usage.bytes_read
        for position, row in self._rows(transaction, table, index, after, until):
            last = position
            positions.append(position)
            document = visible(row)
            if document is not None:
                page.append(document)
            if until is None:
                if len(page) >= wanted:
                    is_done = False
                    break
                if (rows_max is not None and len(positions) >= rows_max) or (
                    bytes_max is not None and transaction.usage.bytes_read - bytes_before >= bytes_max
                ):
                    is_done, status = False, "SplitRequired"
                    break
        if until is not None:
            is_done, last = until.sort_key == _END, until
        elif is_done:
            last = Position(_END, b"")
        if status is None and len(page) > SPLIT_ITEMS:
            status = "SplitRecommended"
        continue_cursor = self._encode(last)
        self._host.end_pagination(continue_cursor)
        split = self._encode(positions[len(positions) // 2]) if status and len(positions) > 2 else None
        return {
            "page": page,
            "isDone": is_done,
            "continueCursor": continue_cursor,
            "splitCursor": split,
            "pageStatus": status,
        }

    def _rows(
        self,
        transaction: Transaction,
        table: TableInfo | None,
        index: IndexInfo | None,
        after: Position | None,
        until: Position | None,
    ) -> Iterator[tuple[Position, Document]]:
        if table is None or (after is not None and after.sort_key == _END):
            return
        low, high = (until, after) if self._descending else (after, until)
        start = self._bounds.start if low is None or low.sort_key == _END else max(self._bounds.start, low.sort_key)
        end = self._bounds.end
        if high is not None and high.sort_key != _END:
            end = min(end, high.sort_key + ABOVE)
        if index is None:
            first = b"" if low is None or low.sort_key == _END else low.internal_id
            last = b"\xff" * (ID_BYTES + 1) if high is None or high.sort_key == _END else high.internal_id + b"\x00"
            rows = transaction.scan_by_id(table, first, last, self._descending)
        else:
            rows = transaction.scan(table, index, IndexBounds(start, end), self._descending)
        for row in rows:
            position = _position(index, row)
            if after is not None and _is_at_or_before(position, after, self._descending):
                continue
            if until is not None and until.sort_key != _END and _is_after(position, until, self._descending):
                return
            yield position, row

    def _encode(self, position: Position) -> str:
        body = self._fingerprint + position.internal_id.ljust(ID_BYTES, b"\x00") + position.sort_key
        return base64.urlsafe_b64encode(self._sign(body) + body).decode().rstrip("=")

    def _decode(self, cursor: Any) -> Position:
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (TypeError, ValueError) as error:
            raise InvalidCursor from error
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(body)) or body[:8] != self._fingerprint:
            raise InvalidCursor
        sort_key = body[8 + ID_BYTES :]
        return Position(sort_key, b"" if sort_key == _END else body[8 : 8 + ID_BYTES])

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._host.cursor_secret, body, "sha256")[:_SIGNATURE_BYTES]


def _item_count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        raise QueryError(f"paginate() needs `numItems`, a positive integer, not {value!r}.")
    if value < 1:
        raise QueryError("Must request at least 1 document while paginating")
    if value > PAGE_ITEMS_MAX:
        raise QueryError(f"Requested too many items: {int(value)}, at most {PAGE_ITEMS_MAX} are possible.")
    return int(value)


def _position(index: IndexInfo | None, row: Document) -> Position:
    internal_id = decode_id(row["_id"])[1]
    return Position(b"" if index is None else sort_key_of(index, row), internal_id)


def _is_after(position: Position, other: Position, descending: bool) -> bool:
    return position < other if descending else position > other


def _is_at_or_before(position: Position, other: Position, descending: bool) -> bool:
    return not _is_after(position, other, descending)
