"""Edits of a project that is being served: good ones are live at once, broken ones are explained and change nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.server import Server
from tests.faults.convex_client import http, sync_client
from tests.patience import PATIENCE_SECONDS

CONFIG = '''"""An app that is edited while it is served."""

from convexpy import define_app

app = define_app()
'''

SCHEMA = """from convexpy import define_schema, define_table, v

schema = define_schema({"notes": define_table({"text": v.string()})})
"""

NOTES = '''from convexpy import MutationCtx, QueryCtx, mutation, query


@query
def summary(ctx: QueryCtx) -> str:
    """What the tests watch."""
    return f"{len(ctx.db.query('notes').collect())} notes"


@mutation
def add(ctx: MutationCtx, text: str) -> str:
    """A note."""
    return ctx.db.insert("notes", {"text": text})
'''


class Project:
    """A project folder with its server, which watches it."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server

    def edit(self, file: str, before: str, after: str) -> None:
        """Replace text in a file, in one write, as editors do."""
        path = self.folder / file
        text = path.read_text()
        assert before in text
        draft = path.with_suffix(".draft")
        draft.write_text(text.replace(before, after))
        draft.replace(path)

    def complaint(self, about: str) -> str:
        """The next refusal of a change for this reason, as the operator reads it; an earlier change may be refused
        twice, where the watcher hears of it in two parts."""
        return _line_with(self.server.complaints, "This change is not live", about)

    def reload(self) -> str:
        """The next line that says that a change is live."""
        return _line_with(self.server.output, "Reloaded in")

    def call(self, kind: str, path: str, args: dict[str, Any] | None = None) -> Any:
        async def call() -> Any:
            async with http(self.server.port) as connection:
                return await connection.value(kind, path, args or {})

        return asyncio.run(call())


def _line_with(lines: Any, *texts: str) -> str:
    while (line := lines.next(PATIENCE_SECONDS)) is not None:
        if all(text in line for text in texts):
            return str(line)
    raise AssertionError(f"no line with {texts!r} in: {lines.so_far()}")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    folder = tmp_path / "project"
    folder.mkdir()
    for name, text in {"convex_config.py": CONFIG, "schema.py": SCHEMA, "notes.py": NOTES}.items():
        (folder / name).write_text(text)
    server = Server(folder, tmp_path / "data", is_watching=True)
    server.start()
    yield Project(folder, server)
    server.stop()
    shutil.rmtree(folder)


def test_a_good_edit_is_live_and_subscriptions_stay(project: Project) -> None:
    """On the socket that the client had before. How long it takes: `python -m benchmarks starting`."""

    async def edit_and_watch() -> None:
        async with sync_client(project.server.port) as client:
            await client.subscribe(0, "notes:summary", {})
            await client.value(0, lambda value: value == "0 notes")
            for number in range(3):
                ends = [f"notes{'!' * count}" for count in (number, number + 1)]
                project.edit("notes.py", f'{ends[0]}"', f'{ends[1]}"')
                expected = f"0 {ends[1]}"
                await client.value(0, expected.__eq__)

    asyncio.run(edit_and_watch())


EDITS_WHILE_IT_IS_IMPORTED = '''"""Imported after `notes`, which it changes on disk: once."""

from pathlib import Path

notes = Path(__file__).with_name("notes.py")
text = notes.read_text()
if "notes saved" not in text:
    draft = notes.with_suffix(".draft")
    draft.write_text(text.replace(" notes", " notes saved early", 1))
    draft.replace(notes)  # in one step: the watcher may look at any time
'''


def test_a_file_that_is_saved_while_the_server_starts_is_not_lost(tmp_path: Path) -> None:
    """The import under way has the old text; nobody saves again."""
    folder = tmp_path / "project"
    folder.mkdir()
    sources = {
        "convex_config.py": CONFIG,
        "schema.py": SCHEMA,
        "notes.py": NOTES,
        "zz_last.py": EDITS_WHILE_IT_IS_IMPORTED,
    }
    for name, text in sources.items():
        (folder / name).write_text(text)
    server = Server(folder, tmp_path / "data", is_watching=True)
    server.start()
    try:
        assert Project(folder, server).reload()
        assert Project(folder, server).call("query", "notes:summary") == "0 notes saved early"
    finally:
        server.stop()


def test_a_broken_edit_is_explained_and_the_code_before_it_serves_on(project: Project) -> None:
    """File, line and error; the subscription neither breaks nor notices; the next good edit is live again."""

    async def break_and_mend() -> tuple[str, str]:
        async with sync_client(project.server.port) as client, http(project.server.port) as connection:
            await client.subscribe(0, "notes:summary", {})
            await client.value(0, lambda value: value == "0 notes")
            project.edit("notes.py", "return f", "return f f")
            unreadable = await asyncio.to_thread(project.complaint, "SyntaxError")
            project.edit("notes.py", "return f f", "return f")
            project.edit("notes.py", "import MutationCtx", "import NoSuchName, MutationCtx")
            unimportable = await asyncio.to_thread(project.complaint, "NoSuchName")
            await connection.value("mutation", "notes:add", {"text": "meanwhile"})
            await client.value(0, lambda value: value == "1 notes")
            project.edit("notes.py", "import NoSuchName, MutationCtx", "import MutationCtx")
            project.edit("notes.py", 'notes"', 'notes, mended"')
            await client.value(0, lambda value: value == "1 notes, mended")
            return unreadable, unimportable

    unreadable, unimportable = asyncio.run(break_and_mend())

    assert f"{project.folder / 'notes.py'}:7: SyntaxError: " in unreadable
    assert "the code before it goes on serving" in unreadable
    assert f"{project.folder / 'notes.py'}:1: " in unimportable


def test_a_schema_that_documents_do_not_match_is_refused_with_the_document(project: Project) -> None:
    """Which document, which field; the old schema stays in force, and so does the code."""
    note = project.call("mutation", "notes:add", {"text": "old"})

    project.edit("schema.py", '"text": v.string()', '"text": v.string(), "stars": v.number()')
    complaint = project.complaint("does not match the schema")
    second = project.call("mutation", "notes:add", {"text": "still without stars"})
    project.edit("schema.py", '"stars": v.number()', '"stars": v.optional(v.number())')
    project.reload()

    assert f'Document with ID "{note}" in table "notes" does not match the schema' in complaint
    assert "stars" in complaint
    assert second != note
    assert project.call("query", "notes:summary") == "2 notes"


def test_an_import_that_does_not_end_gives_way_to_the_next_save(project: Project) -> None:
    """Nobody waits for code that is not in the folder any more."""
    begun = project.folder.parent / "begun"
    os.mkfifo(begun)
    endless = f"open({str(begun)!r}, 'w').close()\nwhile True:\n    pass\n"
    project.edit("notes.py", "from convexpy", endless + "from convexpy")
    begun.read_text()

    began = time.monotonic()
    project.edit("notes.py", endless, "")
    project.reload()

    print(f"live after {time.monotonic() - began:.2f} s")
    assert project.call("query", "notes:summary") == "0 notes"
    assert "This change is not live" not in project.server.complaints.so_far()


def test_functions_come_and_go_with_their_files(project: Project) -> None:
    """A subscription to a function that is gone fails, and works again when it is back."""

    async def rename() -> tuple[str, str]:
        async with sync_client(project.server.port) as client:
            await client.subscribe(0, "more:greet", {})
            missing = await client.until(0, lambda result: result["type"] == "QueryFailed")
            text = "from convexpy import query\n\n\n@query\ndef greet(ctx) -> str:\n    return 'hello'\n"
            (project.folder / "more.py").write_text(text)
            await client.value(0, lambda value: value == "hello")
            (project.folder / "more.py").unlink()
            gone = await client.until(0, lambda result: result["type"] == "QueryFailed")
            return missing["errorMessage"], gone["errorMessage"]

    missing, gone = asyncio.run(rename())

    assert "Could not find public function for 'more:greet'." in missing
    assert "Could not find public function for 'more:greet'." in gone


def test_a_save_in_two_steps_ends_with_what_was_saved_last(project: Project) -> None:
    """Many edits in a row: whatever the watcher puts together, the last state of the folder is what is served."""

    async def edit_often() -> None:
        async with sync_client(project.server.port) as client:
            await client.subscribe(0, "notes:summary", {})
            for number in range(12):
                after = f'notes {number + 1}"'
                project.edit("notes.py", f'notes {number}"' if number else 'notes"', after)
            await client.value(0, lambda value: value == "0 notes 12")

    asyncio.run(edit_often())
