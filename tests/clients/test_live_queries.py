"""Subscriptions through the three clients that have them: ConvexClient, the React hooks, PyPI `convex`."""

from __future__ import annotations

import pytest

from .conftest import Connect, StartServer
from .driver import LIVE_CLIENTS, CallError
from .proxy import Proxy
from .server import Server

every_live_client = pytest.mark.parametrize("kind", LIVE_CLIENTS)


@every_live_client
def test_a_subscriber_sees_its_own_mutation(dev_server: Server, connect: Connect, kind: str) -> None:
    """First the value as it is, then the value as the mutation left it."""
    client = connect(kind, dev_server.url)
    name = f"own of {kind}"
    counter = client.subscribe("counters:read", {"name": name})

    before = counter.next()
    client.mutation("counters:add", {"name": name, "by": 4})

    assert before == 0
    assert counter.until(lambda value: value != 0) == 4


@every_live_client
def test_a_subscriber_sees_the_mutation_of_another(dev_server: Server, connect: Connect, kind: str) -> None:
    """The other one speaks HTTP: what counts is the commit, not the connection it came by."""
    client, other = connect(kind, dev_server.url), connect("http", dev_server.url)
    bodies = client.subscribe("messages:bodies", {"channel": kind})
    assert bodies.next() == []

    for body in ("one", "two"):
        other.mutation("messages:send", {"channel": kind, "body": body})

    assert bodies.until(lambda value: len(value) == 2) == ["one", "two"]


@every_live_client
def test_a_query_may_turn_into_an_error(dev_server: Server, connect: Connect, kind: str) -> None:
    """An error of a live query is pushed as its value would be, with the application's data."""
    client = connect(kind, dev_server.url)
    name = f"bounded for {kind}"
    bounded = client.subscribe("problems:refuse_above", {"name": name, "most": 1})
    assert bounded.next() == 0

    client.mutation("counters:add", {"name": name, "by": 2})
    with pytest.raises(CallError) as refusal:
        bounded.until(lambda value: value > 1)

    assert refusal.value.is_convex_error
    assert refusal.value.data == {"code": "tooMany", "value": 2}


@every_live_client
def test_a_result_beyond_the_largest_frame_arrives_and_changes(dev_server: Server, connect: Connect, kind: str) -> None:
    """18 MB on the wire. npm clients get such a transition in chunks, and the Python client, which breaks at a frame
    of 16 MiB, gets it in fragments."""
    client = connect(kind, dev_server.url)
    name, chars = f"large for {kind}", 9_000_000
    large = client.subscribe("counters:blow_up", {"name": name, "chars": chars})
    assert large.next() == {"value": 0, "text": '"' * chars}

    client.mutation("counters:add", {"name": name, "by": 2})

    assert large.until(lambda value: value["value"] == 2)["text"] == '"' * chars


@pytest.mark.parametrize("kind", ["browser", "python"])
def test_a_failing_query_recovers(dev_server: Server, connect: Connect, kind: str) -> None:
    """A failed query stays subscribed: what it read before it failed can change. (React would need a new mount.)"""
    client = connect(kind, dev_server.url)
    name = f"recovering for {kind}"
    client.mutation("counters:add", {"name": name, "by": 2})
    bounded = client.subscribe("problems:refuse_above", {"name": name, "most": 1})
    with pytest.raises(CallError):
        bounded.next()

    client.mutation("counters:add", {"name": name, "by": -2})

    assert bounded.next() == 0


@every_live_client
def test_clients_carry_on_after_the_server_was_killed(start_server: StartServer, connect: Connect, kind: str) -> None:
    """kill -9, and start on the same data: what was acknowledged is there, subscriptions go on, mutations work."""
    server = start_server()
    client = connect(kind, server.url)
    counter = client.subscribe("counters:read", {"name": "survivor"})
    client.mutation("counters:add", {"name": "survivor"})
    assert counter.until(lambda value: value == 1) == 1

    server.restart()

    assert client.mutation("counters:add", {"name": "survivor"}) == 2
    assert counter.until(lambda value: value == 2) == 2


@pytest.mark.parametrize("kind", ["browser", "react"])
def test_optimistic_updates_never_flicker_under_load(dev_server: Server, connect: Connect, kind: str) -> None:
    """Two clients count one counter up, and each shows its own counts at once. A response that came after the
    transition with its write, or a transition that lacked it, would show a count twice or take one back."""
    name = f"optimists of {kind}"
    clients = [connect(kind, dev_server.url), connect("browser", dev_server.url)]
    counters = [client.subscribe("counters:read", {"name": name}) for client in clients]
    for counter in counters:
        assert counter.next() == 0

    args, times = {"name": name, "by": 1}, 150
    runs = [client.start_counting("counters:add", args, "counters:read", {"name": name}, times) for client in clients]
    for client, run in zip(clients, runs, strict=True):
        client.finish(run)

    for counter in counters:
        shown = [0]
        while shown[-1] < len(clients) * times:
            shown.append(counter.next())
        assert shown == sorted(shown)
        assert shown[-1] == len(clients) * times


def test_a_mutation_that_waits_for_the_server_is_carried_out(start_server: StartServer, connect: Connect) -> None:
    """Sent while nobody listens: the JavaScript client keeps it and sends it when the server is back."""
    server = start_server()
    client = connect("browser", server.url)
    assert client.query("counters:read", {"name": "patient"}) == 0

    server.kill()
    waiting = client.start("mutation", "counters:add", {"name": "patient"})
    server.start()

    assert client.finish(waiting) == 1
    assert client.query("counters:read", {"name": "patient"}) == 1


@pytest.mark.parametrize("kind", ["browser", "react"])
def test_a_mutation_resent_over_a_cut_connection_is_executed_once(
    dev_server: Server, connect: Connect, kind: str
) -> None:
    """The server commits and the answer is lost; sent again by (session, request id), it gets the first answer."""
    name = f"resent by {kind}"
    with Proxy(dev_server.url) as proxy:
        client, witness = connect(kind, proxy.url), connect("browser", dev_server.url)
        counter = witness.subscribe("counters:read", {"name": name})
        assert counter.next() == 0
        assert client.query("counters:read", {"name": name}) == 0  # it is connected through the proxy

        proxy.withhold_replies()
        unanswered = client.start("mutation", "counters:add", {"name": name})
        assert counter.next() == 1  # committed, and its client does not know
        proxy.cut()

        assert client.finish(unanswered) == 1
        assert client.mutation("counters:add", {"name": name}) == 2
        client.close()


def test_a_mutation_resent_to_a_restarted_server_is_executed_once(start_server: StartServer, connect: Connect) -> None:
    """The record of the answer is written with the mutation's own commit, so it survives the kill as that does."""
    server = start_server()
    with Proxy(server.url) as proxy:
        client, witness = connect("browser", proxy.url), connect("browser", server.url)
        counter = witness.subscribe("counters:read", {"name": "twice?"})
        assert counter.next() == 0
        assert client.query("counters:read", {"name": "twice?"}) == 0

        proxy.withhold_replies()
        unanswered = client.start("mutation", "counters:add", {"name": "twice?"})
        assert counter.next() == 1
        server.kill()
        proxy.cut()
        server.start()

        assert client.finish(unanswered) == 1
        assert client.mutation("counters:add", {"name": "twice?"}) == 2
        client.close()
