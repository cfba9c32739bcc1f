"""Whatever the order of commits, runs, calls and a slow socket, is what the client holds true at its timestamp?

Every message goes through `ModelClient`, which checks it against the database's history; in the end everything that
was asked for must have arrived. A failure prints the shortest order of events that hypothesis finds, and its seed.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from convexpy.limits import UNSENT_TRANSITIONS_MAX
from convexpy.runtime.identity import AdminKeyAuthenticator
from convexpy.runtime.interface import Outcome
from convexpy.sync.effects import Close, RunAction, RunMutation, RunTogether
from convexpy.sync.state import SyncState
from tests.sync.fake_backend import FakeBackend, FakeEntry
from tests.sync.model_client import ModelClient

ADMIN_KEY = "test|secret"
KEYS = ["a", "b", "c"]
keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=2, unique=True)


class AnyOrder(RuleBasedStateMachine):
    """One session. Each rule is one event that the real world may bring at that moment."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = FakeBackend()
        self.state = SyncState(self.backend, AdminKeyAuthenticator(ADMIN_KEY), lambda: None)
        self.client = ModelClient(self.backend, lambda text: self.state.receive(text, now_ns=0))
        self.client.connect()
        self.calls: deque[RunMutation | RunAction] = deque()
        self.together: RunTogether | None = None
        self.together_ran: tuple[int, list[Outcome]] | None = None
        self.requested = 0
        self.value = 0
        self.rounds_in_a_row = 0

    @initialize()
    def client_watches_two_keys(self) -> None:
        """Most of what can go wrong needs two results of different age."""
        self.client.modify([["a"], ["b"]])
        self.settle()
        for entry in self.running(False):
            self.backend.begin_run(entry)
            self.backend.end_run(entry)
        self.the_socket_drains()

    # --- the client ---

    @rule(added=st.lists(keys, max_size=2), data=st.data())
    def client_changes_its_queries(self, added: list[list[str]], data: st.DataObject) -> None:
        known = sorted(self.client.queries)
        removed = data.draw(st.lists(st.sampled_from(known), unique=True, max_size=2)) if known else []
        self.client.modify(added, removed)
        self.settle()

    @rule(subject=st.sampled_from([None, "ada", "bob"]))
    def client_changes_who_it_is(self, subject: str | None) -> None:
        self.client.authenticate(subject, ADMIN_KEY)
        self.settle()

    @rule(kind=st.sampled_from(["Mutation", "Action"]))
    def client_calls(self, kind: str) -> None:
        self.client.send(type=kind, requestId=self.requested, udfPath="db:write", args=[{}])
        self.requested += 1
        self.settle()

    # --- the database ---

    def commit(self, key: str) -> int:
        self.value += 1
        return self.backend.commit(key, self.value)

    @rule(key=st.sampled_from(KEYS))
    def somebody_commits(self, key: str) -> None:
        self.commit(key)
        self.settle()

    @precondition(lambda self: self.calls)
    @rule(key=st.sampled_from(KEYS), is_ok=st.booleans(), data=st.data())
    def a_call_ends(self, key: str, is_ok: bool, data: st.DataObject) -> None:
        """A commit is answered in the step that publishes it."""
        index = data.draw(st.integers(0, len(self.calls) - 1))
        call = self.calls[index]
        del self.calls[index]
        ts = self.commit(key) if is_ok else 0
        outcome = Outcome(ok=is_ok, value=b"null", error="no", ts=ts)
        if isinstance(call, RunMutation):
            self.state.mutation_ended(call.request_id, outcome)
        else:
            self.state.action_ended(call.request_id, outcome)
        self.settle()

    def running(self, has_begun: bool) -> list[FakeEntry]:
        return [
            entry
            for entry in self.backend.entries.values()
            if entry.is_running and (entry.running is not None) is has_begun
        ]

    @precondition(lambda self: self.running(False))
    @rule(data=st.data())
    def a_run_begins(self, data: st.DataObject) -> None:
        entries = self.running(False)
        self.backend.begin_run(entries[data.draw(st.integers(0, len(entries) - 1))])

    @precondition(lambda self: self.running(True))
    @rule(data=st.data())
    def a_run_ends(self, data: st.DataObject) -> None:
        entries = self.running(True)
        self.backend.end_run(entries[data.draw(st.integers(0, len(entries) - 1))])
        self.settle()

    @precondition(lambda self: self.together is not None and self.together_ran is None)
    @rule()
    def the_second_round_runs(self) -> None:
        assert self.together is not None
        ts = self.backend.published_ts
        self.together_ran = (ts, self.backend.run_together_at(self.together.requests, ts))

    @precondition(lambda self: self.together_ran is not None)
    @rule()
    def the_second_round_is_back(self) -> None:
        assert self.together_ran is not None
        (ts, outcomes), self.together, self.together_ran = self.together_ran, None, None
        transitions = self.state.outgoing._unsent_transitions
        self.state.ran_together(ts, outcomes, now_ns=0)
        assert self.state.outgoing._unsent_transitions == transitions + 1, "a second round must end in a transition"
        self.settle()

    # --- the socket ---

    @rule()
    def the_socket_drains(self) -> None:
        self.settle()
        while (message := self.state.outgoing.take()) is not None:
            self.client.receive(message)
            self.state.outgoing.sent()
            self.settle()

    @rule()
    def the_socket_takes_a_message(self) -> None:
        if (message := self.state.outgoing.take()) is not None:
            self.client.receive(message)
            self.state.outgoing.sent()
        self.settle()

    def settle(self) -> None:
        """What the transport does after every event."""
        self.state.advance(now_ns=0)
        assert self.state.outgoing._unsent_transitions <= UNSENT_TRANSITIONS_MAX + 1  # one may be on its way: a round
        while self.state.effects:
            effect = self.state.effects.popleft()
            if isinstance(effect, RunTogether):
                assert self.together is None, "two second rounds at once"
                self.together = effect
            else:
                assert isinstance(effect, RunMutation | RunAction)
                assert isinstance(effect, RunAction) or not any(isinstance(call, RunMutation) for call in self.calls)
                self.calls.append(effect)
        assert self.state.closing is None

    def teardown(self) -> None:
        """Once the database rests, everything arrives, within one run a query and one second round."""
        steps = 0
        while True:
            steps += 1
            assert steps < 1000, "the session never comes to rest"
            self.settle()
            if (message := self.state.outgoing.take()) is not None:
                self.client.receive(message)
                self.state.outgoing.sent()
            elif self.calls:
                call = self.calls.popleft()
                ended: Any = self.state.mutation_ended if isinstance(call, RunMutation) else self.state.action_ended
                ended(call.request_id, Outcome(ok=True, ts=self.commit("a")))
            elif entries := self.running(False):
                self.backend.begin_run(entries[0])
            elif entries := self.running(True):
                self.backend.end_run(entries[0])
            elif self.together is not None and self.together_ran is None:
                self.the_second_round_runs()
            elif self.together_ran is not None:
                self.the_second_round_is_back()
            else:
                break
        assert self.client.unreflected == 0, "a response without a later transition"
        assert sorted(self.client.answers) == list(range(self.requested))
        assert self.client.version["querySet"] == self.client.query_set_version
        assert self.client.version["identity"] == self.client.identity_version
        assert self.client.results == self.client.expected(self.backend.published_ts)
        self.state.close(Close(1001))
        assert not self.backend.entries, "subscriptions outlive the session"


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=250, stateful_step_count=50, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck)
)
