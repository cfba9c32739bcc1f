"""`with_index("by_channel", lambda q: q.eq("channel", c).gt("_creationTime", t))`: the range of an index to read.

Shape: `eq` on a prefix of the index's fields, then at most one lower and one upper bound, both on the next field.
`_creationTime` and then `_id` may be used as the fields after the declared ones. A range is described by values;
`bounds` turns it into sort keys, `id_bounds` what it says of `_id`. Texts: runtime-semantics 2.4.
"""

from __future__ import annotations

from typing import Any, Self

from convexpy.errors import InvalidId, QueryError
from convexpy.storage.keys import ID_BYTES
from convexpy.transactions.catalog_entries import IndexInfo
from convexpy.transactions.index_keys import ABOVE, IndexBounds, above_whole
from convexpy.values import UNSET, decode_id, encode_id, normalize, sort_key

BY_ID = IndexInfo("by_id", 0, ("_id",), "ready")  # the documents' own order: it has no entries
BY_CREATION_TIME = IndexInfo("by_creation_time", 0, (), "ready")  # of a table that does not exist
ANY_ID = (b"", b"\xff" * (ID_BYTES + 1))
_INEQUALITIES = {"gt": "lower", "gte": "lower", "lt": "upper", "lte": "upper"}


class IndexRangeBuilder:
    """Collects the conditions of one range; `UNSET` is a legal value: documents that lack the field."""

    def __init__(self, label: str) -> None:
        self._label = label
        self.equalities: dict[str, Any] = {}
        self.lower: tuple[str, Any, bool] | None = None  # field, value, inclusive
        self.upper: tuple[str, Any, bool] | None = None

    def eq(self, field: str, value: Any) -> Self:
        """Only documents whose field equals `value`."""
        if self.lower or self.upper:
            raise QueryError(f"Already defined inequality bound in index range. Can't add equality for `{field}`.")
        if field in self.equalities:
            raise QueryError(f"Already defined equality bound in index range. Can't add another one for `{field}`.")
        self.equalities[field] = _checked(value)
        return self

    def gt(self, field: str, value: Any) -> Self:
        """Only documents whose field is above `value`, in the order of all values."""
        return self._bound("lower", field, value, inclusive=False)

    def gte(self, field: str, value: Any) -> Self:
        """Only documents whose field is at least `value`."""
        return self._bound("lower", field, value, inclusive=True)

    def lt(self, field: str, value: Any) -> Self:
        """Only documents whose field is below `value`; a missing field is below everything."""
        return self._bound("upper", field, value, inclusive=False)

    def lte(self, field: str, value: Any) -> Self:
        """Only documents whose field is at most `value`."""
        return self._bound("upper", field, value, inclusive=True)

    def _bound(self, side: str, field: str, value: Any, *, inclusive: bool) -> Self:
        if getattr(self, side) is not None:
            raise QueryError(f"Already defined {side} bound in index range. Can't add another one for `{field}`.")
        setattr(self, side, (field, _checked(value), inclusive))
        if self.lower and self.upper and self.lower[0] != self.upper[0]:
            raise QueryError(
                f"Upper and lower bounds in `range` can only be applied to a single index field. This query against "
                f"index {self._label} attempted to set a lower bound on `{self.lower[0]}` and an upper bound on "
                f"`{self.upper[0]}`. Consider using `filter` on one of these fields."
            )
        return self

    def bounds(self, index: IndexInfo) -> IndexBounds:
        """The range as sort keys of `index`, as far as its fields and `_creationTime` go.

        Raises:
            QueryError: a field that the index lacks, or fields out of the index's order.
        """
        fields = (*index.fields, "_creationTime", "_id") if index is not BY_ID else BY_ID.fields
        self._check_fields(fields)
        keyed = [field for field in fields if field != "_id" and field in self.equalities]
        prefix = b"".join(sort_key(self.equalities[field]) for field in keyed)
        start, end = prefix, _above(prefix, keyed[-1] if keyed else "")
        if self.lower is not None and self.lower[0] != "_id":
            key = prefix + sort_key(self.lower[1])
            start = key if self.lower[2] else _above(key, self.lower[0])
        if self.upper is not None and self.upper[0] != "_id":
            key = prefix + sort_key(self.upper[1])
            end = _above(key, self.upper[0]) if self.upper[2] else key
        return IndexBounds(start, end)

    def id_bounds(self, table_number: int) -> tuple[bytes, bytes]:
        """The internal ids of a table that are in the range: `start <= id < end`."""
        start, end = ANY_ID
        lower, upper = self.lower, self.upper
        if "_id" in self.equalities:
            lower = upper = ("_id", self.equalities["_id"], True)
        if lower is not None and lower[0] == "_id":
            start = _first_id(table_number, lower[1], is_after=not lower[2])
        if upper is not None and upper[0] == "_id":
            end = _first_id(table_number, upper[1], is_after=upper[2])
        return start, end

    def described(self) -> str:
        """The conditions as text that is the same for the same conditions, in whatever order the `eq`s came."""
        conditions = [("eq", field, value, True) for field, value in sorted(self.equalities.items())]
        conditions += [("lower", *self.lower)] if self.lower else []
        conditions += [("upper", *self.upper)] if self.upper else []
        return ";".join(f"{kind} {field} {sort_key(value).hex()} {closed}" for kind, field, value, closed in conditions)

    def _check_fields(self, fields: tuple[str, ...]) -> None:
        bound = self.lower or self.upper
        used = [*self.equalities, *([bound[0]] if bound else [])]
        shown = _names(field for field in fields if field != "_id" or len(fields) == 1)
        for field in used:
            if field not in fields:
                raise QueryError(
                    f"Tried to query index {self._label} but the query contains a filter on `{field}`; the index "
                    f"doesn't index this field. Index fields: {shown}. Add `{field}` to the index, or use "
                    f"`filter`."
                )
        equal_fields = fields[: len(self.equalities)]
        wrong = next((field for field in equal_fields if field not in self.equalities), None)
        if wrong is None and bound is not None and fields[len(equal_fields) :][:1] != (bound[0],):
            wrong = fields[len(equal_fields)] if len(equal_fields) < len(fields) else bound[0]
        if wrong is not None:
            raise QueryError(
                f"Tried to query index {self._label} but the query didn't use the index fields in order. Index "
                f"fields: {shown}. Query fields: {_names(used)}. First incorrect field: {wrong}. "
                f"For more information see https://docs.convex.dev/using/indexes."
            )


def _above(key: bytes, last_field: str) -> bytes:
    """Above every entry whose sort key begins with `key`, which ends with the value of `last_field`."""
    return above_whole(key) if last_field == "_creationTime" else key + ABOVE


def _first_id(table_number: int, value: Any, *, is_after: bool) -> bytes:
    """The first internal id of a table at a value or above it; `is_after`: above it.

    Ids are strings whose order is that of their bytes; a value need not be an id.
    """
    try:
        number, internal_id = decode_id(value)
    except (InvalidId, TypeError):
        number, internal_id = 0, b""
    if number == table_number:
        return internal_id + b"\x00" if is_after else internal_id
    key = sort_key(value)
    low, high = 0, 1 << 8 * ID_BYTES
    while low < high:
        middle = (low + high) // 2
        if sort_key(encode_id(table_number, middle.to_bytes(ID_BYTES, "big"))) < key:
            low = middle + 1
        else:
            high = middle
    return ANY_ID[1] if low >> 8 * ID_BYTES else low.to_bytes(ID_BYTES, "big")


def _names(fields: Any) -> str:
    return "[" + ", ".join(f"`{field}`" for field in fields) + "]"


def _checked(value: Any) -> Any:
    """What is no value has no place in the order; an `int` beyond float64 would be taken for its neighbour.

    A copy, for the range is used later than it is built.
    """
    return value if value is UNSET else normalize(value)
