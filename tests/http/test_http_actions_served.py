"""HTTP actions of a real server: sockets, processes, and clients that leave."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import httpx2
import pytest

from convexpy.limits import HTTP_ACTIONS_IN_FLIGHT_MAX
from tests import patience
from tests.clients.server import Server
from tests.faults.processes import processes_of
from tests.patience import PATIENCE_SECONDS

APP = Path(__file__).parent / "actions_app"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(APP, tmp_path_factory.mktemp("data"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    server = Server(APP, tmp_path)
    server.start()
    yield server
    server.stop()


def test_both_ports_serve_and_the_api_port_adds_no_cors(server: Server) -> None:
    for base in (server.site_url, f"{server.url}/http"):
        response = patience.get(f"{base}/files/b", headers={"Origin": "https://elsewhere.test"})
        assert (response.status_code, response.text) == (200, "GET short /files/b")
        assert "access-control-allow-origin" not in response.headers
        assert patience.head(f"{base}/files/a").headers["content-length"] == "5"
        assert patience.get(f"{base}/none").text == "No matching routes found"


def test_bodies_are_streamed_both_ways(server: Server) -> None:
    """Larger than what may be held as a whole, in either direction."""
    chunks = [bytes([number]) * MIB for number in range(24)]
    uploaded = patience.post(f"{server.site_url}/digest", content=iter(chunks))
    assert uploaded.json() == {"digest": hashlib.sha256(b"".join(chunks)).hexdigest(), "size": 24 * MIB}

    size = 0
    with patience.stream("GET", f"{server.site_url}/zeros?mib=24") as response:
        for chunk in response.iter_bytes():
            size += len(chunk)
    assert size == 24 * MIB


def test_an_error_in_the_middle_cuts_the_connection(server: Server) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        patience.get(f"{server.site_url}/fail-streaming?after=2")


def test_a_token_of_nobody_spoils_the_identity_and_nothing_else(server: Server) -> None:
    """The header may be meant for the app alone."""
    headers = {"Authorization": "Bearer nonsense"}

    assert patience.get(f"{server.site_url}/nobody", headers=headers).text == "served"
    refused = patience.get(f"{server.site_url}/who", headers=headers)
    assert refused.status_code == 500
    assert "Unauthenticated" in refused.json()["code"]


def test_a_client_that_leaves_does_not_stop_the_action(server: Server) -> None:
    """The action sees that the client has gone, and runs to its end."""
    with connection(server) as client:
        client.sendall(b"GET /until-gone HTTP/1.1\r\nHost: x\r\n\r\n")
        assert head_of_answer(client).startswith(b"HTTP/1.1 200 OK")

    query = {"path": "rows:texts", "args": {}, "format": "json"}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if "ran to its end" in patience.post(f"{server.url}/api/query", json=query).json()["value"]:
            return
    raise AssertionError("the action did not run to its end")


def connection(server: Server) -> socket.socket:
    host, port = server.site_url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)


def head_of_answer(client: socket.socket) -> bytes:
    """Status line and headers, which may arrive in pieces, and not a byte of what follows."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        assert byte, head
        head += byte
    return head


def test_beyond_the_bound_clients_are_told_to_come_again(tmp_path: Path) -> None:
    """All of them wait for a body that does not come. Who leaves makes room; other actions have room all the time."""
    server = Server(APP, tmp_path)
    server.start()
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        waiting = [stack.enter_context(connection(server)) for _ in range(HTTP_ACTIONS_IN_FLIGHT_MAX)]
        for each in waiting:
            each.sendall(b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        for each in waiting:
            assert head_of_answer(each).startswith(b"HTTP/1.1 100"), "the action asks for the body"

        refused = patience.get(f"{server.site_url}/nobody")
        assert (refused.status_code, refused.json()["code"]) == (503, "TooManyConcurrentRequests")
        assert int(refused.headers["retry-after"]) >= 1
        assert (
            patience.post(f"{server.url}/api/action", json={"path": "rows:act", "args": {}}).json()["value"] == "acted"
        )

        waiting[0].close()
        while (answer := patience.get(f"{server.site_url}/nobody")).status_code == 503:
            pass
        assert answer.text == "served"
        waiting[1].sendall(b"x")
        assert head_of_answer(waiting[1]).startswith(b"HTTP/1.1 200 OK")


def test_an_action_beyond_its_time_is_cut_off(tmp_path: Path) -> None:
    """Before the head it is a 500 that says so; after it the connection ends before the response does."""
    server = Server(APP, tmp_path, options=("--limit", "action_timeout_seconds=1"))
    server.start()
    try:
        with connection(server) as client:
            client.sendall(b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
            answer = HTTPResponse(client)
            answer.begin()
            assert answer.status == 500 and b"timed out" in answer.read()

        got = body_that_is_cut_off(server, "/forever")
        assert (b"tick\n" * len(got)).startswith(got)
        assert patience.get(f"{server.site_url}/nobody").text == "served"
    finally:
        server.stop()


def body_that_is_cut_off(server: Server, path: str) -> bytes:
    """What comes of a response before its connection ends. Where the machine is so slow that the action's time is over
    before it has said anything, it is asked again."""
    while True:
        got = b""
        try:
            with patience.stream("GET", f"{server.site_url}{path}") as response:
                for chunk in response.iter_bytes():
                    got += chunk
        except httpx2.RemoteProtocolError:
            if got:
                return got
        else:
            assert response.status_code == 500, "it is whole though the action never ends"


@pytest.mark.parametrize("mib", [96, pytest.param(1024, marks=pytest.mark.slow)])
def test_bodies_of_any_size_pass_through_little_memory(own_server: Server, mib: int) -> None:
    """Up and down at the same time: neither the server nor the action's worker holds more than some chunks. Both are
    fresh, so that the peak of something before is not in the way."""
    server = own_server
    (worker,) = processes_of(server.pid)["cvx-action"]
    chunk = bytes(MIB)
    patience.post(f"{server.site_url}/echo", content=iter([chunk]))
    before = {pid: memory_kib(pid, "VmRSS") for pid in (server.pid, worker)}

    with connection(server) as client:
        head = f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {mib * MIB}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode())
        sending = threading.Thread(target=client.sendall, args=(bytes(mib * MIB),))
        sending.start()
        size = 0
        while data := client.recv(MIB):
            size += len(data)
        sending.join()

    grown = {pid: memory_kib(pid, "VmHWM") - before[pid] for pid in before}
    print(f"{mib} MiB each way: server grew by {grown[server.pid]} KiB, the worker by {grown[worker]} KiB")
    assert size > mib * MIB
    assert max(grown.values()) < 16 * 1024


def memory_kib(pid: int, name: str) -> int:
    """`VmRSS` is what a process holds, `VmHWM` the most that it has ever held."""
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}:"))
