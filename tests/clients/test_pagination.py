"""`usePaginatedQuery` of the official React client, while rows come and go under its pages."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Connect
from .driver import Driver, Subscription
from .server import Server


def bodies(pages: Subscription, expected: list[str], status: str) -> None:
    """Wait until the list shows `expected`; every list on the way must be without gap or overlap in itself."""
    while True:
        value = pages.next()
        shown = [row["body"] for row in value["results"]]
        assert shown == sorted(set(shown)), "pages overlap, or are out of order"
        if shown == expected and value["status"] == status:
            return


def load_to_the_end(client: Driver, pages: Subscription, expected: list[str]) -> None:
    """Ask for more until the list is whole; every list on the way must be without gap or overlap in itself."""
    client.load_more(pages, 1000)
    while True:
        value = pages.next()
        shown = [row["body"] for row in value["results"]]
        assert shown == sorted(set(shown)), "pages overlap, or are out of order"
        if value["status"] == "Exhausted" and shown == expected:
            return
        if value["status"] == "CanLoadMore":  # a request that fell into a page's split was not heard
            client.load_more(pages, 1000)


def start(client: Driver, channel: str, rows: list[str], size: int) -> Subscription:
    client.mutation("feed:add", {"channel": channel, "bodies": rows})
    return client.paginate("feed:page", {"channel": channel}, size)


@pytest.fixture
def client(dev_server: Server, connect: Connect) -> Driver:
    return connect("react", dev_server.url)


def test_pages_are_loaded_one_after_the_other_until_there_are_none(client: Driver) -> None:
    rows = [f"{number:03d}" for number in range(0, 70, 10)]
    pages = start(client, "plain", rows, 3)

    bodies(pages, rows[:3], "CanLoadMore")
    client.load_more(pages, 3)
    bodies(pages, rows[:6], "CanLoadMore")
    client.load_more(pages, 3)
    bodies(pages, rows, "Exhausted")


def test_rows_that_come_and_go_leave_no_gap_between_pages(client: Driver) -> None:
    """Within a page, at its very end, and in between two: each row is in one page, and the pages keep their ends."""
    rows = [f"{number:03d}" for number in range(0, 60, 10)]
    pages = start(client, "moving", rows, 3)
    bodies(pages, rows[:3], "CanLoadMore")
    client.load_more(pages, 2)
    bodies(pages, rows[:5], "CanLoadMore")

    client.mutation("feed:add", {"channel": "moving", "bodies": ["005", "021", "029", "041", "099"]})
    with_new = sorted([*rows[:5], "005", "021", "029"])
    bodies(pages, with_new, "CanLoadMore")

    client.mutation("feed:remove", {"channel": "moving", "body": "020"})  # the last row of the first page
    without = [body for body in with_new if body != "020"]
    bodies(pages, without, "CanLoadMore")

    client.load_more(pages, 10)
    bodies(pages, sorted([*without, "041", "050", "099"]), "Exhausted")


def test_a_page_that_has_grown_is_split_and_shows_the_same_rows(client: Driver, dev_server: Server) -> None:
    """The client splits a page that has more than twice its first size; the server says where."""
    rows = [f"{number:03d}" for number in range(0, 100, 20)]
    pages = start(client, "growing", rows, 4)
    bodies(pages, rows[:4], "CanLoadMore")

    more = [f"{number:03d}" for number in range(60) if number % 20]
    for first in range(0, len(more), 10):
        client.mutation("feed:add", {"channel": "growing", "bodies": more[first : first + 10]})
    bodies(pages, sorted([*rows[:4], *more]), "CanLoadMore")

    load_to_the_end(client, pages, sorted([*rows, *more]))
    assert "half a page of growing" in dev_server.output.so_far()


def test_a_page_that_read_too_much_is_shown_in_halves(client: Driver, dev_server: Server) -> None:
    """It ends where its bound was reached; the hook waits for the halves, which have none, and goes on behind them."""
    rows = [f"{number:03d}" for number in range(0, 160, 10)]
    client.mutation("feed:add", {"channel": "capped", "bodies": rows})
    pages = client.paginate("feed:even", {"channel": "capped", "rows": 6}, 5)

    for shown in (rows[0:6:2], rows[0:12:2], rows[0:16:2]):
        bodies(pages, shown, "Exhausted" if shown[-1] == "140" else "CanLoadMore")
        if shown[-1] != "140":
            client.load_more(pages, 5)
    assert "half an incomplete page of capped" in dev_server.output.so_far()

    client.mutation("feed:add", {"channel": "capped", "bodies": ["001", "180"]})
    bodies(pages, [*rows[::2], "180"], "Exhausted")


def test_a_page_that_read_too_much_and_has_no_halves_is_shown_as_it_is(client: Driver) -> None:
    """Of two rows there is nothing to split; a page that had to be would never be shown."""
    client.mutation("feed:add", {"channel": "tight", "bodies": ["000", "020", "030", "050", "060"]})
    pages = client.paginate("feed:even", {"channel": "tight", "rows": 2}, 5)

    bodies(pages, ["000", "020"], "CanLoadMore")
    client.load_more(pages, 5)
    pages.until(lambda value: value["status"] == "CanLoadMore")  # two rows were read, and none of them is even
    client.load_more(pages, 5)
    bodies(pages, ["000", "020", "060"], "Exhausted")


def test_random_changes_under_several_pages_end_in_the_same_list(
    client: Driver, dev_server: Server, connect: Connect
) -> None:
    channel: dict[str, Any] = {"channel": "stirred"}
    pages = start(client, "stirred", [f"{number:03d}" for number in range(0, 1000, 40)], 5)
    other = connect("http", dev_server.url)
    for size in (5, 5, 5, 1000):
        pages.until(lambda value: value["status"] == "CanLoadMore")  # what is asked for before is not heard
        client.load_more(pages, size)
        for _ in range(5):
            other.mutation("feed:stir", {**channel, "changes": 20})
    other.mutation("feed:add", {**channel, "bodies": ["zzz"]})

    load_to_the_end(client, pages, sorted(other.query("messages:bodies", channel)))


def test_pages_survive_a_killed_server(start_server: Any, connect: Connect) -> None:
    """The client sends the journals again, so the pages still end where they did."""
    server = start_server()
    client = connect("react", server.url)
    rows = [f"{number:03d}" for number in range(0, 60, 10)]
    pages = start(client, "kept", rows, 3)
    bodies(pages, rows[:3], "CanLoadMore")
    client.load_more(pages, 2)
    bodies(pages, rows[:5], "CanLoadMore")

    server.restart()
    client.mutation("feed:add", {"channel": "kept", "bodies": ["025", "045"]})

    bodies(pages, sorted([*rows[:5], "025"]), "CanLoadMore")
