"""What each official client goes through when a connection or a server is lost in the middle of something.

The other cells of this matrix: mutations in test_live_queries.py (in flight, unsent, resent to a restarted server) and
at length in tests/resends; subscriptions in test_live_queries.py; pages of a restarted server in test_pagination.py.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator

import pytest

from tests.auth.provider import IdentityProvider

from .conftest import Connect, StartServer
from .driver import CallError
from .proxy import Proxy
from .server import Server
from .test_auth import AUTH_APP, tokens_for
from .test_pagination import bodies, start

TOKEN_SECONDS = 12  # the JavaScript client fetches the next one ten seconds before the end, but at once after two


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as provider:
        yield provider


@pytest.mark.parametrize("kind", ["browser", "react"])
def test_an_action_in_flight_is_lost_with_its_connection_and_runs_on(
    dev_server: Server, connect: Connect, kind: str
) -> None:
    """The JavaScript clients say so and do not send it again; on the server it comes to its end."""
    name, signal = f"action of {kind}", f"signal for {kind}"
    with Proxy(dev_server.url) as proxy:
        client, witness = connect(kind, proxy.url), connect("browser", dev_server.url)
        counter = witness.subscribe("counters:read", {"name": name})
        lost = client.start("action", "tasks:wait_for", {"name": name, "signal": signal})
        assert counter.until(lambda value: value > 0) == 1

        proxy.cut()

        with pytest.raises(CallError, match="Connection lost while action was in flight"):
            client.finish(lost)
        client.mutation("counters:add", {"name": signal})
        assert client.action("tasks:wait_for", {"name": name, "signal": signal}) == "waited"
        assert client.query("counters:read", {"name": name}) == 2, "once by each of the two calls"
        client.close()


def test_the_python_client_sends_an_action_in_flight_again(dev_server: Server, connect: Connect) -> None:
    """At least once is its own rule: a new session for every connection, so nobody can tell that it is the same."""
    with Proxy(dev_server.url) as proxy:
        client, witness = connect("python", proxy.url), connect("browser", dev_server.url)
        counter = witness.subscribe("counters:read", {"name": "python's action"})
        call = client.start("action", "tasks:wait_for", {"name": "python's action", "signal": "python's signal"})
        assert counter.until(lambda value: value > 0) == 1

        proxy.cut()
        assert counter.until(lambda value: value > 1) == 2
        witness.mutation("counters:add", {"name": "python's signal"})

        assert client.finish(call) == "waited"
        client.close()


def test_the_python_client_sends_a_mutation_in_flight_again(start_server: StartServer, connect: Connect) -> None:
    """The same rule, over the death of the server: it was committed, its answer was lost, and it is executed again."""
    server = start_server()
    with Proxy(server.url) as proxy:
        client, witness = connect("python", proxy.url), connect("browser", server.url)
        counter = witness.subscribe("counters:read", {"name": "again"})
        assert (counter.next(), client.query("counters:read", {"name": "again"})) == (0, 0)

        proxy.withhold_replies()
        unanswered = client.start("mutation", "counters:add", {"name": "again"})
        assert counter.next() == 1
        server.kill()
        proxy.cut()
        server.start()

        assert client.finish(unanswered) == 2
        client.close()


def test_a_token_that_expires_while_the_server_is_away_is_replaced(
    start_server: StartServer, connect: Connect, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is ever shown as nobody's, and what is called is the user's."""
    monkeypatch.setenv("TEST_ISSUER", provider.issuer)
    server = start_server(app=AUTH_APP)
    client = connect("browser", server.url)
    assert client.authenticate(tokens_for(provider, "joan", lifetime_seconds=TOKEN_SECONDS)).next() is True
    me = client.subscribe("people:me")
    assert me.next() == "joan"
    expires_at = time.time() + TOKEN_SECONDS

    server.kill()
    threading.Event().wait(expires_at - time.time())  # the token's time is the clock's of this machine
    server.start()

    assert client.mutation("people:sign") == "joan"
    assert client.query("people:me") == "joan"
    names = client.subscribe("people:names")
    assert "joan" in names.next()


@pytest.mark.parametrize("kind", ["browser", "react", "http"])
def test_who_signs_out_is_nobody_at_once(
    start_server: StartServer,
    connect: Connect,
    provider: IdentityProvider,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setenv("TEST_ISSUER", provider.issuer)
    server = start_server(app=AUTH_APP)
    client = connect(kind, server.url)
    signed_in = client.authenticate(tokens_for(provider, "ada"))
    if kind == "http":
        client.finish(signed_in.name)
        client.sign_out()
    else:
        assert signed_in.until(bool) is True
        me = client.subscribe("people:me")
        assert me.until(lambda value: value is not None) == "ada"
        client.sign_out()
        assert me.until(lambda value: value is None) is None

    assert client.query("people:me") is None
    with pytest.raises(CallError, match="Sign in first"):
        client.mutation("people:sign")


def test_pages_keep_their_ends_over_what_happened_while_their_client_was_away(
    dev_server: Server, connect: Connect
) -> None:
    """The client sends back the journals that it holds: without them the first page would end elsewhere, and the rows
    between its new end and the second page would be shown nowhere, or twice."""
    with Proxy(dev_server.url) as proxy:
        client, other = connect("react", proxy.url), connect("browser", dev_server.url)
        rows = [f"{number:03d}" for number in range(0, 60, 10)]
        pages = start(client, "away", rows, 3)
        bodies(pages, rows[:3], "CanLoadMore")
        client.load_more(pages, 2)
        bodies(pages, rows[:5], "CanLoadMore")

        proxy.withhold_replies()
        other.mutation("feed:add", {"channel": "away", "bodies": ["001", "002", "021", "045", "055"]})
        other.mutation("feed:remove", {"channel": "away", "body": "020"})
        proxy.cut()

        expected = sorted({*rows[:5], "001", "002", "021"} - {"020"})
        bodies(pages, expected, "CanLoadMore")
        client.load_more(pages, 10)
        bodies(pages, sorted([*expected, "045", "050", "055"]), "Exhausted")
        client.close()


def test_pages_of_a_database_that_is_gone_begin_again(start_server: StartServer, connect: Connect) -> None:
    """Cursors and journals of the old one mean nothing now: the error is `InvalidCursor`, and the hook starts over."""
    server = start_server()
    client = connect("react", server.url)
    rows = [f"{number:03d}" for number in range(0, 60, 10)]
    pages = start(client, "gone", rows, 3)
    bodies(pages, rows[:3], "CanLoadMore")
    client.load_more(pages, 2)
    bodies(pages, rows[:5], "CanLoadMore")

    server.kill()
    shutil.rmtree(server.data)
    server.start()

    bodies(pages, [], "Exhausted")
    client.mutation("feed:add", {"channel": "gone", "bodies": ["100"]})
    bodies(pages, ["100"], "Exhausted")
