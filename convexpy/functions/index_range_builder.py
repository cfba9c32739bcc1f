"""`with_index("by_channel", lambda q: q.eq("channel", c).gt("_creationTime", t))`: the range of an index to read.

Shape: `eq` on a prefix of the index's fields, then at most one lower and one upper bound, both on the next field.
`_creationTime` may be used as the field after the declared ones. A range is described by values; `bounds` turns it into
sort keys. Texts: runtime-semantics 2.4.
"""

from __future__ import annotations

from typing import Any, Self

from convexpy.errors import QueryError
from convexpy.transactions.catalog_entries import IndexInfo
from convexpy.transactions.index_keys import ABOVE, IndexBounds
from convexpy.values import UNSET, check_value, sort_key

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
        """The range as sort keys of `index`.

        Raises:
            QueryError: a field that the index lacks, or fields out of the index's order.
        """
        fields = (*index.fields, "_creationTime")
        bound = self.lower or self.upper
        used = [*self.equalities, *([bound[0]] if bound else [])]
        for field in used:
            if field not in fields:
                raise QueryError(
                    f"Tried to query index {self._label} but the query contains a filter on `{field}`; the index "
                    f"doesn't index this field. Index fields: {_names(fields)}. Add `{field}` to the index, or use "
                    f"`filter`."
                )
        equal_fields = fields[: len(self.equalities)]
        wrong = next((field for field in equal_fields if field not in self.equalities), None)
        if wrong is None and bound is not None and fields[len(equal_fields) :][:1] != (bound[0],):
            wrong = fields[len(equal_fields)] if len(equal_fields) < len(fields) else bound[0]
        if wrong is not None:
            raise QueryError(
                f"Tried to query index {self._label} but the query didn't use the index fields in order. Index "
                f"fields: {_names(fields)}. Query fields: {_names(used)}. First incorrect field: {wrong}. "
                f"For more information see https://docs.convex.dev/using/indexes."
            )
        prefix = b"".join(sort_key(self.equalities[field]) for field in equal_fields)
        start, end = prefix, prefix + ABOVE
        if self.lower is not None:
            start = prefix + sort_key(self.lower[1]) + (b"" if self.lower[2] else ABOVE)
        if self.upper is not None:
            end = prefix + sort_key(self.upper[1]) + (ABOVE if self.upper[2] else b"")
        return IndexBounds(start, end)


def _names(fields: Any) -> str:
    return "[" + ", ".join(f"`{field}`" for field in fields) + "]"


def _checked(value: Any) -> Any:
    """What is no value has no place in the order; an `int` beyond float64 would be taken for its neighbour."""
    if value is not UNSET:
        check_value(value)
    return value
