"""`convexpy workflow …` against a running server: looking, steering, and replaying on the folder's code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from convexpy_workflow.cli import app
from typer.testing import CliRunner, Result

from tests.cli.command import convexpy, install_commands
from tests.clients.server import Server
from tests.faults.convex_client import http
from tests.faults.test_workflow_edits import ORDERS, is_at_the_gate

KEY_VARIABLE = "CONVEX_SELF_HOSTED_ADMIN_KEY"
# Two workflow components: one by its usual name, one as "nightly", which has no runs.
CONFIG = """from convexpy_workflow.config import workflow

from convexpy import define_app

app = define_app()
app.use(workflow)
app.use(workflow, name="nightly")
"""


class Terminal:
    """A person with a shell in the app's folder."""

    def __init__(self, server: Server, path: Path, folder: Path) -> None:
        self.server, self.path, self.folder = server, path, folder

    def run(self, *args: str) -> Result:
        """A command in this process: starting another one takes longer than all that it does."""
        with contextlib.chdir(self.folder):
            return CliRunner().invoke(app, [*args, *self._options], env={KEY_VARIABLE: None})

    def shell(self, *args: str, stdin: str = "") -> CompletedProcess[str]:
        """A command in a process of its own, with its own standard input."""
        return convexpy(self.path, "workflow", *args, *self._options, stdin=stdin, folder=self.folder)

    @property
    def _options(self) -> list[str]:
        return ["--url", self.server.url, "--data", str(self.server.data)]

    def json(self, *args: str) -> Any:
        called = self.run(*args, "--json")
        assert called.exit_code == 0, called.stderr
        return json.loads(called.stdout)

    def begin(self) -> str:
        """Start a run, and wait until it waits for its second step."""

        async def begin() -> str:
            async with http(self.server.port) as connection:
                run: str = await connection.value("mutation", "orders:begin", {})
                while not is_at_the_gate(await connection.value("query", "orders:status", {"run": run})):
                    await asyncio.sleep(0.01)  # polling another process
                return run

        return asyncio.run(begin())


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("apps") / "ordering"
    folder.mkdir()
    (folder / "convex_config.py").write_text(CONFIG)
    (folder / "orders.py").write_text(ORDERS)
    server = Server(folder, tmp_path_factory.mktemp("data"))
    server.start()
    yield Terminal(server, install_commands(tmp_path_factory.mktemp("installed")), folder)
    server.stop()


@pytest.fixture(scope="module")
def run(terminal: Terminal) -> str:
    return terminal.begin()


@pytest.fixture
def edited(terminal: Terminal, tmp_path: Path) -> Path:
    """A copy of the app in which the first step's arguments are others."""
    copy = tmp_path / "ordering"
    shutil.copytree(terminal.folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "orders.py").write_text(ORDERS.replace('{"item": "room"}', '{"item": "suite"}'))
    return copy


def test_list_and_show(terminal: Terminal, run: str) -> None:
    listed = terminal.run("list", "--name", "orders:order", "--state", "running")
    heads = ["id", "workflow", "state", "steps", "started", "took", "waits", "for"]
    assert listed.stdout.splitlines()[0].split() == heads
    assert run in listed.stdout and "orders:wait_for_the_gate" in listed.stdout
    assert [each["state"] for each in terminal.json("list") if each["workflowId"] == run] == ["running"]

    shown = terminal.run("show", run).stdout
    assert "resumed in memory" in shown
    assert "'booked room'" in shown
    found = terminal.json("show", run)
    assert sum(found["waves"].values()) == 1  # resumed, or replayed if another worker took it
    steps = found["steps"]
    assert [(step["name"], step["kind"]) for step in steps] == [
        ("orders:book", "mutation"),
        ("orders:wait_for_the_gate", "action"),
    ]


def test_every_mistake_is_a_sentence(terminal: Terminal, run: str) -> None:
    for args, text in (
        (("show", "nonsense"), "'workflow' has no run 'nonsense'. `convexpy workflow list` shows"),
        (("show", run, "--component", "nightly"), f"'nightly' has no run '{run}'"),
        (("list", "--component", "daily"), "has no workflow component 'daily'. Install it with app.use(workflow)"),
        (("list", "--state", "asleep"), "'asleep' is no state of a run. Runs are running, stuck, completed"),
        (("restart", run), "The run is running; `restart` is for runs that are stuck or completed"),
        (("replay",), "Give the id of a run, or --from-file"),
        (("replay", "--from-file", "absent.json"), "absent.json cannot be read: No such file or directory."),
        (("replay", "--from-file", "orders.py"), "orders.py is no exported journal"),
        (("replay", run, "--folder", "absent"), "There is no folder"),
    ):
        called = terminal.run(*args)
        assert called.exit_code == 1, args
        assert text in called.stderr, (args, called.stderr)
        assert "Traceback" not in called.stderr

    with contextlib.chdir(terminal.folder):
        without_key = CliRunner().invoke(app, ["list"], env={KEY_VARIABLE: None})
        without_server = CliRunner().invoke(app, ["list", "--url", "http://127.0.0.1:9", "--admin-key", "a|b"])
    assert "No admin key in .convexpy. Give --data DIR" in without_key.stderr
    assert "No server answers at http://127.0.0.1:9" in without_server.stderr
    assert terminal.run("list", "--component", "nightly").stdout == "No runs.\n"


def test_steering_a_run(terminal: Terminal) -> None:
    run = terminal.begin()

    assert terminal.run("cancel", run).stdout == f"{run} was running, and is canceled now.\n"
    assert terminal.run("cancel", run).exit_code == 1
    unknown = terminal.run("restart", run, "--from", "orders:pay")
    assert (unknown.exit_code, unknown.stderr) == (
        1,
        f'convexpy workflow: Step "orders:pay" not found in workflow {run}\n',
    )
    assert terminal.run("restart", run, "--from", "1").stdout == f"{run} was canceled, and is running now.\n"
    assert terminal.run("resume", run).stdout == f"{run} was running, and is running now.\n"
    assert terminal.run("fail", run, "--error", "out of rooms").exit_code == 0
    assert terminal.json("show", run)["result"] == {"kind": "failed", "error": "out of rooms"}


def test_replay_prints_each_step_with_its_place(terminal: Terminal, run: str) -> None:
    replayed = terminal.run("replay", run)

    assert replayed.exit_code == 0, replayed.stderr
    lines = replayed.stdout.splitlines()
    assert lines[0].endswith("▶ the run began")
    assert "0 → mutation orders:book {'item': 'room'}   ordering/orders.py:13  booked = await" in lines[1]
    assert lines[2].endswith("0 ← returned 'booked room'")
    assert "1 → action orders:wait_for_the_gate {}" in lines[3]
    assert lines[4] == f"orders:order fits the journal of {run}."


def test_replay_of_code_that_does_not_fit_shows_the_first_mismatch(terminal: Terminal, run: str, edited: Path) -> None:
    exported = terminal.run("export", run)
    file = edited.parent / "journal.json"
    file.write_text(exported.stdout)

    replayed = terminal.run("replay", "--from-file", str(file), "--folder", str(edited))

    assert replayed.exit_code == 1
    assert "Step 0 does not fit the journal (args): its arguments changed at $.item." in replayed.stdout
    assert "  recorded: mutation orders:book with args {'item': 'room'}" in replayed.stdout
    assert "changed step 0: mutation orders:book with args {'item': 'suite'}" in replayed.stdout
    called = terminal.run("replay", run, "--folder", str(edited), "--json")
    report = json.loads(called.stdout)
    assert (called.exit_code, report["fits"], len(report["changes"])) == (1, False, 1)


def test_check_is_for_deployments(terminal: Terminal, run: str, edited: Path) -> None:
    assert terminal.run("check").exit_code == 0

    called = terminal.run("check", "--folder", str(edited))

    assert called.exit_code == 1
    assert f"orders:order ({run}): Step 0 does not fit" in called.stdout
    assert "Not fitting: 1." in called.stdout


def test_break_stops_at_the_handlers_first_line(terminal: Terminal, run: str) -> None:
    """The user's own words at the debugger's prompt; `n` goes over an await to the next line of the handler."""
    replayed = terminal.shell("replay", run, "--break", stdin="n\np booked\nc\n")

    assert replayed.returncode == 0, replayed.stderr
    assert '-> booked = await step.run_mutation(internal.orders.book, {"item": "room"})' in replayed.stdout
    assert "(Pdb) 'booked room'" in replayed.stdout
    assert "GeneratorExit" not in replayed.stdout


def test_breakpoint_in_the_handler_works(terminal: Terminal, run: str, edited: Path) -> None:
    text = ORDERS.replace("    await step.run_action(", "    breakpoint()\n    await step.run_action(")
    (edited / "orders.py").write_text(text)

    replayed = terminal.shell("replay", run, "--folder", str(edited), stdin="p booked, open('orders.py').read(6)\nc\n")

    assert "('booked room', 'import')" in replayed.stdout  # and files are the debugger's own business
    assert replayed.returncode == 0, replayed.stderr
