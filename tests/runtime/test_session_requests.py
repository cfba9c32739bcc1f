"""A mutation that a client sends again is answered as it was the first time, whatever would come of it now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from convexpy.limits import SESSION_REQUEST_DAYS
from convexpy.runtime.interface import FunctionRequest, Outcome
from convexpy.testing import TestBackend
from tests.runtime.conftest import WriteProject

SESSION = "4339ecba-272a-47a4-a95c-26938a22326a"
SEATS = """
from convexpy import ConvexError, mutation, query

@mutation
def offer(ctx, name: str):
    ctx.db.insert("seats", {"name": name})

@mutation
def claim(ctx, *, is_polite: bool = True):
    seat = ctx.db.query("seats").first()
    print("looked, and found", seat and seat["name"])
    if seat is None and not is_polite:
        raise ConvexError("There is no seat.")
    if seat is None:
        return None
    ctx.db.delete(seat["_id"])
    return seat["name"]

@query
def free(ctx):
    return [seat["name"] for seat in ctx.db.query("seats")]
"""


@pytest.fixture
def backend(write_project: WriteProject) -> Iterator[TestBackend]:
    with TestBackend(write_project(seats=SEATS)) as backend:
        yield backend


def claim(backend: TestBackend, number: int, session: str = SESSION, **args: Any) -> Outcome:
    """Send `seats:claim` as the session's request `number`, for the first time or again."""
    return backend.do(sent(backend, number, session, **args))


async def sent(backend: TestBackend, number: int, session: str = SESSION, **args: Any) -> Outcome:
    request = FunctionRequest(path="seats:claim", args=json.dumps(args).encode())
    return await backend.runtime.mutation(request, (session, number))


def test_one_that_wrote_is_not_executed_again_over_a_restart_either(backend: TestBackend) -> None:
    for name in ("aisle", "window"):
        backend.mutation("seats:offer", {"name": name})

    first = claim(backend, 0)
    backend.restart()
    again = claim(backend, 0)

    assert (again.value, again.ts, again.log_lines) == (b'"aisle"', first.ts, ["[LOG] looked, and found aisle"])
    assert backend.query("seats:free") == ["window"]


def test_one_that_wrote_nothing_does_not_write_when_it_comes_again(backend: TestBackend) -> None:
    """Its client was told that there is no seat, lost the connection before a transition and sends it again, to be told
    of one. It does not listen to the second answer: a seat that is claimed now would be nobody's."""
    first = claim(backend, 0)
    backend.mutation("seats:offer", {"name": "late"})

    again = claim(backend, 0)

    assert (first.value, again.value, again.ts) == (b"null", b"null", first.ts)
    assert backend.query("seats:free") == ["late"]


def test_two_copies_that_race_are_executed_once(backend: TestBackend) -> None:
    """The one of the old connection still runs when the new connection brings the other."""
    for name in ("aisle", "window"):
        backend.mutation("seats:offer", {"name": name})

    async def both() -> tuple[Outcome, Outcome]:
        return await asyncio.gather(sent(backend, 0), sent(backend, 0))

    one, other = backend.do(both())

    assert (one.value, one.ts) == (other.value, other.ts)
    assert len(backend.query("seats:free")) == 1


def test_one_that_failed_is_tried_again(backend: TestBackend) -> None:
    assert not claim(backend, 0, is_polite=False).ok
    backend.mutation("seats:offer", {"name": "late"})

    assert claim(backend, 0, is_polite=False).value == b'"late"'


def test_numbers_of_another_session_are_others(backend: TestBackend) -> None:
    for name in ("aisle", "window"):
        backend.mutation("seats:offer", {"name": name})

    answers = [claim(backend, 0, session).value for session in (SESSION, SESSION.replace("4", "5"))]

    assert answers == [b'"aisle"', b'"window"']


def test_a_session_keeps_its_latest_answers(backend: TestBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convexpy.runtime.session_requests.SESSION_REQUESTS_MAX", 2)
    for number in range(3):
        claim(backend, number)
    backend.mutation("seats:offer", {"name": "late"})

    assert [claim(backend, number).value for number in (2, 1)] == [b"null", b"null"]
    assert claim(backend, 0).value == b'"late"', "its answer has made room for the third"


def test_answers_are_kept_for_two_weeks(backend: TestBackend) -> None:
    claim(backend, 0)
    backend.mutation("seats:offer", {"name": "late"})

    backend.advance((SESSION_REQUEST_DAYS - 1) * 86_400)
    assert claim(backend, 0).value == b"null"
    backend.advance(2 * 86_400)
    assert claim(backend, 0).value == b'"late"'
