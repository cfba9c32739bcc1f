"""Pages of a query: where they begin and end, what ends them early, and which cursors they take."""

from __future__ import annotations

from typing import Any

import pytest

from convexpy import ConvexpyError, MutationCtx
from convexpy.functions.pagination import PAGE_ITEMS_MAX, InvalidCursor
from convexpy.testing import TestBackend

ROWS = [f"{number:02d}" for number in range(9)]


@pytest.fixture
def notes(backend: TestBackend) -> TestBackend:
    """A deployment whose table `notes` has ROWS, in order."""
    backend.run(lambda ctx: [ctx.db.insert("notes", {"name": name}) for name in ROWS] and None)
    return backend


def page(backend: TestBackend, *, order: Any = "asc", **options: Any) -> dict[str, Any]:
    """One page, its rows by their names."""

    def read(ctx: MutationCtx) -> dict[str, Any]:
        found = ctx.db.query("notes").order(order).paginate({"cursor": None, **options})
        return {**found, "page": [row["name"] for row in found["page"]]}

    return backend.run(read)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("size", [1, 2, len(ROWS), len(ROWS) + 1])
def test_a_walk_meets_each_row_once_and_is_done_where_no_row_was_left(
    notes: TestBackend, size: int, order: str
) -> None:
    pages = [page(notes, numItems=size, order=order)]
    while not pages[-1]["isDone"]:
        pages.append(page(notes, numItems=size, order=order, cursor=pages[-1]["continueCursor"]))

    assert [name for each in pages for name in each["page"]] == (ROWS if order == "asc" else ROWS[::-1])
    assert [len(each["page"]) for each in pages[:-1]] == [size] * (len(pages) - 1)
    assert len(pages[-1]["page"]) == len(ROWS) % size, "a page that the last row fills is not known to be the last"
    beyond = page(notes, numItems=size, order=order, cursor=pages[-1]["continueCursor"])
    assert (beyond["page"], beyond["isDone"]) == ([], True)


def test_a_page_with_an_end_has_all_rows_up_to_there_however_few_are_asked_for(notes: TestBackend) -> None:
    first = page(notes, numItems=4)

    again = page(notes, numItems=1, maximumRowsRead=1, endCursor=first["continueCursor"])

    assert {**again, "pageStatus": None} == first
    assert again["pageStatus"] == "SplitRecommended", "it is beyond a cap that its first run would have kept"
    middle = page(notes, numItems=1, cursor=first["splitCursor"], endCursor=first["continueCursor"])
    start = page(notes, numItems=1, endCursor=first["splitCursor"])
    assert start["page"] + middle["page"] == first["page"]
    assert (len(start["page"]), middle["isDone"]) == (2, False)


def test_a_cap_on_what_is_read_ends_a_page_early_and_never_before_its_first_row(notes: TestBackend) -> None:
    capped = page(notes, numItems=8, maximumRowsRead=4)
    assert (capped["page"], capped["isDone"], capped["pageStatus"]) == (ROWS[:4], False, "SplitRequired")
    assert page(notes, numItems=8, cursor=capped["continueCursor"])["page"] == ROWS[4:]

    for caps in ({"maximumRowsRead": 1}, {"maximumRowsRead": 0}, {"maximumBytesRead": 1}, {"maximumBytesRead": 0}):
        seen, cursor, is_done = [], None, False
        while not is_done:
            found = page(notes, numItems=8, cursor=cursor, **caps)
            assert (found["splitCursor"], found["pageStatus"]) == (None, None), "of one row there are no halves"
            seen += found["page"]
            cursor, is_done = found["continueCursor"], found["isDone"]
        assert seen == ROWS, caps


def test_a_page_that_is_near_its_cap_had_better_be_split(notes: TestBackend) -> None:
    assert page(notes, numItems=4, maximumRowsRead=5)["pageStatus"] == "SplitRecommended"
    assert page(notes, numItems=3, maximumRowsRead=5)["pageStatus"] is None


def test_a_row_that_was_chosen_by_nobody_still_counts_as_read(notes: TestBackend) -> None:
    def read(ctx: MutationCtx) -> dict[str, Any]:
        rare = ctx.db.query("notes").filter(lambda q: q.eq(q.field("name"), "08"))
        return rare.paginate({"cursor": None, "numItems": 1, "maximumRowsRead": 4})

    found = notes.run(read)

    assert (found["page"], found["isDone"], found["pageStatus"]) == ([], False, "SplitRequired")


def test_a_cursor_belongs_to_its_query(notes: TestBackend) -> None:
    cursor = page(notes, numItems=2)["continueCursor"]
    flipped = ("B" if cursor[0] == "A" else "A") + cursor[1:]

    for order, given in (("desc", cursor), ("asc", flipped), ("asc", "nonsense"), ("asc", ""), ("asc", "\N{SNOWMAN}")):
        for name in ("cursor", "endCursor") if given else ("cursor",):
            with pytest.raises(InvalidCursor, match="it looks like this cursor is from a different query") as refused:
                page(notes, numItems=2, order=order, **{name: given})
            assert refused.value.data == {"isConvexSystemError": True, "paginationError": "InvalidCursor"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"numItems": 0}, "Must request at least 1 document while paginating"),
        ({"numItems": -1}, "Must request at least 1 document while paginating"),
        ({"numItems": PAGE_ITEMS_MAX + 1}, "Requested too many items"),
        ({"numItems": 1.5}, "a positive integer, not 1.5"),
        ({"numItems": float("inf")}, "a positive integer, not inf"),
        ({"numItems": True}, "a positive integer, not True"),
        ({}, "a positive integer, not None"),
        ({"numItems": 1, "maximumRowsRead": -1}, "0 or more, as `maximumRowsRead`, not -1"),
        ({"numItems": 1, "maximumBytesRead": "9"}, "0 or more, as `maximumBytesRead`, not '9'"),
    ],
)
def test_wrong_options_are_told(notes: TestBackend, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConvexpyError, match=text):
        page(notes, **options)


def test_a_function_has_one_paginated_query(notes: TestBackend) -> None:
    def read_two(ctx: MutationCtx) -> None:
        for _ in range(2):
            ctx.db.query("notes").paginate({"cursor": None, "numItems": 1})

    with pytest.raises(ConvexpyError, match="ran multiple paginated queries"):
        notes.run(read_two)
