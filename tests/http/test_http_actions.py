"""HTTP actions: what handlers get, what clients get, and what happens when something fails on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from convexpy.functions.application import Application, load_application
from convexpy.limits import HTTP_ACTION_BODY_BYTES_MAX
from convexpy.testing import TestBackend

APP = Path(__file__).parent / "actions_app"


@pytest.fixture(scope="module")
def application() -> Application:
    return load_application(APP)


@pytest.fixture
def backend(application: Application) -> Iterator[TestBackend]:
    with TestBackend(application) as backend:
        yield backend


@pytest.fixture
def production(application: Application) -> Iterator[TestBackend]:
    with TestBackend(application, is_redacted=True) as backend:
        yield backend


def test_a_handler_reads_and_writes_through_functions(backend: TestBackend) -> None:
    response = backend.fetch("/rows", method="POST", json={"text": "hello"})

    assert (response.status, response.json()) == (201, {"texts": ["hello"]})
    assert response.headers["content-type"] == "application/json"


def test_a_def_handler_blocks_and_does_the_same(backend: TestBackend) -> None:
    response = backend.fetch("/blocking", method="POST", json={"text": "from a thread"})

    assert response.json() == ["from a thread"]


def test_exact_path_prefixes_and_head(backend: TestBackend) -> None:
    assert backend.fetch("/files/a").text == "exact"
    assert backend.fetch("/files/b", method="DELETE").text == "DELETE short /files/b"
    long = backend.fetch("/files/deep/c?x=1")
    assert (long.text, long.headers["x-query"]) == ("long", "x=1")
    head = backend.fetch("/files/a", method="HEAD")
    assert (head.status, head.content, head.headers["content-length"]) == (200, b"", "5")


def test_a_form_is_read(backend: TestBackend) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    assert backend.fetch("/form", method="POST", headers=headers, body="a=1&b=x+y").json() == {"a": "1", "b": "x y"}


def test_a_def_handler_reads_forms_with_files(backend: TestBackend) -> None:
    """Large files too, which the parser puts on disk meanwhile."""
    large = b"x" * 3_000_000
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="title"\r\n\r\nlamps\r\n'
        b'--edge\r\nContent-Disposition: form-data; name="page"; filename="a.txt"\r\n\r\n' + large + b"\r\n--edge--\r\n"
    )
    many = {"Content-Type": "multipart/form-data; boundary=edge"}
    one = {"Content-Type": "application/x-www-form-urlencoded"}

    shown = backend.fetch("/blocking-form", method="POST", headers=many, body=body)
    assert shown.json() == [{"title": "lamps", "page": ["a.txt", 3_000_000]}, True]
    assert backend.fetch("/blocking-form", method="POST", headers=one, body="a=1&b=x+y").json()[0] == {
        "a": "1",
        "b": "x y",
    }
    assert backend.fetch("/blocking-form", method="POST", body="no form").json()[0] == {}
    too_large = backend.fetch("/blocking-form", method="POST", headers=one, body=bytes(HTTP_ACTION_BODY_BYTES_MAX + 1))
    assert (too_large.status, "HttpRequestTooLarge" in too_large.text) == (500, True)


@pytest.mark.parametrize(
    ("how", "body", "expected"),
    [
        ("body", b"12345", [5, True]),
        ("body", b"", [0, True]),
        ("text", "wörter".encode(), ["wörter", "wörter"]),
        ("json", b'{"a": [1]}', [{"a": [1]}, {"a": [1]}]),
        ("stream", b"12345", 5),
    ],
)
def test_a_def_handler_reads_its_body_in_every_way(backend: TestBackend, how: str, body: bytes, expected: Any) -> None:
    assert backend.fetch(f"/blocking-body/{how}", method="POST", body=body).json() == expected


def test_a_def_handler_reads_the_head(backend: TestBackend) -> None:
    headers = {"Cookie": "crumb=sweet", "X-Name": "ada"}

    shown = backend.fetch("/blocking-body/head?x=1&y=2", headers=headers).json()

    assert shown == ["GET", "x=1&y=2", "1", {"crumb": "sweet"}, "ada"]


def test_a_body_that_was_streamed_is_gone(backend: TestBackend) -> None:
    refused = backend.fetch("/blocking-body/stream-twice", method="POST", body="x")

    assert (refused.status, "has been read already" in refused.text) == (500, True)


def test_no_route_is_404(backend: TestBackend) -> None:
    assert (backend.fetch("/none").status, backend.fetch("/none").text) == (404, "No matching routes found")


def test_an_error_before_the_head_is_a_500_with_its_text_and_place(backend: TestBackend) -> None:
    response = backend.fetch("/fail")

    body = response.json()
    assert response.status == 500
    assert "Server Error: Uncaught ValueError: the secret" in body["code"]
    assert "actions_app/http.py" in body["trace"]


def test_production_tells_the_request_id_alone(production: TestBackend) -> None:
    response = production.fetch("/fail")

    assert (response.status, list(response.json())) == (500, ["code"])
    assert response.json()["code"].startswith("[Request ID: ")
    assert response.json()["code"].endswith("] Server Error")
    assert production.fetch("/refuse").json()["data"] == {"why": "no"}


@pytest.mark.parametrize("path", ["/nothing", "/large", "/fail-streaming?after=0"])
def test_what_cannot_be_sent_is_a_500(backend: TestBackend, path: str) -> None:
    """No response at all, too large a one, and one that breaks before its first chunk: the head is not out yet."""
    response = backend.fetch(path)

    texts = {
        "/nothing": "returned str, but an HTTP action returns a Response",
        "/large": "HttpResponseTooLarge: HTTP actions support responses up to 20 MiB",
        "/fail-streaming?after=0": "the stream broke",
    }
    assert response.status == 500
    assert texts[path] in response.json()["code"]


@pytest.mark.parametrize(
    ("status", "name", "value", "text"),
    [
        (99, "x-a", "b", "its status is 99. A status is a number from 200 to 599."),
        (101, "x-a", "b", "its status is 101."),
        (600, "x-a", "b", "its status is 600."),
        (200, "x-a", "b\r\nSet-Cookie: admin=1", "the value of its header 'x-a' has a line break"),
        (200, "x-a", "b\0", "the value of its header 'x-a' has a line break or another control character"),
        (200, "x a", "b", "'x a' is no name of a header."),
        (200, "", "b", "'' is no name of a header."),
        (200, "content-length", "100", "'content-length' says 100, and its body has 4 bytes. Leave it out."),
        (200, "content-length", "1", "'content-length' says 1, and its body has 4 bytes."),
    ],
)
def test_a_head_that_http_cannot_carry_is_a_500(
    backend: TestBackend, status: int, name: str, value: str, text: str
) -> None:
    """What a handler passes on of a request must not become a header of its own, nor cut the connection."""
    refused = backend.fetch("/head?" + urlencode({"status": status, "name": name, "value": value}))

    assert (refused.status, text in refused.json()["code"]) == (500, True), refused.text
    assert "GET /head returned a response that cannot be sent: " in refused.json()["code"]
    assert "set-cookie" not in refused.headers


def test_a_length_may_be_of_a_body_that_is_not_sent(backend: TestBackend) -> None:
    asked = "/head?" + urlencode({"status": 200, "name": "Content-Length", "value": "100"})

    assert (backend.fetch(asked, method="HEAD").status, backend.fetch(asked).status) == (200, 500)
    assert backend.fetch(asked.replace("200", "304")).status == 304


def test_an_error_in_the_middle_cuts_the_response(backend: TestBackend) -> None:
    response = backend.fetch("/fail-streaming?after=2")

    assert (response.status, response.content, response.is_cut) == (200, b"chunk 0\nchunk 1\n", True)


def test_a_body_that_is_read_whole_has_a_bound_and_a_stream_has_none(backend: TestBackend) -> None:
    body = bytes(20 * 1024 * 1024 + 1)

    assert "HttpRequestTooLarge" in backend.fetch("/length", method="POST", body=body).json()["code"]
    assert backend.fetch("/digest", method="POST", body=body).json()["size"] == len(body)


def test_a_client_that_is_known_has_an_identity(backend: TestBackend) -> None:
    assert backend.with_identity({"subject": "ann"}).fetch("/who").json() == "ann"
    assert backend.fetch("/who").json() is None
