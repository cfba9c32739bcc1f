"""Indexes over pushes: what is kept, built, dropped and staged, while others write.

Source: runtime-semantics 2.4, 2.7; 19, 65 and 67.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from convexpy.errors import ConvexpyError, InvalidRequest, PushSuperseded
from convexpy.functions.application import load_application
from convexpy.limits import BACKFILL_ROWS_PER_COMMIT, INDEXES_MAX, PROGRESS_REPORT_SECONDS, UPKEEP_RETRY_SECONDS
from convexpy.runtime.deployment import Stage
from convexpy.testing import TestBackend
from convexpy.transactions.catalog import load_catalog
from tests.runtime.push_rig import Step, add, at, between, by, call, counted, die, functions, leftovers, schema

WriteProject = Callable[..., Path]
FIELDS = "'n': v.number(), 'm': v.optional(v.number())"
PLAIN = schema(FIELDS)
INDEXED = schema(FIELDS, "'by_n', ['n']")
STAGED = schema(FIELDS, "'by_n', ['n'], staged=True")
MANY = 2 * BACKFILL_ROWS_PER_COMMIT + 1


def numbers_of_indexes(backend: TestBackend) -> dict[str, int]:
    with backend.store.snapshot() as snapshot:
        table = load_catalog(snapshot).by_name[0, "things"]
    return {index.name: index.keyspace for index in table.indexes.values()}


def test_identical_indexes_are_kept_changed_ones_are_new(write_project: WriteProject) -> None:
    """By name and fields together; a field more, a field less or their order make another index."""
    fields = "'a': v.optional(v.any()), 'b': v.optional(v.any()), 'n': v.any()"
    project = write_project(schema=schema(fields, "'same', ['a']", "'turned', ['a', 'b']", "'gone', ['b']"))
    with TestBackend(project) as backend:
        add(backend, 1, 2)
        before = numbers_of_indexes(backend)
        write_project(schema=schema(fields, "'new', ['b', 'n']", "'same', ['a']", "'turned', ['b', 'a']"))
        pushed = backend.push()
        after = numbers_of_indexes(backend)

        assert pushed.added_indexes == ["things.new", "things.turned"]
        assert pushed.removed_indexes == ["things.turned", "things.gone"]
        assert after["same"] == before["same"]
        assert after["turned"] != before["turned"]
        assert leftovers(backend) == []
        assert pushed.describe().endswith(
            "index things.new added, index things.turned added, index things.turned removed, index things.gone removed"
        )


def test_the_indexes_being_built_count(write_project: WriteProject) -> None:
    """While they are built the table has the old ones too; the push that would exceed the limit changes nothing."""

    def indexes(prefix: str, count: int) -> list[str]:
        return [f"'{prefix}_{number}', ['n', 'f{number}']" for number in range(count)]

    fields = "'n': v.any(), " + ", ".join(f"'f{number}': v.optional(v.any())" for number in range(INDEXES_MAX))
    old = INDEXES_MAX - 4
    project = write_project(things=functions("old"), schema=schema(fields, *indexes("old", old)))
    with TestBackend(project) as backend:
        add(backend, 1)
        write_project(things=functions("new"), schema=schema(fields, *indexes("new", 5)))
        with pytest.raises(InvalidRequest, match=rf'"things" would have {INDEXES_MAX + 1} indexes .* {INDEXES_MAX}\.'):
            backend.push()

        assert backend.query("things:version") == "old"
        assert len(numbers_of_indexes(backend)) == old + 1
        write_project(schema=schema(fields, *indexes("new", 4)))
        assert len(backend.push().removed_indexes) == old
        write_project(schema=schema(fields, *indexes("new", 5)))
        backend.push()
        assert leftovers(backend) == []


def test_an_index_that_is_being_built_is_maintained_and_not_to_be_queried(write_project: WriteProject) -> None:
    """What is inserted, moved and deleted meanwhile is right in it at the end; the running code cannot name it."""
    project = write_project(things=functions("old") + READ_BY_N, schema=PLAIN)
    with TestBackend(project) as backend:
        ids = add(backend, *range(MANY))
        write_project(schema=INDEXED)
        errors: list[str] = []

        async def write() -> None:
            await call(backend, "things:add", n=-1)
            await call(backend, "things:change", id=ids[0], n=-2)
            await call(backend, "things:change", id=ids[-1], n=-3)
            errors.append((await call(backend, "things:read_by_n")).error)

        with at(backend, ("push.build_index", 1), write):
            backend.push()

        assert "Index things.by_n is currently backfilling and not available to query yet." in errors[0]
        assert by(backend, "by_n") == [-3, -2, -1, *range(1, MANY - 1)]
        assert leftovers(backend) == []


READ_BY_N = """
@mutation
def read_by_n(ctx):
    return len(ctx.db.query("things").with_index("by_n").collect())
"""


def test_a_hot_document_does_not_keep_an_index_from_being_built(write_project: WriteProject) -> None:
    """Each chunk with it loses twice; then it has its exclusive turn."""
    project = write_project(things=functions("old"), schema=PLAIN)
    with TestBackend(project) as backend:
        (hot,) = add(backend, 1)
        write_project(schema=INDEXED)
        has_switched = False

        async def write() -> int:
            written = 0
            while not has_switched:
                assert (await call(backend, "things:change", id=hot, n=written)).ok
                written += 1
            return written

        async def begin() -> asyncio.Task[int]:
            return asyncio.ensure_future(write())

        async def note_switch(step: Step) -> None:
            nonlocal has_switched
            has_switched = step[0] == "push.switch"

        writer = backend.do(begin())
        with between(backend, note_switch) as steps:
            backend.push()
        written = backend.do(asyncio.wait_for(writer, None))

        assert ("push.build_index", 0) in steps
        assert backend.runtime.conflicts > 0
        assert by(backend, "by_n") == [written - 1]
        assert leftovers(backend) == []


# --- staged indexes


def test_a_staged_index_is_built_after_the_push(write_project: WriteProject) -> None:
    """The push does not wait; the operator hears of the end; removing the flag is instant then."""
    project = write_project(things=functions("old"), schema=PLAIN)
    with TestBackend(project) as backend:
        add(backend, *range(MANY))
        write_project(schema=STAGED)
        with between(backend, _nothing) as steps:
            pushed = backend.push()
            during = [name for name, _ in steps]
            backend.advance()
        assert pushed.staged_indexes == ["things.by_n"]
        assert "index things.by_n staged" in pushed.describe()
        assert "push.build_index" not in during
        assert [name for name, _ in steps].count("push.build_index") == 3
        assert backend.reports[-1] == (
            f"Staged index things.by_n is built ({MANY:,} documents). Remove staged=True to use it."
        )
        with pytest.raises(ConvexpyError) as refused:
            by(backend, "by_n")
        assert "Index things.by_n is currently staged and not available to query until it is enabled" in str(
            refused.value
        )

        write_project(schema=INDEXED)
        assert "push.build_index" not in counted(backend)
        assert by(backend, "by_n") == list(range(MANY))
        assert leftovers(backend) == []


async def _nothing(step: Step) -> None:
    """Only look."""


async def fail() -> None:
    raise ConvexpyError("the disk is full")


def test_work_that_failed_is_tried_again(write_project: WriteProject) -> None:
    project = write_project(things=functions("old"), schema=PLAIN)
    with TestBackend(project) as backend:
        add(backend, *range(MANY))
        write_project(schema=STAGED)
        with at(backend, ("push.build_index", 1), fail):
            backend.push()
            backend.advance(UPKEEP_RETRY_SECONDS - 1)
            assert len(backend.reports) == 1
            backend.advance(2)

        assert f"is built ({MANY:,} documents)" in backend.reports[-1]


def test_enabling_one_that_is_not_built_yet_waits(write_project: WriteProject) -> None:
    project = write_project(things=functions("old"), schema=PLAIN)
    with TestBackend(project) as backend:
        add(backend, *range(MANY))
        write_project(schema=STAGED)
        with at(backend, ("push.build_index", 1), fail):
            backend.push()
            backend.advance()
        assert backend.reports == ["Work on indexes is tried again in 30 s: the disk is full"]
        write_project(schema=INDEXED)
        with between(backend, _nothing) as steps:
            pushed = backend.push()

        assert [name for name, _ in steps].count("push.build_index") == 2, "one of three chunks was done"
        assert pushed.enabled_indexes == ["things.by_n"]
        assert by(backend, "by_n") == list(range(MANY))
        assert leftovers(backend) == []


@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_a_staged_build_goes_on_after_a_restart(write_project: WriteProject, chunk: int) -> None:
    project = write_project(things=functions("old"), schema=PLAIN)
    with TestBackend(project) as backend:
        add(backend, *range(MANY))
        write_project(schema=STAGED)
        with at(backend, ("push.build_index", chunk), die):
            backend.push()
            backend.advance()
        backend.restart()
        backend.advance()
        assert any("is built" in line for line in backend.reports)

        write_project(schema=INDEXED)
        assert "push.build_index" not in counted(backend)
        assert by(backend, "by_n") == list(range(MANY))


def test_a_staged_index_that_leaves_the_schema_half_built_is_gone(write_project: WriteProject) -> None:
    project = write_project(things=functions("old"), schema=PLAIN)
    with TestBackend(project) as backend:
        add(backend, *range(MANY))
        write_project(schema=STAGED)
        with at(backend, ("push.build_index", 1), fail):
            backend.push()
            backend.advance()
        write_project(schema=PLAIN)

        assert backend.push().removed_indexes == ["things.by_n"]
        assert leftovers(backend) == []


def test_an_index_can_be_staged_again(write_project: WriteProject) -> None:
    """It is maintained on, and need not be built again."""
    with TestBackend(write_project(things=functions("old"), schema=INDEXED)) as backend:
        add(backend, 3, 1)
        write_project(schema=STAGED)
        assert backend.push().staged_indexes == ["things.by_n"]
        add(backend, 2)
        with pytest.raises(ConvexpyError, match="currently staged"):
            by(backend, "by_n")
        write_project(schema=INDEXED)
        assert backend.push().enabled_indexes == ["things.by_n"]
        assert by(backend, "by_n") == [1, 2, 3]


# --- pushes among themselves


def test_a_push_gives_way_to_a_newer_one(write_project: WriteProject) -> None:
    """The older one ends before it has built its index, and one that was to follow it never begins."""
    project = write_project(things=functions("old"), schema=PLAIN)
    with TestBackend(project) as backend:
        add(backend, *range(MANY))
        write_project(things=functions("newest"), schema=PLAIN)
        newest = load_application(project)
        write_project(things=functions("middle"), schema=INDEXED)
        later: list[asyncio.Task[object]] = []

        async def push_twice() -> None:
            for _ in range(2):
                later.append(asyncio.ensure_future(backend.server.push(newest)))
                await asyncio.sleep(0)

        with at(backend, ("push.build_index", 1), push_twice), pytest.raises(ConvexpyError, match="Another push"):
            backend.push()
        backend.do(asyncio.wait(later))
        backend.advance()

        assert [type(task.exception()) for task in later] == [PushSuperseded, type(None)]
        assert backend.query("things:version") == "newest"
        assert backend.runtime.generation == 4
        with backend.store.snapshot() as snapshot:
            assert list(load_catalog(snapshot).by_name[0, "things"].indexes) == ["by_creation_time"]


def test_a_save_during_a_build_goes_on_with_it(write_project: WriteProject) -> None:
    """What is entered stays; an index that the newer code declares as well is built from there on."""
    project = write_project(things=functions("old"), schema=PLAIN)
    with TestBackend(project) as backend:
        add(backend, *range(MANY))
        write_project(things=functions("first"), schema=schema(FIELDS, "'by_n', ['n']", "'by_m', ['m']"))
        first = load_application(project)
        write_project(things=functions("second"), schema=schema(FIELDS, "'by_n', ['n']", "'by_m', ['m', 'n']"))
        second = load_application(project)
        later: list[asyncio.Task[object]] = []

        async def save() -> None:
            later.append(asyncio.ensure_future(backend.server.push(second)))
            await asyncio.sleep(0)

        with at(backend, ("push.build_index", 1), save) as steps:
            with pytest.raises(PushSuperseded):
                backend.push(first)
            backend.do(asyncio.wait(later))

        assert [task.exception() for task in later] == [None]
        assert backend.query("things:version") == "second"
        # Of by_n two chunks before the save and one after it; by_m is another index now, and has three.
        assert [name for name, _ in steps].count("push.build_index") == 2 + 1 + 3
        backend.push(second)  # nothing new: from now on the test's own functions are part of this code
        assert by(backend, "by_n") == list(range(MANY))
        assert len(by(backend, "by_m")) == MANY
        assert leftovers(backend) == []


def test_a_save_that_cannot_be_loaded_costs_a_build_nothing(write_project: WriteProject) -> None:
    """Half a line is saved, then the rest: the build goes on where it was."""
    project = write_project(things=functions("old"), schema=PLAIN)
    with TestBackend(project) as backend:
        add(backend, *range(MANY))
        write_project(things=functions("new"), schema=INDEXED)
        application = load_application(project)
        failed: list[asyncio.Task[object]] = []

        async def broken(number: int) -> Stage:
            raise InvalidRequest("things.py does not parse")

        async def save_half() -> None:
            failed.append(asyncio.ensure_future(backend.server.deployer.push(broken)))
            await asyncio.sleep(0)

        with at(backend, ("push.build_index", 1), save_half), pytest.raises(PushSuperseded):
            backend.push(application)
        backend.do(asyncio.wait(failed))
        assert [type(task.exception()) for task in failed] == [InvalidRequest]
        assert backend.query("things:version") == "old"
        (id,) = add(backend, -1)

        with between(backend, _nothing) as steps:
            backend.push(application)

        assert [name for name, _ in steps].count("push.build_index") == 1
        assert by(backend, "by_n") == list(range(-1, MANY))
        backend.run(lambda ctx: ctx.db.delete(id))
        assert leftovers(backend) == []


@pytest.mark.parametrize("is_busy", [False, True])
def test_long_work_reports_its_progress_and_rests_for_others(write_project: WriteProject, is_busy: bool) -> None:
    """A line now and then, with how far it has come; short work says nothing. It rests where anybody calls."""
    project = write_project(things=functions("old"), schema=PLAIN)
    with TestBackend(project) as backend:
        id, *_ = add(backend, *range(MANY))
        write_project(schema=INDEXED)

        async def take_long(step: Step) -> None:
            if step[0] == "push.build_index":
                backend.clock.move_to(backend.clock.now_ns() + int(PROGRESS_REPORT_SECONDS * 1e9))
                if is_busy:
                    assert (await call(backend, "things:change", id=id, n=step[1])).ok

        with between(backend, take_long):
            backend.push()

        seconds = (3 + (2 if is_busy else 0)) * PROGRESS_REPORT_SECONDS
        assert backend.reports == [
            f"Building index things.by_n: {BACKFILL_ROWS_PER_COMMIT:,} documents so far.",
            f"Building index things.by_n: {2 * BACKFILL_ROWS_PER_COMMIT:,} documents so far.",
            f"Index things.by_n is built: {MANY:,} documents in {seconds:.0f} s.",
        ]
