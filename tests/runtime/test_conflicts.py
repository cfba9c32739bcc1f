"""What a caller is told when a mutation truly cannot finish: which document of which table, and who wrote it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec import Raw

from convexpy.errors import Conflict
from convexpy.limits import MUTATION_ATTEMPTS_MAX
from convexpy.testing import TestBackend
from convexpy.transactions.catalog import load_catalog
from convexpy.transactions.commit_messages import Committed, Conflicted, Refused
from convexpy.values import decode_id


class AlwaysTooLate:
    """A commit queue in which somebody else has always just written the same key."""

    def __init__(self, key: bytes, written_by: str) -> None:
        self._lost = Conflicted(1, 7, key, written_by)
        self.requests = 0

    def submit(self, commit: Raw) -> asyncio.Future[Committed | Conflicted | Refused]:
        self.requests += 1
        future: asyncio.Future[Committed | Conflicted | Refused] = asyncio.get_running_loop().create_future()
        future.set_result(self._lost)
        return future

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[AlwaysTooLate]:
        yield self


def lose(backend: TestBackend, monkeypatch: pytest.MonkeyPatch, key: bytes, written_by: str) -> Conflict:
    """Call a mutation that loses all its attempts; its error."""
    commits = AlwaysTooLate(key, written_by)
    monkeypatch.setattr(backend.runtime, "commits", commits)
    with pytest.raises(Conflict) as caught:
        backend.mutation("calls:add")
    assert commits.requests == MUTATION_ATTEMPTS_MAX
    return caught.value


@pytest.mark.parametrize("place", ["document", "index"])
def test_the_document_its_table_and_its_writer_are_named(
    backend: TestBackend, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    document_id = backend.mutation("calls:add")
    with backend.store.snapshot() as snapshot:
        notes = load_catalog(snapshot).by_name[0, "notes"]
    internal_id = decode_id(document_id)[1]
    index = next(iter(notes.indexes.values()))
    key = notes.prefix + internal_id if place == "document" else index.prefix + b"any sort key" + internal_id
    error = lose(backend, monkeypatch, key, "counters:add")

    assert (error.function, error.table, error.document_id) == ("calls:add", "notes", document_id)
    assert str(error).startswith(
        'Documents read from or written to the "notes" table changed while this mutation was being run and on every '
        "subsequent retry."
    )
    assert f"counters:add wrote document {document_id} in it at ts 7." in str(error)


def test_where_no_document_was_in_the_way_none_is_named(backend: TestBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    error = lose(backend, monkeypatch, b"", "commits older than the write log keeps")

    assert (error.table, error.document_id) == (None, None)
    assert "commits older than the write log keeps" in str(error)
