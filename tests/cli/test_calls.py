"""`convexpy run` with what cannot be sent: a sentence, never a traceback."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from convexpy.cli.calls import call_function
from convexpy.errors import ConvexpyError


class Stranger(http.server.BaseHTTPRequestHandler):
    """Something else than a Convex server."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: object) -> None:
        self.server.said.append(self.path)  # type: ignore[attr-defined]


@pytest.fixture
def stranger() -> Iterator[http.server.HTTPServer]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Stranger)
    server.said = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def refusal(url: str, *, path: str = "a:b", admin_key: str | None = None) -> str:
    """Why a call is not made, or fails."""
    with pytest.raises(ConvexpyError) as refused:
        call_function(url, path, "{}", "", admin_key)
    return str(refused.value)


@pytest.mark.parametrize("key", ["sec\nret", "secret\n", "sec\0ret", "sécret", "sec\x7fret"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    text = refusal("http://127.0.0.1:1", admin_key=key)

    assert text.startswith("The admin key has a line break or another character that no key has.")
    assert "convexpy admin-key" in text
    assert "sec" not in text


@pytest.mark.parametrize("url", ["http://x y", "http://x:port", "http://[::1", "http://x\ny", "http://€", "x", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    assert "is no address of a server" in refusal(url)


def test_a_server_that_is_not_ours_is_told(stranger: http.server.HTTPServer) -> None:
    text = refusal(f"http://127.0.0.1:{stranger.server_port}")

    assert text.endswith("is no Convex server: it sends no JSON object.")


def test_any_path_can_be_asked_for(stranger: http.server.HTTPServer) -> None:
    """Whether there is such a function is the server's to say."""
    refusal(f"http://127.0.0.1:{stranger.server_port}", path="a b:ü\n?")

    assert stranger.said == ["/api/run/a%20b/%C3%BC%0A%3F"]  # type: ignore[attr-defined]
