"""Pages of a query: where they begin and end, what ends them early, and which cursors they take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from convexpy import ConvexpyError, MutationCtx
from convexpy.functions.pagination import PAGE_ITEMS_MAX, InvalidCursor
from convexpy.runtime.interface import FunctionRequest, Outcome
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


# --- journals

SCHEMA = """
from convexpy import define_schema, define_table, v

schema = define_schema({"names": define_table({"name": v.string()}).index("by_name", ["name"])})
"""
LIST = """
from convexpy import mutation, query

@query
def page(ctx, options):
    return ctx.db.query("names").with_index("by_name").order(options.pop("order")).paginate(options)

@query
def nothing(ctx):
    return []

@mutation
def add(ctx, names):
    for name in names:
        ctx.db.insert("names", {"name": name})
"""


@pytest.fixture
def names(write_project: Any) -> Iterator[TestBackend]:
    """A deployment whose table `names` has "b", "d", "f" and "h"."""
    project = write_project(schema=SCHEMA, names=LIST)
    with TestBackend(project) as backend:
        backend.mutation("names:add", {"names": ["b", "d", "f", "h"]})
        yield backend


def subscribe(backend: TestBackend, journal: str | None, *, path: str = "names:page", **options: Any) -> Outcome:
    """A run of the query for one who holds `journal` of it."""
    args = {"options": {"order": "asc", "cursor": None, "numItems": 2, **options}} if path == "names:page" else {}
    encoded = json.dumps(args).encode()
    return backend.perform("query", FunctionRequest(path=path, args=encoded, journal=journal, caller="Test"))


def shown(outcome: Outcome) -> list[str]:
    assert outcome.ok, outcome.error
    return [row["name"] for row in json.loads(outcome.value)["page"]]


@pytest.mark.parametrize(
    ("order", "starts_after", "size", "before", "after"),
    [
        ("asc", 0, 2, "bd", "abcd"),
        ("asc", 0, 9, "bdfh", "abcdefghi"),
        ("asc", 1, 2, "df", "cdef"),
        ("asc", 1, 9, "dfh", "cdefghi"),
        ("desc", 0, 2, "hf", "ihgf"),
        ("desc", 1, 2, "fd", "gfed"),
        ("desc", 1, 9, "fdb", "gfedcba"),
    ],
)
def test_a_rerun_covers_the_range_of_the_first_run(
    names: TestBackend, order: str, starts_after: int, size: int, before: str, after: str
) -> None:
    """From the start or from a cursor, to the middle or to the end: only what was added inside appears."""
    cursor = None
    if starts_after:
        cursor = json.loads(subscribe(names, None, order=order, numItems=starts_after).value)["continueCursor"]
    first = subscribe(names, None, order=order, cursor=cursor, numItems=size)
    assert shown(first) == list(before)

    names.mutation("names:add", {"names": ["a", "c", "e", "g", "i"]})
    again = subscribe(names, first.journal, order=order, cursor=cursor, numItems=size)

    assert shown(again) == list(after)
    assert again.journal == first.journal
    assert json.loads(again.value)["continueCursor"] == json.loads(first.value)["continueCursor"]
    assert len(shown(subscribe(names, None, order=order, cursor=cursor, numItems=size))) <= size, (
        "anew it is a new page"
    )


def test_a_journal_of_another_query_is_an_invalid_cursor(names: TestBackend) -> None:
    """Hooks know the error by its data, which production sends as well, and start at the first page."""
    journal = subscribe(names, None).journal
    assert journal is not None

    for given, order in ((journal, "desc"), ("nonsense", "asc"), ("", "asc")):
        refused = subscribe(names, given, order=order)
        assert (refused.ok, refused.journal) == (False, None)
        assert json.loads(refused.error_data or b"") == {
            "isConvexSystemError": True,
            "paginationError": "InvalidCursor",
        }


def test_a_query_without_pages_has_no_journal_and_minds_none(names: TestBackend) -> None:
    assert subscribe(names, None, path="names:nothing").journal is None
    assert subscribe(names, "nonsense", path="names:nothing").ok
