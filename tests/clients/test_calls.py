"""One call and its answer, through every official client, unmodified."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Connect, StartServer
from .driver import ALL_CLIENTS, CallError
from .server import Server

REFUSAL = {"code": "full", "seats": 3, "waiting": ["Ada", "Grace"]}

every_client = pytest.mark.parametrize("kind", ALL_CLIENTS)


@every_client
def test_a_mutation_answers_and_a_query_sees_what_it_wrote(dev_server: Server, connect: Connect, kind: str) -> None:
    """The query runs after the mutation was acknowledged, so it must read it."""
    client = connect(kind, dev_server.url)

    answers = [client.mutation("counters:add", {"name": f"written by {kind}", "by": by}) for by in (2, 3)]

    assert answers == [2, 5]
    assert client.query("counters:read", {"name": f"written by {kind}"}) == 5


@every_client
def test_an_action_calls_mutations_and_answers(dev_server: Server, connect: Connect, kind: str) -> None:
    """An action's two mutations are committed before it reads."""
    client = connect(kind, dev_server.url)

    assert client.action("tasks:add_twice", {"name": f"added twice by {kind}"}) == 2


@every_client
@pytest.mark.parametrize(("call", "path"), [("mutation", "problems:refuse"), ("action", "problems:refuse_in_action")])
def test_an_application_error_arrives_with_its_data(
    dev_server: Server, connect: Connect, kind: str, call: str, path: str
) -> None:
    """`ConvexError(data)` is a `ConvexError` in every client, its data whole, and the mutation's write is gone."""
    client = connect(kind, dev_server.url)
    name = f"refused to {kind}"

    with pytest.raises(CallError) as refusal:
        client.finish(client.start(call, path, {"name": name} if call == "mutation" else {}))

    assert refusal.value.is_convex_error
    assert refusal.value.data == REFUSAL
    assert client.query("counters:read", {"name": name}) == 0


@every_client
def test_arguments_that_do_not_fit_are_refused(dev_server: Server, connect: Connect, kind: str) -> None:
    """The text names the path, the value and the validator; it is no application error and has no data."""
    client = connect(kind, dev_server.url)

    with pytest.raises(CallError, match="ArgumentValidationError") as refusal:
        client.mutation("messages:send", {"channel": f"wrong {kind}", "body": 7})

    assert not refusal.value.is_convex_error
    assert ".body" in refusal.value.message
    assert "v.string()" in refusal.value.message
    assert client.query("messages:bodies", {"channel": f"wrong {kind}"}) == []


@every_client
def test_a_missing_function_is_an_error_of_the_call(dev_server: Server, connect: Connect, kind: str) -> None:
    """The connection lives on: the next call is answered."""
    client = connect(kind, dev_server.url)

    with pytest.raises(CallError, match="Could not find public function for 'counters:subtract'"):
        client.mutation("counters:subtract", {"name": "x"})

    assert client.query("counters:read", {"name": f"untouched by {kind}"}) == 0


@every_client
def test_dev_shows_what_went_wrong(dev_server: Server, connect: Connect, kind: str) -> None:
    """In development the author sees class and text of the exception."""
    client = connect(kind, dev_server.url)

    with pytest.raises(CallError, match=r"KeyError.*swordfish"):
        client.mutation("problems:crash")


def test_serve_keeps_what_went_wrong_to_itself(start_server: StartServer, connect: Connect) -> None:
    """In production a text may hold secrets, so only the request id leaves; application errors arrive all the same."""
    server = start_server(mode="serve")

    for kind in ALL_CLIENTS:
        client = connect(kind, server.url)
        with pytest.raises(CallError, match=r"\[Request ID: \w+\] Server Error") as crash:
            client.mutation("problems:crash")
        with pytest.raises(CallError) as refusal:
            client.mutation("problems:refuse", {"name": "x"})

        assert "swordfish" not in crash.value.message
        assert refusal.value.data == REFUSAL


@every_client
@pytest.mark.parametrize(
    "value", [None, True, 0, 1.5, -2, "häß\n\U0001f40d", [], {}, {"deep": [{"er": [None, "x"]}]}, 2**53]
)
def test_values_survive_the_way_there_and_back(dev_server: Server, connect: Connect, kind: str, value: Any) -> None:
    """What a client sends is what it gets."""
    client = connect(kind, dev_server.url)

    assert client.query("messages:echo", {"value": value}) == value


def test_consistent_queries_read_one_moment_while_others_write(dev_server: Server, connect: Connect) -> None:
    """`consistentQuery` of the JavaScript HTTP client: what its first one saw, all that follow see."""
    reader, writer = connect("http", dev_server.url), connect("http", dev_server.url)
    for name in ("left", "right"):
        writer.mutation("counters:add", {"name": name, "by": 10})

    assert reader.consistent_query("counters:read", {"name": "left"}) == 10
    for _ in range(5):
        writer.mutation("counters:add", {"name": "left", "by": -1})
        writer.mutation("counters:add", {"name": "right", "by": 1})
        writer.mutation("counters:add", {"name": "new", "by": 1})

    assert reader.consistent_query("counters:read", {"name": "right"}) == 10
    assert reader.consistent_query("counters:read", {"name": "left"}) == 10
    assert reader.consistent_query("counters:read", {"name": "new"}) == 0
    assert reader.query("counters:read", {"name": "right"}) == 15
