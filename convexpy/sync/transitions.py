"""When a session's next transition is due, and what is in it.

After every event:

  1. a transition starts at the version at which the one before it ended;
  2. all that the client holds was read at one timestamp, the end of the last transition;
  3. a transition's timestamp is at or after every commit the client has had a response for, and every commit that
     anybody had had a response for when the client asked for a query that it is the first to answer;
  4. after every response to a mutation or action follows a transition, if only an empty one.

A transition needs a timestamp at which all results hold. Where there is none, one round waits for each stale result to
come back once. If there is still none, because commits keep landing, a second round runs all queries together at one
snapshot: that is always a timestamp. So a client's news is at most two runs old, however busy the database is.

Source: wire-protocol 0, 3; DESIGN 7.
"""

from __future__ import annotations

from convexpy.limits import TRANSITION_CHUNK_BYTES
from convexpy.runtime.interface import Backend, Outcome
from convexpy.sync import messages
from convexpy.sync.effects import RunTogether
from convexpy.sync.messages import StateVersion
from convexpy.sync.outgoing import Outgoing
from convexpy.sync.query_set import QuerySet, modifications
from convexpy.sync.rounds import FirstRound, SecondRound


class Transitions:
    """What one client has been told, and is to be told next.

    Args:
        takes_chunks: whether the client can be sent a long transition in parts, so that it sees it arrive.

    Attributes:
        query_set_version, identity_version: what the next transition is to end at.
        skew_ms: the client's clock minus ours, as far as it has told.
        is_touched: a result of one of its queries has changed.
        is_owed: a transition is due even if nothing has changed.
    """

    def __init__(self, backend: Backend, queries: QuerySet, outgoing: Outgoing, *, takes_chunks: bool) -> None:
        self.query_set_version = 0
        self.identity_version = 0
        self.skew_ms: int | None = None
        self.is_touched = False
        self.is_owed = False
        self._backend = backend
        self._queries = queries
        self._outgoing = outgoing
        self._takes_chunks = takes_chunks
        self._sent = StateVersion()
        self._answered_ts = 0
        self._asked_ts = 0  # published when the client last asked for results; the first of these are no older
        self._held_responses: list[tuple[int, bytes]] = []
        self._first_round: FirstRound | None = None
        self._second_round: SecondRound | None = None

    @property
    def sent_identity(self) -> int:
        """The identity version that the client has been told."""
        return self._sent.identity

    @property
    def is_due(self) -> bool:
        """Whether there is anything to do for `advance`, and room for what comes of it."""
        return (self.is_touched or self.is_owed) and self._second_round is None and not self._outgoing.is_full

    def note_question(self) -> None:
        """The client asks for results from here on."""
        self._asked_ts = self._backend.published_ts

    def respond(self, ts: int, response: bytes) -> None:
        """Send a response; a transition at `ts` or later follows."""
        if self._second_round is not None:
            # Its snapshot may lie before this commit, and a transition must not lag behind a response.
            self._held_responses.append((ts, response))
            return
        self._outgoing.push(response)
        if ts > self._answered_ts:
            self._answered_ts = ts
        self.is_owed = True

    def advance(self, now_ns: int) -> RunTogether | None:
        """Send the transition that is due, or take the next step towards it: what is to be run together, if that."""
        lowest_ts = max(self._lowest_ts(), self._asked_ts)
        ts = self._queries.window(lowest_ts, self._backend.published_ts)
        if ts is None:
            if self._first_round is None:
                self._first_round = FirstRound(self._queries, lowest_ts)
            return self._begin_second_round() if self._first_round.is_over(self._queries) else None
        self._first_round = None
        self.is_touched = False
        changes = self._queries.take_changes()
        if changes or self.is_owed:
            self.is_owed = False
            self._send(StateVersion(self.query_set_version, self.identity_version, ts), changes, now_ns)
        return None

    def end_second_round(self) -> SecondRound:
        """It is back; `send_together` follows unless the session has ended."""
        round_, self._second_round = self._second_round, None
        assert round_ is not None, "no queries were asked to run together"
        return round_

    def send_together(self, round_: SecondRound, ts: int, outcomes: list[Outcome], now_ns: int) -> None:
        """Send what a second round has read at `ts`."""
        assert ts >= self._lowest_ts(), f"a snapshot at {ts} was taken for a client that is at {self._lowest_ts()}"
        held, self._held_responses = self._held_responses, []
        is_still_owed = self.is_owed  # for what the client asked while the round ran
        for commit_ts, response in held:
            if commit_ts <= ts:
                self.respond(commit_ts, response)
        self.is_owed = is_still_owed
        end = StateVersion(round_.query_set, round_.identity, ts)
        self._send(end, modifications(zip(round_.queries, outcomes, strict=True), round_.removed), now_ns)
        for commit_ts, response in held:
            if commit_ts > ts:
                self.respond(commit_ts, response)

    def _lowest_ts(self) -> int:
        return max(self._sent.ts, self._answered_ts)

    def _begin_second_round(self) -> RunTogether:
        self._first_round = None
        self.is_touched = self.is_owed = False
        queries = list(self._queries)
        removed = self._queries.take_removed()
        self._second_round = SecondRound(queries, removed, self.query_set_version, self.identity_version)
        return RunTogether([query.request() for query in queries])

    def _send(self, end: StateVersion, changes: list[bytes], now_ns: int) -> None:
        transition = messages.transition(self._sent, end, changes, self.skew_ms, now_ns)
        if self._takes_chunks and len(transition) > TRANSITION_CHUNK_BYTES:
            self._outgoing.push_transition(*messages.transition_chunks(transition, end.ts))
        else:
            self._outgoing.push_transition(transition)
        self._sent = end
