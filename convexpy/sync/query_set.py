"""The queries of one client: their live entries, and what the client was last told about each.

Source: wire-protocol 3.2; DESIGN 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import structs

from convexpy.runtime.identity import Caller
from convexpy.runtime.interface import Entry, FunctionRequest, Listener, LiveQueries, Outcome
from convexpy.sync import messages

_REQUEST_ID = re.compile(r"\[Request ID: [^\]]*\]")


class ClientQuery:
    """One query: where its results come from, and the last one that was sent."""

    def __init__(self, query_id: int, entry: Entry) -> None:
        self.id = query_id
        self.entry = entry
        self.journal = entry.request.journal
        self.sent: Outcome | None = None

    def request(self) -> FunctionRequest:
        """What to run so that a page the client already holds keeps its end."""
        return structs.replace(self.entry.request, journal=self.journal)

    def result(self, outcome: Outcome) -> bytes | None:
        """Encode `outcome` unless the client holds an equal one; from here on the client is taken to hold it."""
        is_known = self.sent is not None and _is_same(self.sent, outcome)
        self.sent = outcome
        # A failed run says nothing about the page, so the client's own journal stays.
        if outcome.ok:
            self.journal = outcome.journal
        return None if is_known else messages.query_result(self.id, outcome, self.journal)


class QuerySet:
    """The queries by id, in the client's own numbering."""

    def __init__(self, live: LiveQueries, listener: Listener) -> None:
        self._live = live
        self._listener = listener
        self._queries: dict[int, ClientQuery] = {}
        self._removed: set[int] = set()

    def __len__(self) -> int:
        return len(self._queries)

    def __contains__(self, query_id: int) -> bool:
        return query_id in self._queries

    def __iter__(self) -> Iterator[ClientQuery]:
        return iter(self._queries.values())

    def add(self, query_id: int, request: FunctionRequest) -> None:
        self._queries[query_id] = ClientQuery(query_id, self._live.subscribe(request, self._listener))
        self._removed.discard(query_id)  # its result replaces what the client had under the id

    def remove(self, query_id: int) -> None:
        query = self._queries.pop(query_id)
        self._live.unsubscribe(query.entry, self._listener)
        self._removed.add(query_id)

    def change_caller(self, caller: Caller) -> None:
        """Have every query run for `caller`. Results that come out the same are not sent again."""
        for query in self:
            request = query.request()
            changed = structs.replace(request, identity=caller.identity, is_admin=caller.is_admin)
            if changed != request:
                old = query.entry
                query.entry = self._live.subscribe(changed, self._listener)
                self._live.unsubscribe(old, self._listener)

    def close(self) -> None:
        for query in self:
            self._live.unsubscribe(query.entry, self._listener)
        self._queries.clear()

    def window(self, lowest_ts: int, published_ts: int) -> int | None:
        """The newest timestamp from `lowest_ts` on at which all results hold; None if there is none yet."""
        highest_ts = published_ts
        for query in self._queries.values():
            entry = query.entry
            if entry.outcome is None:
                return None
            if entry.snapshot_ts > lowest_ts:
                lowest_ts = entry.snapshot_ts
            valid_until_ts = entry.valid_until_ts
            if valid_until_ts is not None and valid_until_ts <= highest_ts:
                highest_ts = valid_until_ts - 1
        return highest_ts if lowest_ts <= highest_ts else None

    def take_changes(self) -> list[bytes]:
        """What the client does not hold yet, as modifications; from here on it is taken to."""
        results = []
        for query in self._queries.values():
            outcome = query.entry.outcome
            if outcome is not None and outcome is not query.sent:
                results.append((query, outcome))
        return modifications(results, self.take_removed()) if results or self._removed else []

    def take_removed(self) -> list[int]:
        """Ids that the client is yet to be told the removal of."""
        removed = sorted(self._removed)
        self._removed.clear()
        return removed


def modifications(results: Iterable[tuple[ClientQuery, Outcome]], removed: list[int]) -> list[bytes]:
    """What a transition changes, by ascending query id."""
    changed = [(query_id, messages.query_removed(query_id)) for query_id in removed]
    for query, outcome in results:
        encoded = query.result(outcome)
        if encoded is not None:
            changed.append((query.id, encoded))
    return [encoded for _, encoded in sorted(changed)]


def _is_same(old: Outcome, new: Outcome) -> bool:
    """Whether a client would see no difference. Request ids and journals are none."""
    if old is new:
        return True
    if old.ok != new.ok or old.log_lines != new.log_lines:
        return False
    if new.ok:
        return old.value == new.value
    return old.error_data == new.error_data and _REQUEST_ID.sub("", old.error) == _REQUEST_ID.sub("", new.error)
