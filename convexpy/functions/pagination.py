"""Pages of a query that stay gapless while rows come and go.

A cursor names a position "just after this row" in one query's order. It is bound to that query by a fingerprint, signed
so that a client cannot make one up, and encrypted, for the row may be one that the client was not shown. A page covers
the half-open range (cursor, end]; where it ended is the query's journal: a rerun with the journal covers the same range
again. Source: wire-protocol 7, runtime-semantics 2.8.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from convexpy.errors import ConvexError, QueryError
from convexpy.functions.index_range_builder import BY_ID
from convexpy.storage.keys import ID_BYTES
from convexpy.transactions.catalog_entries import IndexInfo, TableInfo
from convexpy.transactions.index_keys import IndexBounds, above_whole, sort_key_of
from convexpy.transactions.transaction import Transaction
from convexpy.values import decode_id

Document = dict[str, Any]

PAGE_ITEMS_MAX = 32_000
SPLIT_ITEMS = 6144  # more results than this and the client is advised to split the page
_END = b"\xff"
SPLIT_SHARE = 0.75  # of a cap on what is read: beyond it, likewise
_SIGNATURE_BYTES = 16


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
    """Reads one page of one query.

    Args:
        asked: what the query is, in a text that no other query has; cursors are bound to it.
        index: `BY_ID` for the documents' own order.
        bounds: sort keys that the page lies in; whole ones for `BY_ID`.
        ids: internal ids that rows of the page have.
    """

    def __init__(
        self,
        host: PaginationHost,
        asked: str,
        index: IndexInfo,
        bounds: IndexBounds,
        ids: tuple[bytes, bytes],
        descending: bool,
    ) -> None:
        self._host = host
        self._index = index
        self._bounds = bounds
        self._ids = ids
        self._descending = descending
        self._fingerprint = hashlib.sha256(asked.encode()).digest()[:8]

    def read(
        self,
        options: dict[str, Any],
        transaction: Transaction,
        table: TableInfo | None,
        visible: Callable[[Document], Document | None],
    ) -> dict[str, Any]:
        """Read the page that `options` ask for; see `Query.paginate`."""
        self._host.begin_pagination()
        if not isinstance(options, dict):
            raise QueryError(f"paginate() takes an object of options such as {{'numItems': 10}}, not {options!r}.")
        wanted = _item_count(options.get("numItems"))
        rows_max, bytes_max = _cap(options, "maximumRowsRead"), _cap(options, "maximumBytesRead")
        cursor = options.get("cursor")
        end_cursor = options.get("endCursor") or self._host.query_journal
        after = None if cursor is None else self._decode(cursor)
        until = None if end_cursor is None else self._decode(end_cursor)
        page: list[Document] = []
        positions: list[Position] = []
        last: Position | None = None
        is_capped = False
        bytes_before = transaction.usage.bytes_read
        for position, row in self._rows(transaction, table, after, until):
            positions.append(position)
            document = visible(row)
            if document is not None:
                page.append(document)
            is_capped = until is None and (
                len(positions) >= rows_max or transaction.usage.bytes_read - bytes_before >= bytes_max
            )
            if until is None and (len(page) >= wanted or is_capped):
                last = position
                break
        if last is None:  # all rows of the range
            last = until or Position(_END, b"")
        # A hook shows nothing of a page that must be split until it is, so that is said only of what can be.
        can_split = len(positions) > 2
        status = None
        if can_split and is_capped:
            status = "SplitRequired"
        elif can_split and (
            len(page) > SPLIT_ITEMS
            or len(positions) > rows_max * SPLIT_SHARE
            or transaction.usage.bytes_read - bytes_before > bytes_max * SPLIT_SHARE
        ):
            status = "SplitRecommended"
        continue_cursor = self._encode(last)
        self._host.end_pagination(continue_cursor)
        return {
            "page": page,
            "isDone": last.sort_key == _END,
            "continueCursor": continue_cursor,
            "splitCursor": self._encode(positions[(len(positions) - 1) // 2]) if can_split else None,
            "pageStatus": status,
        }

    def _rows(
        self, transaction: Transaction, table: TableInfo | None, after: Position | None, until: Position | None
    ) -> Iterator[tuple[Position, Document]]:
        if table is None or (after is not None and after.sort_key == _END):
            return
        if until is not None and until.sort_key == _END:
            until = None
        low, high = (until, after) if self._descending else (after, until)
        if self._index is BY_ID:
            first = self._ids[0] if low is None else max(self._ids[0], low.internal_id)
            last = self._ids[1] if high is None else min(self._ids[1], high.internal_id + b"\x00")
            rows = transaction.scan_by_id(table, first, last, self._descending)
        else:
            start, end = self._bounds
            start = start if low is None else max(start, low.sort_key)
            end = end if high is None else min(end, above_whole(high.sort_key))
            rows = transaction.scan(table, self._index, IndexBounds(start, end), self._descending)
        for row in rows:
            position = _position(self._index, row)
            if not self._ids[0] <= position.internal_id < self._ids[1]:
                continue
            if after is not None and not _is_after(position, after, self._descending):
                continue
            if until is not None and _is_after(position, until, self._descending):
                return
            yield position, row

    def _encode(self, position: Position) -> str:
        body = self._fingerprint + position.internal_id.ljust(ID_BYTES, b"\x00") + position.sort_key
        signature = self._sign(body)
        return base64.urlsafe_b64encode(signature + self._masked(body, signature)).decode().rstrip("=")

    def _decode(self, cursor: Any) -> Position:
        try:
            raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (TypeError, ValueError) as error:
            raise InvalidCursor from error
        signature = raw[:_SIGNATURE_BYTES]
        body = self._masked(raw[_SIGNATURE_BYTES:], signature)
        if not hmac.compare_digest(signature, self._sign(body)) or body[:8] != self._fingerprint:
            raise InvalidCursor
        sort_key = body[8 + ID_BYTES :]
        return Position(sort_key, b"" if sort_key == _END else body[8 : 8 + ID_BYTES])

    def _masked(self, body: bytes, signature: bytes) -> bytes:
        """Encrypt or decrypt. The signature of the plain text is the nonce (as in RFC 5297), so that equal positions
        have equal cursors, and different ones never share a mask."""
        mask = hashlib.shake_256(b"cursor mask" + self._host.cursor_secret + signature).digest(len(body))
        return (int.from_bytes(body, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(body), "big")

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._host.cursor_secret, body, "sha256")[:_SIGNATURE_BYTES]


def _item_count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise QueryError(f"paginate() needs `numItems`, a positive integer, not {value!r}.")
    if value < 1:
        raise QueryError("Must request at least 1 document while paginating")
    if value > PAGE_ITEMS_MAX:
        raise QueryError(f"Requested too many items: {value:.0f}, at most {PAGE_ITEMS_MAX} are possible.")
    return int(value)


def _cap(options: dict[str, Any], name: str) -> float:
    value = options.get(name)
    if value is None:
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise QueryError(f"paginate() takes a number, 0 or more, as `{name}`, not {value!r}.")
    return value


def _position(index: IndexInfo, row: Document) -> Position:
    internal_id = decode_id(row["_id"])[1]
    return Position(b"" if index is BY_ID else sort_key_of(index, row), internal_id)


def _is_after(position: Position, other: Position, descending: bool) -> bool:
    return position < other if descending else position > other
