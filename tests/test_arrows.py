"""Imports point one way: a room knows the rooms below it, never those above or beside it.

The plan is DESIGN section 3. Every import statement counts, those inside functions and under TYPE_CHECKING too:
a name that only a type checker needs is still a room that the reader has to know.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]

LEAVES = {"errors", "limits", "environment"}
BELOW: dict[str, set[str]] = {"values": LEAVES}
for _room, _next in (
    ("storage", "values"),
    ("transactions", "storage"),
    ("functions", "transactions"),
    ("runtime", "functions"),
    ("processes", "runtime"),
):
    BELOW[_room] = BELOW[_next] | {_next}
BELOW["testing"] = BELOW["auth"] = BELOW["runtime"] | {"runtime"}
BELOW["sync"] = BELOW["http"] = BELOW["processes"] | {"processes"}
BELOW["server"] = BELOW["sync"] | {"sync", "http"}
BELOW["serving"] = BELOW["server"] | {"server", "auth"}
BELOW["cli"] = BELOW["serving"] | {"serving"}

# A package of the outside world, and the only places that may import it.
CONFINED: dict[str, tuple[str, ...]] = {
    "lmdb": ("convexpy/storage/",),
    "joserfc": ("convexpy/auth/public_keys.py",),
    "httpx2": ("convexpy/auth/fetching.py",),
    "starlette": (
        "convexpy/http/",
        "convexpy/sync/websocket.py",
        "convexpy/sync/transport.py",
        "convexpy/server.py",
        "convexpy/functions/http",
    ),
}
WITHOUT_TASKS = (*LEAVES, "values", "storage", "transactions", "functions")


def room_of(path: PurePosixPath) -> str | None:
    """The room that a file of the package is in; None for the public module, which re-exports from everywhere."""
    first = path.parts[1].removesuffix(".py")
    return {"__init__": None, "__main__": "cli"}.get(first, first)


def imported_modules(path: PurePosixPath, source: str) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything imported; `from a import b` gives `a.b`, relative names are resolved."""
    for node in ast.walk(ast.parse(source, str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            package = path.parts[: -node.level] if node.level else ()
            base = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def wrong_imports_of_a_room(path: PurePosixPath, source: str) -> list[str]:
    """One sentence for each import of a file of `convexpy` that the plan does not allow."""
    room = room_of(path)
    wrong = []
    for line, name in imported_modules(path, source):
        parts = name.split(".")
        places = CONFINED.get(parts[0])
        if places and not str(path).startswith(places):
            wrong.append(f"{path}:{line} imports {parts[0]}, which only {', '.join(places)} may")
        if parts[0] in {"asyncio", "uvloop"} and room in WITHOUT_TASKS:
            wrong.append(f"{path}:{line} imports {parts[0]}; nothing below runtime starts a task")
        if parts[0] != "convexpy" or room is None:
            continue
        other = parts[1] if len(parts) > 1 else ""
        allowed = LEAVES | {room} if room in LEAVES else BELOW[room] | {room}
        if other not in allowed:
            what = f"room {other}" if other in BELOW.keys() | LEAVES else "the public module"
            wrong.append(f"{path}:{line} is in {room} and imports {what} ({name})")
    return wrong


def wrong_imports_of_a_guest(path: PurePosixPath, source: str) -> list[str]:
    """The same for components and examples: public names only, `convexpy.testing` in what is for tests."""
    is_for_tests = "tests" in path.parts or path.name == "testing.py"
    wrong = []
    for line, name in imported_modules(path, source):
        parts = name.split(".")
        if parts[0] != "convexpy":
            continue
        is_testing = len(parts) > 1 and parts[1] == "testing"
        is_inner = len(parts) > 2 or (len(parts) == 2 and parts[1] in BELOW.keys() | LEAVES)
        if is_testing and not is_for_tests:
            wrong.append(f"{path}:{line} imports convexpy.testing outside of tests")
        elif is_inner and not is_testing:
            wrong.append(f"{path}:{line} imports {name}, which is no public name")
    return wrong


def python_files(folder: str) -> list[Path]:
    """Every Python file of a folder of the project, installed and generated things left out."""
    hidden = {"node_modules", "__pycache__", ".convexpy"}
    return sorted(path for path in (ROOT / folder).rglob("*.py") if not hidden & set(path.parts))


def test_rooms_import_only_what_is_below_them() -> None:
    """One import upwards and the lower half can no longer be driven by one thread with one seed."""
    files = python_files("convexpy")

    wrong = [
        sentence
        for file in files
        for sentence in wrong_imports_of_a_room(PurePosixPath(file.relative_to(ROOT)), file.read_text())
    ]

    assert files
    assert wrong == []


@pytest.mark.parametrize("folder", ["components", "examples"])
def test_components_and_examples_import_public_names_only(folder: str) -> None:
    """The workflow component gets nothing that a stranger's component would not get."""
    files = python_files(folder)

    wrong = [
        sentence
        for file in files
        for sentence in wrong_imports_of_a_guest(PurePosixPath(file.relative_to(ROOT)), file.read_text())
    ]

    assert files
    assert wrong == []


def test_every_room_of_the_package_has_its_place_in_the_plan() -> None:
    """A new room must be given its place here, or the arrows would say nothing about it."""
    rooms = {room_of(PurePosixPath(file.relative_to(ROOT))) for file in python_files("convexpy")} - {None}

    assert rooms <= BELOW.keys() | LEAVES


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("convexpy/values/order.py", "from convexpy.storage.keys import document_key"),
        ("convexpy/values/order.py", "from ..runtime import execute"),
        ("convexpy/storage/data_folder.py", "def late():\n    from convexpy.transactions import committer"),
        ("convexpy/functions/schema.py", "import asyncio"),
        ("convexpy/sync/state.py", "import convexpy.http.routes"),
        ("convexpy/http/routes.py", "from convexpy.sync import state"),
        ("convexpy/testing/backend.py", "from convexpy.processes import worker"),
        ("convexpy/transactions/snapshot.py", "import lmdb"),
        ("convexpy/sync/state.py", "from starlette.websockets import WebSocket"),
        ("convexpy/runtime/execute.py", "from convexpy import query"),
        ("convexpy/errors.py", "from convexpy.values import size_of"),
        ("convexpy/sync/websocket.py", "from convexpy.auth.authenticator import DeploymentAuthenticator"),
        ("convexpy/http/authorization.py", "from joserfc import jwt"),
    ],
)
def test_a_planted_wrong_import_is_caught(path: str, source: str) -> None:
    """The judge itself is judged: each line breaks one rule."""
    assert len(wrong_imports_of_a_room(PurePosixPath(path), source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("convexpy/runtime/execute.py", "import asyncio\nfrom convexpy.values import v"),
        ("convexpy/storage/lmdb.py", "import lmdb\nfrom . import keys\nfrom .. import limits"),
        (
            "convexpy/server.py",
            "import starlette\nfrom convexpy.sync import websocket\nfrom convexpy.http import routes",
        ),
        ("convexpy/__init__.py", "from convexpy.functions.definitions import query as query"),
        ("convexpy/functions/http.py", "from starlette.responses import Response"),
    ],
)
def test_an_import_that_follows_the_arrows_passes(path: str, source: str) -> None:
    """A judge that refuses everything would pass the test above as well."""
    assert wrong_imports_of_a_room(PurePosixPath(path), source) == []


@pytest.mark.parametrize(
    ("path", "source", "count"),
    [
        ("components/workflow/convexpy_workflow/manager.py", "from convexpy.functions.definitions import query", 1),
        ("components/workflow/convexpy_workflow/manager.py", "from convexpy import errors", 1),
        ("components/workflow/convexpy_workflow/manager.py", "from convexpy.testing import TestBackend", 1),
        ("components/workflow/convexpy_workflow/manager.py", "from convexpy import query, v", 0),
        ("components/workflow/convexpy_workflow/testing.py", "from convexpy.testing import TestBackend", 0),
        ("components/workflow/tests/test_journal.py", "from convexpy.testing.clock import ManualClock", 0),
    ],
)
def test_what_a_component_may_import(path: str, source: str, count: int) -> None:
    """Public names, and the testing names where tests are."""
    assert len(wrong_imports_of_a_guest(PurePosixPath(path), source)) == count
