"""HTTP actions of a real server: sockets, processes, and clients that leave."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.clients.server import Server

APP = Path(__file__).parent / "actions_app"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(APP, tmp_path_factory.mktemp("data"))
    server.start()
    yield server
    server.stop()


def test_both_ports_serve_and_the_api_port_adds_no_cors(server: Server) -> None:
    for base in (server.site_url, f"{server.url}/http"):
        response = httpx2.get(f"{base}/files/b", headers={"Origin": "https://elsewhere.test"})
        assert (response.status_code, response.text) == (200, "GET short /files/b")
        assert "access-control-allow-origin" not in response.headers
        assert httpx2.head(f"{base}/files/a").headers["content-length"] == "5"
        assert httpx2.get(f"{base}/none").text == "No matching routes found"


def test_bodies_are_streamed_both_ways(server: Server) -> None:
    """Larger than what may be held as a whole, in either direction."""
    chunks = [bytes([number]) * MIB for number in range(24)]
    uploaded = httpx2.post(f"{server.site_url}/digest", content=iter(chunks), timeout=60)
    assert uploaded.json() == {"digest": hashlib.sha256(b"".join(chunks)).hexdigest(), "size": 24 * MIB}

    size = 0
    with httpx2.stream("GET", f"{server.site_url}/zeros?mib=24", timeout=60) as response:
        for chunk in response.iter_bytes():
            size += len(chunk)
    assert size == 24 * MIB


def test_an_error_in_the_middle_cuts_the_connection(server: Server) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(f"{server.site_url}/fail-streaming?after=2")


def test_a_token_of_nobody_spoils_the_identity_and_nothing_else(server: Server) -> None:
    """The header may be meant for the app alone."""
    headers = {"Authorization": "Bearer nonsense"}

    assert httpx2.get(f"{server.site_url}/nobody", headers=headers).text == "served"
    refused = httpx2.get(f"{server.site_url}/who", headers=headers)
    assert refused.status_code == 500
    assert "Unauthenticated" in refused.json()["code"]


def test_a_client_that_leaves_does_not_stop_the_action(server: Server) -> None:
    """The action sees that the client has gone, and runs to its end."""
    host, port = server.site_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /until-gone HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(15) == b"HTTP/1.1 200 OK"

    query = {"path": "rows:texts", "args": {}, "format": "json"}
    for _ in range(600):
        if "ran to its end" in httpx2.post(f"{server.url}/api/query", json=query).json()["value"]:
            return
    raise AssertionError("the action did not run to its end")
