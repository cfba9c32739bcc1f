"""A client that believes nothing: it checks each message against the history of the database.

Source of the rules: wire-protocol 0.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from convexpy.runtime.timestamps import decode_ts
from tests.sync.fake_backend import FakeBackend


class ModelClient:
    """Speaks to a `SyncState`, or anything else that takes client messages and gives server messages."""

    def __init__(self, backend: FakeBackend, send: Callable[[str], None]) -> None:
        self._backend = backend
        self._send = send
        self.query_set_version = 0
        self.identity_version = 0
        self.queries: dict[int, list[str]] = {}
        self._queries_at: dict[int, dict[int, list[str]]] = {0: {}}
        self._identity_at: dict[int, str | None] = {0: None}
        self._asked_at: dict[tuple[str, int], int] = {}  # published when a version was asked for that needs new results
        self.results: dict[int, Any] = {}
        self.version: dict[str, Any] = {"querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA="}
        self.answered_ts = 0
        self.unreflected = 0  # responses without a later transition
        self.answers: list[int] = []
        self.transitions = 0
        self.last: dict[str, Any] = {}
        self._next_id = 0

    @property
    def ts(self) -> int:
        return decode_ts(self.version["ts"])

    # --- to the server ---

    def send(self, **message: Any) -> None:
        self._send(json.dumps(message))

    def connect(self, session_id: str = "4339ecba-272a-47a4-a95c-26938a22326a") -> None:
        self.send(type="Connect", sessionId=session_id, connectionCount=0, lastCloseReason="InitialConnect", clientTs=0)

    def modify(self, add: list[list[str]] | None = None, remove: list[int] | None = None) -> list[int]:
        added: list[int] = []
        changes: list[dict[str, Any]] = []
        for keys in add or []:
            query_id, self._next_id = self._next_id, self._next_id + 1
            added.append(query_id)
            self.queries[query_id] = keys
            args = [{"keys": keys}]
            changes.append({"type": "Add", "queryId": query_id, "udfPath": "db:read", "args": args})
        for query_id in remove or []:
            del self.queries[query_id]
            changes.append({"type": "Remove", "queryId": query_id})
        base, self.query_set_version = self.query_set_version, self.query_set_version + 1
        self._queries_at[self.query_set_version] = dict(self.queries)
        if add:
            self._asked_at["querySet", self.query_set_version] = self._backend.published_ts
        self.send(type="ModifyQuerySet", baseVersion=base, newVersion=base + 1, modifications=changes)
        return added

    def authenticate(self, subject: str | None, admin_key: str) -> None:
        base, self.identity_version = self.identity_version, self.identity_version + 1
        self._identity_at[self.identity_version] = subject
        self._asked_at["identity", self.identity_version] = self._backend.published_ts
        if subject is None:
            self.send(type="Authenticate", baseVersion=base, tokenType="None")
        else:
            acting_as = {"issuer": "test", "subject": subject}
            self.send(
                type="Authenticate", baseVersion=base, tokenType="Admin", value=admin_key, impersonating=acting_as
            )

    def present(self, token: str, subject: str) -> None:
        """Bring a user's token; `subject` is whom it is for."""
        base, self.identity_version = self.identity_version, self.identity_version + 1
        self._identity_at[self.identity_version] = subject
        self.send(type="Authenticate", baseVersion=base, tokenType="User", value=token)

    # --- from the server ---

    def receive(self, text: bytes | str) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(text)
        match message["type"]:
            case "Transition":
                self._apply(message)
            case "MutationResponse" | "ActionResponse":
                self.unreflected += 1
                assert message["requestId"] not in self.answers, "answered twice"
                self.answers.append(message["requestId"])
                if message["success"] and message["type"] == "MutationResponse":
                    commit_ts = decode_ts(message["ts"])
                    assert self.ts < commit_ts or commit_ts == self._backend.published_ts, (
                        "shown before it was answered"
                    )
                    self.answered_ts = max(self.answered_ts, commit_ts)
        self.last = message
        return message

    def _apply(self, message: dict[str, Any]) -> None:
        assert message["startVersion"] == self.version, "does not start where the one before ended"
        before, self.version = self.version, message["endVersion"]
        ts = self.ts
        assert ts >= decode_ts(before["ts"]), "time ran backwards"
        assert self.version["querySet"] >= before["querySet"]
        assert self.version["identity"] >= before["identity"]
        assert ts >= self.answered_ts, "does not reflect a commit that was answered"
        assert ts <= self._backend.published_ts, "not published yet"
        for part in ("querySet", "identity"):
            for version in range(before[part] + 1, self.version[part] + 1):
                assert ts >= self._asked_at.get((part, version), 0), "older than the question"
        ids = [modification["queryId"] for modification in message["modifications"]]
        assert ids == sorted(set(ids))
        for modification in message["modifications"]:
            if modification["type"] == "QueryRemoved":
                self.results.pop(modification["queryId"], None)
            else:
                known = self.results.get(modification["queryId"])
                assert modification.get("value") != known or known is None, "an unchanged result was sent again"
                self.results[modification["queryId"]] = modification["value"]
        assert self.results == self.expected(ts), f"results are not those of ts {ts}"
        self.unreflected = 0
        self.transitions += 1

    def expected(self, ts: int) -> dict[int, Any]:
        """What the query set of the current version gives at `ts`."""
        who = self._identity_at.get(self.version["identity"])  # a raw Authenticate is not in it
        return {
            query_id: {"who": who, **{key: self._backend.read(key, ts) for key in keys}}
            for query_id, keys in self._queries_at[self.version["querySet"]].items()
        }
