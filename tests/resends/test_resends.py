"""The short form, and that it would see a second execution."""

from __future__ import annotations

import pytest

from tests.resends.client import ResendingClient
from tests.resends.run import resend
from tests.seeds import asked_seed


def test_a_mutation_is_executed_once_however_often_it_is_sent() -> None:
    """The seed is printed; `python -m tests.resends --mutations 3000 --kills 1 --seed N` breaks the same again."""
    report = resend(3_000, 1, asked_seed("RESEND_SEED"), print)

    assert report.sent > report.mutations, "nothing was sent twice, so nothing was tried"
    assert report.faults == []


def test_without_a_session_requests_sent_again_are_executed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol has no exactly once without `Connect`: here the same judge finds what it is there to find."""

    async def send_only_the_query_set(self: ResendingClient, socket: object) -> None:
        self.connections += 1
        message = '{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":[]}'
        await socket.send(message)  # type: ignore[attr-defined]

    monkeypatch.setattr(ResendingClient, "_greet", send_only_the_query_set)

    report = resend(1_500, 0, 1, print)

    assert any("the rows are" in fault for fault in report.faults)
