"""The committer's process with the real database behind it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from convexpy.processes.supervisor import Supervisor
from convexpy.storage.lmdb_store import LmdbStore
from convexpy.transactions.commit_messages import CommitRequest, Committed, DocumentWrite, Reads
from tests.processes.rig import Reports, run


@pytest.mark.parametrize("is_relaxed", [False, True])
def test_what_is_answered_is_in_the_database_and_timestamps_rise_over_restarts(
    is_relaxed: bool, tmp_path: Path
) -> None:
    """Another process sees the commit at the timestamp that was answered; the next committer goes on from there."""

    async def commit(key: bytes) -> int:
        fatal = Reports()
        supervisor = Supervisor(
            tmp_path,
            on_batch=lambda _: None,
            on_fatal=fatal.append,
            on_output=lambda _: None,
            report=fatal.append,
            is_relaxed=is_relaxed,
        )
        await supervisor.start()
        request = CommitRequest(0, -1, "test", Reads([], []), [DocumentWrite(key, b"value", None)], [], [], [])
        with closing(LmdbStore(tmp_path, readonly=True)) as store:
            with store.snapshot() as snapshot:
                request.begin_ts = snapshot.ts
            outcome = await supervisor.commits.submit(Raw(msgspec.msgpack.encode(request)))
            assert isinstance(outcome, Committed)
            with store.snapshot() as snapshot:
                assert snapshot.ts == outcome.ts
                assert (snapshot.document(key) or b"").endswith(b"value")
        await supervisor.stop()
        assert fatal == []
        return outcome.ts

    first = run(commit(b"\0\0\0\1" + b"a" * 16))
    second = run(commit(b"\0\0\0\1" + b"b" * 16))

    assert second > first
