"""The reading room in a real browser: two tabs, one server, and a kill -9 between them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.patience import PATIENCE_SECONDS

from .conftest import READING_ROOM, StartServer

TOP_STEPS = 4  # analyse and classify side by side, sleep, shelve
SHELVE_STEPS = 5  # of the nested workflow: four shelves at once, then the end
LIVE_MS_MAX = PATIENCE_SECONDS * 1000  # the client may back off for some seconds after the server has been away


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium, headless."""
    chromium = shutil.which("chromium")
    assert chromium is not None, "the browser tests need chromium: run `make chromium` as root"
    assert (READING_ROOM / "web" / "vendor" / "convex.js").exists(), "the page lacks its client: run `make page`"
    with sync_playwright() as playwright:
        expect.set_options(timeout=LIVE_MS_MAX)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=LIVE_MS_MAX)
        yield browser
        browser.close()


def open_tab(browser: Browser, site_url: str) -> Page:
    """The page in a tab of its own, connected."""
    page = browser.new_context().new_page()
    page.set_default_timeout(LIVE_MS_MAX)
    page.goto(site_url)
    expect(page.locator("#connection")).to_have_text("live")
    return page


def hand_in(page: Page, title: str, text: str) -> None:
    """Fill in the form and send it."""
    page.get_by_label("Title", exact=True).fill(title)
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Read it").click()


def test_two_tabs_and_a_server_that_dies(browser: Browser, start_server: StartServer) -> None:
    """What one tab hands in, the other sees being read; both find the server again, and the workflow ends once."""
    server = start_server(app=READING_ROOM)
    first, second = open_tab(browser, server.site_url), open_tab(browser, server.site_url)

    hand_in(first, "On lamps", "The lamp was lit. The lamp was kept, and in the morning the lamp was put out.")
    card = second.locator("li.card", has_text="On lamps")
    expect(card).to_be_visible(timeout=LIVE_MS_MAX)
    # Over already only where two seconds are not enough to look at it: the rest holds for a run that has ended, too.
    expect(card).to_have_attribute("data-workflow", re.compile("inProgress|completed"))
    server.kill()
    for tab in (first, second):
        expect(tab.locator("#connection")).to_have_text("reconnecting")
    server.start()

    for tab in (first, second):
        expect(tab.locator("#connection")).to_have_text("live")
        card = tab.locator("li.card", has_text="On lamps")
        expect(card).to_have_attribute("data-workflow", "completed")
        expect(card).to_contain_text("17 words · 2 sentences · 1 min · English · indexed 1×")
        expect(card.locator(".steps li[data-done=true]")).to_have_count(TOP_STEPS + SHELVE_STEPS)

    second.get_by_label("Word", exact=True).fill("Lamp")
    expect(second.locator("#hits")).to_have_text("On lamps (3×)")


def test_the_timeline_shows_each_step_live(browser: Browser, start_server: StartServer) -> None:
    """Two steps side by side, a retry, the wait for an approval over a kill of the server, and a nested workflow."""
    server = start_server(app=READING_ROOM)
    reader, librarian = open_tab(browser, server.site_url), open_tab(browser, server.site_url)

    reader.get_by_label("Ask me before").check()
    hand_in(reader, "On keys", "A key opens one door. A good key opens it twice.")
    steps = librarian.locator("li.card", has_text="On keys").locator(".steps").first.locator("> li")
    expect(steps.nth(0)).to_contain_text("analyse")
    expect(steps.nth(1)).to_contain_text("classify")
    expect(steps.nth(1)).to_contain_text("attempt 2")
    expect(steps.nth(1)).to_have_attribute("data-state", "done")
    expect(steps.nth(1)).to_have_attribute("title", re.compile("catalogue is busy"))
    expect(steps.nth(2)).to_have_attribute("data-state", "waiting")
    expect(steps.nth(2)).to_contain_text("approval")
    server.restart()

    librarian.get_by_role("button", name="Put it on the shelves").click()

    shelve = steps.nth(4)
    expect(shelve).to_contain_text("shelve")
    expect(shelve.locator("li")).to_have_count(SHELVE_STEPS)
    expect(shelve).to_have_attribute("data-state", "done")
    expect(steps).to_have_count(TOP_STEPS + 1)
    card = reader.locator("li.card", has_text="On keys")
    expect(card).to_have_attribute("data-workflow", "completed")
    expect(card).to_contain_text("indexed 1×")
    expect(card.get_by_role("button")).to_have_count(0)


def test_a_refused_document_is_set_aside(browser: Browser, start_server: StartServer) -> None:
    server = start_server(app=READING_ROOM)
    page = open_tab(browser, server.site_url)

    page.get_by_label("Ask me before").check()
    hand_in(page, "On noise", "It is loud.")
    page.get_by_role("button", name="Set it aside").click()

    card = page.locator("li.card", has_text="On noise")
    expect(card).to_have_attribute("data-workflow", "completed")
    expect(card).to_contain_text("set aside")
    expect(card.locator("li[data-kind=workflow]")).to_have_count(0)


def test_the_page_tells_what_is_wrong(browser: Browser, start_server: StartServer) -> None:
    """The application's own error is shown by its message, and nothing was added."""
    server = start_server(app=READING_ROOM)
    page = open_tab(browser, server.site_url)

    hand_in(page, "Blank", "   ")

    expect(page.locator("#problem")).to_have_text("There is no text to read.")
    expect(page.locator("#empty")).to_be_visible()


def test_a_file_can_be_chosen(browser: Browser, start_server: StartServer) -> None:
    """The file's name is the title unless one is given."""
    server = start_server(app=READING_ROOM)
    page = open_tab(browser, server.site_url)

    page.locator("#file").set_input_files(Path(READING_ROOM.parent / "sample.txt"))
    expect(page.get_by_label("Title", exact=True)).to_have_value("sample.txt")
    page.get_by_role("button", name="Read it").click()

    expect(page.locator("li.card", has_text="sample.txt")).to_be_visible(timeout=LIVE_MS_MAX)
