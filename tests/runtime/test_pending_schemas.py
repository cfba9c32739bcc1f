"""A schema that is being pushed: checked against what is there, and against what is written meanwhile.

Source: runtime-semantics 3.4; 19, 62 and 63.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convexpy import MutationCtx
from convexpy.errors import ConvexpyError, InvalidRequest
from convexpy.limits import SWEPT_KEYS_PER_COMMIT, VALIDATED_ROWS_PER_CALL
from convexpy.runtime import push_indexes, push_validation
from convexpy.runtime.interface import Outcome
from convexpy.testing import TestBackend
from convexpy.testing.workers import InProcessCommits
from convexpy.transactions.checkup import Checkup
from tests.runtime.push_rig import Killed, add, at, by, call, counted, die, functions, leftovers, schema

WriteProject = Callable[..., Path]
ANYTHING, NUMBERS = schema("'n': v.any()"), schema("'n': v.number()")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_validation, "VALIDATED_ROWS_PER_CALL", 2)
    monkeypatch.setattr(push_indexes, "BACKFILL_ROWS_PER_COMMIT", 2)


def delete_all(ctx: MutationCtx, table: str = "things") -> None:
    for row in ctx.db.query(table):
        ctx.db.delete(row["_id"])


def test_a_large_table_is_checked_in_chunks(write_project: WriteProject) -> None:
    """More documents than one function may read; the last one of all is found."""
    with TestBackend(write_project(schema=ANYTHING), limits={"documents_read": 100}) as backend:
        count = VALIDATED_ROWS_PER_CALL * 2 + 1
        for first in range(0, count, 80):
            add(backend, *range(first, min(count, first + 80)))
        write_project(schema=NUMBERS)

        assert counted(backend).count("push.check_documents") == 3

        write_project(schema=schema("'n': v.float64(), 'more': v.optional(v.string())"))
        assert "push.check_documents" not in counted(backend), "a wider schema needs no look at the documents"


@pytest.mark.usefixtures("small_chunks")
def test_a_bad_document_that_is_written_meanwhile_fails_the_push_not_the_write(write_project: WriteProject) -> None:
    """The writer's document fits the schema in force. The push names the document, its table and the path in it."""
    project = write_project(things=functions("old"), schema=ANYTHING)
    with TestBackend(project) as backend:
        add(backend, 1, 2, 3)
        write_project(things=functions("new"), schema=NUMBERS)
        written: list[Outcome] = []

        async def write() -> None:
            written.append(await call(backend, "things:add", n="not a number"))

        with at(backend, ("push.check_documents", 1), write), pytest.raises(InvalidRequest) as refused:
            backend.push()

        (outcome,) = written
        assert outcome.ok
        assert 'New document in table "things" does not match the schema' in str(refused.value)
        assert "Path: .n" in str(refused.value)
        assert outcome.value.decode().strip('"') in str(refused.value)
        assert backend.query("things:version") == "old"
        assert backend.query("things:numbers") == [1, 2, 3, "not a number"]
        assert leftovers(backend) == []
        backend.mutation("things:add", {"n": "still any"})


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("step", [("push.check_documents", 0), ("push.check_documents", 2), ("push.switch", 0)])
@pytest.mark.parametrize("kind", ["add", "change"])
def test_every_moment_of_a_push_is_covered(write_project: WriteProject, step: tuple[str, int], kind: str) -> None:
    """Whether the chunk that the document belongs to has been read or not, up to the switch itself."""
    project = write_project(things=functions("old"), schema=ANYTHING)
    with TestBackend(project) as backend:
        ids = add(backend, 1, 2, 3, 4, 5)
        write_project(things=functions("new"), schema=NUMBERS)

        async def write() -> None:
            for id in ids[:1] if kind == "change" else [None]:
                args = {"n": "bad"} if id is None else {"n": "bad", "id": id}
                assert (await call(backend, f"things:{kind}", **args)).ok

        with at(backend, step, write), pytest.raises(InvalidRequest, match="does not match the schema"):
            backend.push()

        assert backend.query("things:version") == "old"
        assert leftovers(backend) == []


@pytest.mark.usefixtures("small_chunks")
def test_what_is_mended_within_its_own_mutation_fails_nothing(write_project: WriteProject) -> None:
    """Only what is committed counts: a document that is bad for a moment, or rolled back, was never there."""
    two_steps = """
@mutation
def add_and_mend(ctx):
    ctx.db.patch(add.handler(ctx, "bad"), {"n": 7})

@mutation
def add_and_fail(ctx):
    try:
        ctx.run_mutation(fail, {})
    except ValueError:
        ctx.db.insert("things", {"n": 8})

@mutation
def fail(ctx):
    ctx.db.insert("things", {"n": "bad"})
    raise ValueError
"""
    project = write_project(things=functions("old") + two_steps, schema=ANYTHING)
    with TestBackend(project) as backend:
        add(backend, 1)
        write_project(things=functions("new"), schema=NUMBERS)

        async def write() -> None:
            for path in ("things:add_and_mend", "things:add_and_fail"):
                outcome = await call(backend, path)
                assert outcome.ok, outcome.error

        with at(backend, ("push.switch", 0), write):
            backend.push()

        assert backend.query("things:version") == "new"
        assert backend.query("things:numbers") == [1, 7, 8]


def give_owners(ctx: MutationCtx) -> None:
    for row in ctx.db.query("things"):
        ctx.db.patch(row["_id"], {"n": ctx.db.insert("owners", {})})


def test_ids_in_the_new_schema_are_of_the_tables_that_it_makes(write_project: WriteProject) -> None:
    """A table that comes with the push exists before its validator is asked about it."""
    project = write_project(things=functions("old"), schema=ANYTHING)
    with TestBackend(project) as backend:
        (wrong,) = add(backend, 1)
        add(backend, wrong)
        backend.run(lambda ctx: ctx.db.delete(wrong))
        write_project(things=functions("new"), schema=schema("'n': v.id('owners')", more="'owners': define_table({})"))

        with pytest.raises(InvalidRequest, match=r"from table `things`, which does not match .*owners"):
            backend.push()

        backend.run(give_owners)
        backend.push()
        assert backend.query("things:version") == "new"


def test_literals_that_no_document_could_hold_can_be_pushed(write_project: WriteProject) -> None:
    """Their JSON has names and depths that documents may not have."""
    deep = "v.array(" * 14 + "v.literal(Int64(5))" + ")" * 14
    source = schema(f"'n': v.union(v.literal(Int64(5)), {deep})").replace("import ", "import Int64, ")
    with TestBackend(write_project(things=functions("old"), schema=ANYTHING)) as backend:
        add(backend, 1)
        write_project(things=functions("new"), schema=source)
        with pytest.raises(InvalidRequest, match="does not match the schema"):
            backend.push()
        backend.run(delete_all)
        backend.push()
        assert backend.query("things:version") == "new"


KILLED_BEFORE = [
    ("push.prepare", 0),
    ("push.check_documents", 0),
    ("push.check_documents", 1),
    ("push.build_index", 0),
    ("push.build_index", 1),
    ("push.switch", 0),
]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("step", KILLED_BEFORE, ids=str)
def test_a_killed_push_leaves_nothing_pending(write_project: WriteProject, step: tuple[str, int]) -> None:
    """At whichever step: the next start runs the old code, binds nobody to the new schema, and can push again."""
    project = write_project(things=functions("old"), schema=schema("'n': v.any()", "'by_it', ['n']"))
    with TestBackend(project) as backend:
        add(backend, 3, 1, 2)
        new = schema("'n': v.number(), 'm': v.optional(v.any())", "'by_it', ['n', 'm']", "'by_m', ['m']")
        write_project(things=functions("new"), schema=new)
        with at(backend, step, die), pytest.raises(Killed):
            backend.push()
        backend.restart()

        assert backend.query("things:version") == "old"
        assert leftovers(backend) == []
        assert by(backend, "by_it") == [1, 2, 3]
        bad = backend.mutation("things:add", {"n": "anything"})
        backend.mutation("things:add", {"n": 4})
        backend.run(lambda ctx: ctx.db.delete(bad))
        backend.push()
        assert backend.query("things:version") == "new"
        assert by(backend, "by_it") == [1, 2, 3, 4]
        assert leftovers(backend) == []


def test_what_was_dropped_goes_after_a_kill_too(write_project: WriteProject) -> None:
    """Between the switch and the end of the sweep: the next start finds the entries that no index claims."""
    project = write_project(things=functions("old"), schema=schema("'n': v.any()", "'by_n', ['n']"))
    with TestBackend(project) as backend:
        add(backend, *range(3 * SWEPT_KEYS_PER_COMMIT))
        write_project(things=functions("new"), schema=ANYTHING)
        with at(backend, ("tables.sweep", 2), die):
            assert backend.push().removed_indexes == ["things.by_n"]
            backend.advance()
        assert any("dropped" in problem.text for problem in Checkup(backend.store).problems())

        backend.restart()

        assert leftovers(backend) == []
        assert backend.query("things:version") == "new"


@pytest.mark.usefixtures("small_chunks")
def test_the_same_push_goes_on_where_it_was_killed(write_project: WriteProject) -> None:
    """An index that was half built is built on, not again."""
    project = write_project(things=functions("old"), schema=ANYTHING)
    with TestBackend(project) as backend:
        add(backend, *range(7))
        write_project(things=functions("new"), schema=schema("'n': v.any()", "'by_n', ['n']"))
        with at(backend, ("push.build_index", 2), die), pytest.raises(Killed):
            backend.push()
        built = counted(backend).count("push.build_index")

        assert built == 2, "of four chunks two were done"
        assert by(backend, "by_n") == list(range(7))
        assert leftovers(backend) == []


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("seed", range(30))
def test_writers_at_full_speed_and_a_push_leave_no_bad_document(
    write_project: WriteProject, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever the interleaving: either the push is refused, or every document fits the schema in force."""
    chance = random.Random(seed)
    bad_write = chance.randrange(24)
    monkeypatch.setattr(InProcessCommits, "submit", _after_a_while(chance, InProcessCommits.submit))
    project = write_project(things=functions("old"), schema=ANYTHING)
    with TestBackend(project) as backend:
        ids = add(backend, *range(10))
        write_project(things=functions("new"), schema=schema("'n': v.number()", "'by_n', ['n']"))
        is_bad_written: list[bool] = []

        async def write(writer: int) -> None:
            for number in range(12):
                for _ in range(chance.randrange(6)):  # some steps of the loop, so that writer and push meet anywhere
                    await asyncio.sleep(0)
                is_bad = number * 4 + writer == bad_write
                outcome = await call(backend, "things:add", n="bad" if is_bad else number)
                assert outcome.ok or is_bad, outcome.error
                if is_bad:
                    is_bad_written.append(outcome.ok)
                await call(backend, "things:change", id=ids[writer], n=number)

        async def begin() -> list[asyncio.Task[None]]:
            return [asyncio.ensure_future(write(writer)) for writer in range(4)]

        writers = backend.do(begin())  # they go on whenever the loop runs, so within the push
        try:
            backend.push()
        except InvalidRequest:
            is_pushed = False
        else:
            is_pushed = True
        backend.do(asyncio.wait(writers))

        numbers = backend.query("things:numbers")
        assert is_bad_written == [not is_pushed]
        assert ("bad" in numbers) == (not is_pushed)
        assert backend.query("things:version") == ("new" if is_pushed else "old")
        assert leftovers(backend) == []
        if is_pushed:
            assert sorted(by(backend, "by_n")) == sorted(numbers)


def _after_a_while(chance: random.Random, submit: Any) -> Any:
    """Commits that are on their way for some steps of the loop, as they are between processes: others overtake them."""

    async def later(commits: InProcessCommits, commit: Any) -> Any:
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        return await submit(commits, commit)

    return lambda commits, commit: asyncio.ensure_future(later(commits, commit))


def write_tree(folder: Path, version: str, fields: str, *indexes: str) -> Path:
    """A project with a component below it, whose one table has `fields`."""
    part = folder / "project" / "part"
    part.mkdir(parents=True, exist_ok=True)
    config = """
from convexpy import define_app, define_component
app = define_app()
app.use(define_component("part", functions="project.part"))
"""
    sources = {
        "convex_config.py": config,
        "things.py": functions(version),
        "schema.py": schema("'n': v.any()", *indexes),
        "part/__init__.py": "",
        "part/schema.py": schema(fields).replace("'things'", "'pieces'"),
    }
    for name, source in sources.items():
        (folder / "project" / name).write_text(source)
    return folder / "project"


def test_a_component_with_a_bad_document_refuses_everything(tmp_path: Path) -> None:
    """The push is one for the whole tree: not a table, an index or a line of the app changes either."""
    with TestBackend(write_tree(tmp_path, "old", "'n': v.any()")) as backend:
        backend.run(lambda ctx: ctx.db.insert("pieces", {"n": "one"}), component="part")
        add(backend, 1)
        write_tree(tmp_path, "new", "'n': v.number()", "'by_n', ['n']")

        with pytest.raises(InvalidRequest, match=r'in table "pieces" does not match the schema'):
            backend.push()

        assert backend.query("things:version") == "old"
        with pytest.raises(ConvexpyError, match=r"Index things\.by_n not found"):
            by(backend, "by_n")
        assert leftovers(backend) == []
        backend.run(lambda ctx: delete_all(ctx, "pieces"), component="part")
        backend.push()
        assert backend.query("things:version") == "new"
        assert by(backend, "by_n") == [1]
