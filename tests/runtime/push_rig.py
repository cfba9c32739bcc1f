"""Pushes under the eyes of a test: what happens between their steps, and what they leave in the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from convexpy import MutationCtx
from convexpy.runtime.interface import FunctionRequest, Outcome
from convexpy.testing import TestBackend
from convexpy.transactions.catalog import load_catalog
from convexpy.transactions.checkup import Checkup
from convexpy.transactions.system_tables import INDEX_BUILDS, PUSHES
from convexpy.values import encode_json

Step = tuple[str, int]  # name of a system function, and how often it was called before

FUNCTIONS = """
from convexpy import mutation, query

@query
def version(ctx) -> str:
    return "{version}"

@query
def numbers(ctx):
    return [thing["n"] for thing in ctx.db.query("things")]

@mutation
def add(ctx, n):
    return ctx.db.insert("things", {{"n": n}})

@mutation
def change(ctx, id: str, n):
    ctx.db.patch(id, {{"n": n}})
"""


class Killed(BaseException):
    """The server dies: no cleaning up, no answer."""


def functions(version: str) -> str:
    """Source of a module with functions over the table `things`."""
    return FUNCTIONS.format(version=version)


def schema(fields: str, *indexes: str, more: str = "") -> str:
    """Source of a schema with one table, `things`."""
    chained = "".join(f".index({index})" for index in indexes)
    return (
        f"from convexpy import define_schema, define_table, v\n"
        f"schema = define_schema({{'things': define_table({{{fields}}}){chained}, {more}}})\n"
    )


def add(backend: TestBackend, *numbers: Any) -> list[str]:
    """Insert things."""
    return backend.run(lambda ctx: [ctx.db.insert("things", {"n": n}) for n in numbers])


def by(backend: TestBackend, index: str, **equalities: Any) -> list[Any]:
    """The numbers of the things that an index finds."""

    def read(ctx: MutationCtx) -> list[Any]:
        return [row["n"] for row in ctx.db.query("things").with_index(index, **equalities)]

    return backend.run(read)


async def call(backend: TestBackend, path: str, **args: Any) -> Outcome:
    """A mutation of a client, in the midst of something else."""
    return await backend.runtime.mutation(FunctionRequest(path=path, args=encode_json(args)))


@contextmanager
def between(backend: TestBackend, act: Callable[[Step], Awaitable[None]]) -> Iterator[list[Step]]:
    """Do something before each system function that the server asks for; the list grows with their names."""
    runtime = backend.runtime
    real = runtime.run_system
    steps: list[Step] = []

    async def run_system(name: str, payload: dict[str, Any], **options: Any) -> Any:
        step = (name, sum(name == before for before, _ in steps))
        steps.append(step)
        await act(step)
        return await real(name, payload, **options)

    runtime.run_system = run_system  # type: ignore[method-assign]
    try:
        yield steps
    finally:
        runtime.run_system = real  # type: ignore[method-assign]


@contextmanager
def at(backend: TestBackend, step: Step, act: Callable[[], Awaitable[Any]]) -> Iterator[list[Step]]:
    """Do something before one step of a push."""

    async def maybe(reached: Step) -> None:
        if reached == step:
            await act()

    with between(backend, maybe) as steps:
        yield steps


async def die() -> None:
    """What `at` does for a kill."""
    raise Killed


def counted(backend: TestBackend) -> list[str]:
    """The names of the system functions that a push asks for, in order, without running one."""
    with between(backend, _nothing) as steps:
        backend.push()
    return [name for name, _ in steps]


async def _nothing(step: Step) -> None:
    await asyncio.sleep(0)


def leftovers(backend: TestBackend) -> list[str]:
    """What a push must not leave behind once the background work is through: in the catalog, in rows, in entries."""
    backend.advance()
    found = [problem.text for problem in Checkup(backend.store).problems()]
    with backend.store.snapshot() as snapshot:
        for table in (PUSHES, INDEX_BUILDS):
            rows = len(list(snapshot.document_entries(table.prefix, table.prefix + b"\xff" * 20, False)))
            found += [f"{rows} rows in {table.name}"] if rows else []
        for info in load_catalog(snapshot).by_name.values():
            found += [f"pending schema of {info.name}"] if info.pending_schema is not None else []
            found += [f"pending index {info.name}.{index}" for index in info.indexes if "pending" in index]
    return found
