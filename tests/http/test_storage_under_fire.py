"""Uploads that end badly: servers that die, clients that leave, digests that lie. Rows and files stay together."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import sync_playwright

from convexpy.limits import MIB
from tests import patience
from tests.clients.server import Server
from tests.patience import PATIENCE_SECONDS
from tests.seeds import asked_seed

from .test_storage import APP, call, sha256_of, upload

KILLS = int(os.environ.get("UPLOAD_KILLS", "3"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(APP, tmp_path_factory.mktemp("data"))
    server.start()
    yield server
    server.stop()


def names(server: Server) -> set[str]:
    folder = server.data / "files"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def wait_for_names(server: Server, wanted: int) -> None:
    """Until the folder has so many files, finished or not; the socket says nothing of what the server does with it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if len(names(server)) == wanted:
            return
        call(server, "query", "files:count")
    raise AssertionError(f"{wanted} files were to be there, but there are {names(server)}")


def begin_upload(server: Server, url: str, size: int, sent: bytes) -> socket.socket:
    """Say how much is coming, and send a part of it."""
    parts = urlsplit(url)
    client = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)
    client.sendall(
        f"POST {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + sent
    )
    return client


def stored_as(client: socket.socket) -> str:
    """The id in the answer to an upload, which may arrive in pieces."""
    answer = HTTPResponse(client)
    answer.begin()
    return str(json.loads(answer.read())["storageId"])


def bytes_of(server: Server, file: str) -> bytes:
    return patience.get(call(server, "query", "files:show", {"file": file})["url"]).content


def test_a_server_that_dies_in_an_upload_leaves_neither_row_nor_file(tmp_path: Path) -> None:
    """And the same URL serves for the next attempt: its token is signed with what survives."""
    server = Server(APP, tmp_path)
    server.start()
    try:
        url = call(server, "mutation", "files:upload_url")
        with begin_upload(server, url, 3 * MIB, bytes(2 * MIB)):
            wait_for_names(server, 1)
            server.restart()
        assert (names(server), call(server, "query", "files:count")) == (set(), 0)

        file = patience.post(url, content=b"again").json()["storageId"]

        assert bytes_of(server, file) == b"again"
    finally:
        server.stop()


def test_rows_and_files_are_the_same_however_often_the_server_is_killed(tmp_path: Path) -> None:
    """Uploads all the time, kills at any moment of them. What was acknowledged is there whole; each file has a row."""
    seed = asked_seed("UPLOAD_SEED")
    print(f"UPLOAD_KILLS={KILLS}")
    chance = random.Random(seed)
    server = Server(APP, tmp_path)
    server.start()
    acknowledged: dict[str, bytes] = {}
    is_over = threading.Event()
    progress = threading.Semaphore(0)

    def uploading(number: int) -> None:
        own = random.Random(seed + number)
        while not is_over.is_set():
            data = own.randbytes(own.choice((0, 10, 70_000, 900_000)))
            with contextlib.suppress(httpx2.HTTPError, KeyError, ValueError):  # the server is away
                acknowledged[upload(server, data).json()["storageId"]] = data
                progress.release()

    threads = [threading.Thread(target=uploading, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            for _ in range(chance.randrange(3, 25)):
                assert progress.acquire(timeout=PATIENCE_SECONDS)
            server.restart()
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    server.restart()
    try:
        assert len(names(server)) == call(server, "query", "files:count") >= len(acknowledged) > 0
        assert all(bytes_of(server, file) == data for file, data in acknowledged.items())
    finally:
        server.stop()


def test_two_uploads_at_once_with_one_url_are_two_files(server: Server) -> None:
    before = len(names(server))
    url = call(server, "mutation", "files:upload_url")
    with begin_upload(server, url, 6, b"one") as first, begin_upload(server, url, 6, b"two") as second:
        wait_for_names(server, before + 2)
        second.sendall(b"two")
        first.sendall(b"one")
        files = [stored_as(each) for each in (first, second)]

    assert [bytes_of(server, file) for file in files] == [b"oneone", b"twotwo"]


def test_an_upload_whose_client_leaves_is_nothing(server: Server) -> None:
    before, rows = len(names(server)), call(server, "query", "files:count")
    with begin_upload(server, call(server, "mutation", "files:upload_url"), 100, b"half of it"):
        wait_for_names(server, before + 1)
    wait_for_names(server, before)

    assert call(server, "query", "files:count") == rows


@pytest.mark.parametrize("digest", ["", "not base64", "0" * 64, sha256_of(b"other")])
def test_a_digest_that_does_not_fit_is_refused_and_leaves_nothing(server: Server, digest: str) -> None:
    before = names(server)

    refused = upload(server, b"data", Digest=f"md5=x, SHA-256={digest}")

    assert (refused.status_code, refused.json()["code"]) == (400, "BadDigest")
    assert names(server) == before


def test_a_digest_of_another_kind_promises_nothing(server: Server) -> None:
    assert upload(server, b"data", Digest="md5=x").status_code == 200


def test_ranges_at_the_edges(server: Server) -> None:
    url, empty = (
        call(server, "query", "files:show", {"file": upload(server, data).json()["storageId"]})["url"]
        for data in (b"0123456789", b"")
    )

    def get(asked: str, of: str = url) -> tuple[int, bytes, str | None]:
        answer = patience.get(of, headers={"Range": asked})
        return answer.status_code, answer.content, answer.headers.get("content-range")

    assert get("bytes=-99") == (206, b"0123456789", "bytes 0-9/10")
    assert get("bytes=-1") == (206, b"9", "bytes 9-9/10")
    assert get("bytes=9-9") == (206, b"9", "bytes 9-9/10")
    assert get("bytes=9-99999999999999999999") == (206, b"9", "bytes 9-9/10")
    assert get(f"bytes={'0' * 5000}1-{'9' * 5000}") == (206, b"123456789", "bytes 1-9/10"), "numbers have no bound"
    assert get(f"bytes=-{'9' * 5000}") == (206, b"0123456789", "bytes 0-9/10")
    assert get(f"bytes={'9' * 5000}-") == (416, b"", "bytes */10")
    for asked in ("bytes=10-", "bytes=99-100", "bytes=5-4", "bytes=-0", "bytes=-", "bytes=0-1,8-9", "bytes=a-b"):
        assert get(asked) == (416, b"", "bytes */10"), asked
    assert get("lines=1-2") == (200, b"0123456789", None), "a unit that nobody knows is as if it were not there"
    for asked in ("bytes=0-", "bytes=-5"):
        assert get(asked, empty) == (416, b"", "bytes */0"), asked
    stale = patience.get(url, headers={"Range": "bytes=0-1", "If-Range": '"another"'})
    assert (stale.status_code, stale.content) == (200, b"0123456789")
    part = patience.head(url, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-length"]) == (206, b"", "3")
    missing = patience.head(url.rpartition("/")[0] + "/00000000-0000-4000-8000-000000000000")
    assert (missing.status_code, missing.content) == (404, b"")


def test_a_page_of_another_origin_uploads_and_shows_a_file(server: Server) -> None:
    """A real browser asks first, as the type and the digest are not simple ones, and lets the page see the answers."""
    chromium = shutil.which("chromium")
    assert chromium is not None, "the browser tests need chromium: run `make chromium` as root"
    url = call(server, "mutation", "files:upload_url")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"], timeout=PATIENCE_SECONDS * 1000
        ) as browser,
    ):
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        page.goto(server.site_url)  # the site's port is another origin than the API's
        sent = page.evaluate(
            """async ([url, digest]) => {
                const headers = {"Content-Type": "text/plain;charset=utf-8", "Digest": "sha-256=" + digest};
                const answer = await fetch(url, {method: "POST", headers, body: "from a page"});
                return await answer.json();
            }""",
            [url, sha256_of(b"from a page")],
        )
        shown = call(server, "query", "files:show", {"file": sent["storageId"]})
        fetched = page.evaluate(
            """async (url) => {
                const answer = await fetch(url, {headers: {Range: "bytes=5-"}, credentials: "include"});
                return [answer.status, await answer.text(), answer.headers.get("content-type")];
            }""",
            shown["url"],
        )
        page.goto(shown["url"])
        text = page.inner_text("body")
        refused = page.evaluate(
            "async (url) => { const answer = await fetch(url, {method: 'POST', body: 'x'});"
            " return [answer.status, (await answer.json()).code] }",
            url.partition("=")[0] + "=forged",
        )

    assert fetched == [206, "a page", "text/plain;charset=utf-8"]
    assert text == "from a page"
    assert refused == [401, "StorageTokenInvalid"], "the page may read why"
    preflight = patience.options(
        url,
        headers={
            "Origin": "https://page.test",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,digest",
        },
    )
    allowed = {name: value for name, value in preflight.headers.items() if name.startswith("access-control")}
    assert allowed == {
        "access-control-allow-origin": "https://page.test",
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
        "access-control-allow-headers": "content-type,digest",
        "access-control-max-age": "86400",
    }
