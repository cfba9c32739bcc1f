"""Deleting a table: refused while the schema needs it, gone at once, off the disk in portions.

Source: runtime-semantics 3.4, 3.5; 19, 64.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from convexpy import MutationCtx
from convexpy.errors import ConvexpyError, InvalidRequest
from convexpy.limits import SWEPT_KEYS_PER_COMMIT
from convexpy.runtime.interface import FunctionRequest
from convexpy.testing import TestBackend
from convexpy.transactions.checkup import Checkup
from tests.runtime.push_rig import add, at, die, functions, leftovers, schema

WriteProject = Callable[..., Path]
OTHERS = schema("'n': v.any()").replace("'things'", "'others'")
REFERRING = schema("'n': v.array(v.nullable(v.id('things')))").replace("'things': define", "'others': define")


def delete(backend: TestBackend, *names: str, component: str = "") -> None:
    backend.do(backend.server.deployer.delete_tables(component, list(names)))


def stored(backend: TestBackend) -> int:
    """Documents and entries that are on the disk, of whichever table."""
    with backend.store.snapshot() as snapshot:
        documents = sum(1 for _ in snapshot.document_entries(b"\x00\x00\x04", b"\x80", False))
        return documents + sum(1 for _ in snapshot.index_keys(b"\x80\x00\x04", b"\xff" * 5, False))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (schema("'n': v.any()"), "it appears in the schema"),
        (REFERRING, r'v\.id\("things"\) appears in the schema of table "others"'),
    ],
)
def test_a_table_that_the_schema_needs_is_kept(write_project: WriteProject, source: str, reason: str) -> None:
    """Also from deletion together with one that may go: none of them does."""
    with TestBackend(write_project(things=functions("one"), schema=source)) as backend:
        add(backend, 1)
        backend.run(lambda ctx: ctx.db.insert("spare", {}))
        with pytest.raises(InvalidRequest, match=f'^Failed to delete table "things" because {reason}$'):
            delete(backend, "spare", "things")

        assert backend.query("things:numbers") == [1]
        assert backend.run(lambda ctx: len(ctx.db.query("spare").collect())) == 1


def test_what_a_push_under_way_needs_is_kept_too(write_project: WriteProject) -> None:
    """It will be in the schema in a moment."""
    with TestBackend(write_project(things=functions("one"), schema=OTHERS)) as backend:
        add(backend, 1)
        write_project(schema=schema("'n': v.any()"))

        async def try_it() -> None:
            with pytest.raises(InvalidRequest, match="it appears in the schema"):
                await backend.server.deployer.delete_tables("", ["things"])

        with at(backend, ("push.switch", 0), try_it):
            backend.push()

        assert backend.query("things:numbers") == [1]


@pytest.mark.parametrize(("name", "component", "text"), [("no", "", "does not exist"), ("things", "no", "not found")])
def test_what_does_not_exist_cannot_be_deleted(
    write_project: WriteProject, name: str, component: str, text: str
) -> None:
    with TestBackend(write_project(things=functions("one"))) as backend, pytest.raises(InvalidRequest, match=text):
        delete(backend, name, component=component)


def test_a_table_is_gone_at_once_for_everybody(write_project: WriteProject) -> None:
    """Its documents, its ids, results that are cached; what comes under its name is another table."""
    with TestBackend(write_project(things=functions("one"), schema=OTHERS)) as backend:
        ids = add(backend, *range(3 * SWEPT_KEYS_PER_COMMIT))
        assert len(backend.query("things:numbers")) == len(ids), "so that the result is cached"
        before = stored(backend)

        async def delete_and_ask() -> tuple[bytes, int]:
            await backend.server.deployer.delete_tables("", ["things"])
            outcome = await backend.runtime.query(FunctionRequest(path="things:numbers", args=b"{}"))
            return outcome.value, stored(backend)

        value, left = backend.do(delete_and_ask())

        assert value == b"[]"
        assert left > before // 2, "the data goes afterwards"
        assert backend.run(lambda ctx: ctx.db.get(ids[0])) is None
        (again,) = add(backend, 7)
        assert again not in ids
        assert backend.query("things:numbers") == [7]
        assert backend.run(lambda ctx: ctx.db.normalize_id("things", ids[0])) is None
        assert leftovers(backend) == []
        assert stored(backend) == 2, "one document with one entry"
        with pytest.raises(ConvexpyError, match="nonexistent"):
            backend.run(lambda ctx: ctx.db.patch(ids[0], {"n": 1}))


def test_a_subscription_hears_of_the_deletion_itself(write_project: WriteProject) -> None:
    """Not only of the deletion of its rows: its result ends with the commit that takes the table out of the catalog."""

    class Listener:
        def entry_changed(self) -> None:
            """Hears, and asks below."""

    async def watch_and_delete() -> tuple[int | None, int | None]:
        request, listener = FunctionRequest(path="things:numbers", args=b"{}"), Listener()
        entry = backend.runtime.live.subscribe(request, listener)
        await backend.runtime.query(request)
        before = entry.valid_until_ts
        await backend.runtime.run_system("tables.delete", {"component": "", "tables": ["things"]})
        after = entry.valid_until_ts
        backend.runtime.live.unsubscribe(entry, listener)
        return before, after

    with TestBackend(write_project(things=functions("one"), schema=OTHERS)) as backend:
        add(backend, 1)
        before, after = backend.do(watch_and_delete())

    assert before is None
    assert after is not None


def test_a_kill_in_the_midst_of_it_is_made_good(write_project: WriteProject) -> None:
    """The next start finds documents and entries that belong to no table."""
    with TestBackend(write_project(things=functions("one"), schema=OTHERS)) as backend:
        add(backend, *range(3 * SWEPT_KEYS_PER_COMMIT))
        with at(backend, ("tables.sweep", 2), die):
            delete(backend, "things")
            backend.advance()
        assert next(Checkup(backend.store).problems())

        backend.restart()

        assert leftovers(backend) == []
        assert stored(backend) == 0


def test_a_table_may_be_deleted_and_made_again(write_project: WriteProject) -> None:
    with TestBackend(write_project(things=functions("one"), schema=OTHERS)) as backend:

        def write(ctx: MutationCtx) -> int:
            ctx.db.insert("things", {"n": 1})
            return len(ctx.db.query("things").collect())

        for _ in range(3):
            assert [backend.run(write) for _ in range(3)] == [1, 2, 3]
            delete(backend, "things")

        assert leftovers(backend) == []
        assert stored(backend) == 0
