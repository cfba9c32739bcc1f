"""What a push does to the database, and when it is refused. Source: runtime-semantics 19, 62-67; DESIGN 12."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convexpy import ConvexpyError, MutationCtx
from convexpy.errors import InvalidRequest
from convexpy.limits import BACKFILL_ROWS_PER_COMMIT
from convexpy.testing import TestBackend

WriteProject = Callable[..., Path]
FUNCTIONS = """
from convexpy import mutation, query

@query
def version(ctx) -> str:
    return "{version}"
"""


def schema(fields: str, *indexes: str) -> str:
    """Source of a schema with one table."""
    chained = "".join(f".index({index})" for index in indexes)
    return (
        f"from convexpy import define_schema, define_table, v\n"
        f"schema = define_schema({{'things': define_table({{{fields}}}){chained}}})\n"
    )


def add(backend: TestBackend, *rows: dict[str, Any]) -> list[str]:
    return backend.run(lambda ctx: [ctx.db.insert("things", row) for row in rows])


def by(backend: TestBackend, index: str, **equalities: Any) -> list[Any]:
    """The numbers of the things that an index finds."""

    def read(ctx: MutationCtx) -> list[Any]:
        return [row["n"] for row in ctx.db.query("things").with_index(index, **equalities)]

    return backend.run(read)


def count_index_entries(backend: TestBackend) -> int:
    """Entries of all indexes together, as they are stored."""
    with backend.store.snapshot() as snapshot:
        return sum(1 for _ in snapshot.index_keys(b"", b"\xff" * 8, False))


def delete_all_but_ones(ctx: MutationCtx) -> None:
    for row in ctx.db.query("things"):
        if row["n"] != 1:
            ctx.db.delete(row["_id"])


def test_a_document_that_does_not_fit_refuses_the_push_and_is_named(write_project: WriteProject) -> None:
    project = write_project(things=FUNCTIONS.format(version="old"), schema=schema("'n': v.any()"))
    with TestBackend(project) as backend:
        good, bad = add(backend, {"n": 1}, {"n": "one"})
        write_project(things=FUNCTIONS.format(version="new"), schema=schema("'n': v.number()"))

        with pytest.raises(InvalidRequest) as caught:  # the developer's to mend, not the server's
            backend.push()

        assert f'Document with ID "{bad}" in table "things" does not match the schema' in str(caught.value)
        assert good not in str(caught.value)
        assert backend.query("things:version") == "old"
        add(backend, {"n": "still any"})

        backend.run(delete_all_but_ones)
        backend.push()

        assert backend.query("things:version") == "new"
        with pytest.raises(ConvexpyError, match="does not match the schema"):
            add(backend, {"n": "no more"})


def test_a_schema_that_is_enforced_from_now_on_is_checked_though_it_is_the_same(write_project: WriteProject) -> None:
    enforced = schema("'n': v.number()")
    write_project(schema=enforced.replace("})})", "})}, schema_validation=False)"))
    project = write_project(things=FUNCTIONS.format(version="old"))
    with TestBackend(project) as backend:
        (bad,) = add(backend, {"n": "one"})
        write_project(things=FUNCTIONS.format(version="new"), schema=enforced)

        with pytest.raises(InvalidRequest, match=bad):
            backend.push()

        assert backend.query("things:version") == "old"


def test_an_index_of_existing_data_is_filled(write_project: WriteProject) -> None:
    """In several commits, where there are more rows than one takes."""
    project = write_project(schema=schema("'n': v.number()"))
    count = BACKFILL_ROWS_PER_COMMIT * 2 + 1
    with TestBackend(project) as backend:
        for first in range(0, count, BACKFILL_ROWS_PER_COMMIT):
            add(backend, *({"n": n % 7} for n in range(first, min(count, first + BACKFILL_ROWS_PER_COMMIT))))
        write_project(schema=schema("'n': v.number()", "'by_n', ['n']"))
        pushed = backend.push()
        add(backend, {"n": 3})

        assert (pushed.added_indexes, pushed.removed_indexes) == (["things.by_n"], [])
        assert len(by(backend, "by_n", n=3)) == len([n for n in range(count) if n % 7 == 3]) + 1
        assert by(backend, "by_n") == sorted([n % 7 for n in range(count)] + [3])


def test_an_index_that_is_gone_is_not_found_and_its_entries_go(write_project: WriteProject) -> None:
    project = write_project(schema=schema("'n': v.number()", "'by_n', ['n']"))
    with TestBackend(project) as backend:
        add(backend, {"n": 2}, {"n": 1})
        entries_before = count_index_entries(backend)
        write_project(schema=schema("'n': v.number()"))
        pushed = backend.push()
        backend.advance()

        assert pushed.removed_indexes == ["things.by_n"]
        assert count_index_entries(backend) < entries_before
        with pytest.raises(ConvexpyError, match=r"Index things\.by_n not found"):
            by(backend, "by_n")


def test_an_index_with_other_fields_is_a_new_one(write_project: WriteProject) -> None:
    project = write_project(schema=schema("'n': v.number(), 'm': v.number()", "'by_it', ['n']", "'same', ['n', 'm']"))
    with TestBackend(project) as backend:
        add(backend, {"n": 1, "m": 2}, {"n": 2, "m": 1})
        assert by(backend, "by_it") == [1, 2]
        write_project(schema=schema("'n': v.number(), 'm': v.number()", "'by_it', ['m']", "'same', ['n', 'm']"))
        pushed = backend.push()

        assert by(backend, "by_it") == [2, 1]
        assert (pushed.added_indexes, pushed.removed_indexes) == (["things.by_it"], ["things.by_it"])


def test_a_staged_index_is_filled_but_not_to_be_queried(write_project: WriteProject) -> None:
    project = write_project(schema=schema("'n': v.number()"))
    with TestBackend(project) as backend:
        add(backend, {"n": 2})
        write_project(schema=schema("'n': v.number()", "'by_n', ['n'], staged=True"))
        backend.push()
        add(backend, {"n": 1})
        with pytest.raises(ConvexpyError, match=r"Index things\.by_n is currently staged"):
            by(backend, "by_n")

        write_project(schema=schema("'n': v.number()", "'by_n', ['n']"))
        backend.push()

        assert by(backend, "by_n") == [1, 2]


def test_a_push_that_changes_nothing_changes_nothing(write_project: WriteProject) -> None:
    project = write_project(schema=schema("'n': v.number()", "'by_n', ['n']"))
    with TestBackend(project) as backend:
        pushed = backend.push()

        assert (pushed.added_indexes, pushed.removed_indexes) == ([], [])


def test_code_that_cannot_be_loaded_leaves_the_old_one_running(write_project: WriteProject) -> None:
    project = write_project(things=FUNCTIONS.format(version="old"))
    with TestBackend(project) as backend:
        write_project(things="def broken(:\n")

        with pytest.raises(ConvexpyError, match=r"things\.py:1: SyntaxError"):
            backend.push()

        assert backend.query("things:version") == "old"


def test_data_survives_a_restart(write_project: WriteProject) -> None:
    project = write_project(schema=schema("'n': v.number()", "'by_n', ['n']"))
    with TestBackend(project) as backend:
        add(backend, {"n": 2}, {"n": 1})
        backend.restart()
        add(backend, {"n": 0})

        assert by(backend, "by_n") == [0, 1, 2]
