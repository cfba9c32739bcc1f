"""Commands that installed packages bring, and packages that bring broken ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from convexpy.processes.launch import HASH_SEED
from tests.cli.command import convexpy, install_commands

PROJECT = """
[project]
name = "greeter"
version = "1.0"

[project.entry-points."convexpy.commands"]
greet = "greeter:app"
dev = "greeter:app"
absent = "no_such_module_anywhere:app"
odd = "greeter:odd"
"""

GREETER = '''
import typer

app = typer.Typer()
odd = 3


@app.command()
def greet(name: str) -> None:
    """Say hello."""
    print(f"Hello, {name}!")


@app.command()
def hashes() -> None:
    """Say how."""
    print(hash("a text"))
'''


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "greeter.py").write_text(GREETER)
    return install_commands(tmp_path, tmp_path / "pyproject.toml")


def test_a_package_brings_a_command(path: Path) -> None:
    called = convexpy(path, "greet", "greet", "Ada")

    assert (called.returncode, called.stdout) == (0, "Hello, Ada!\n")


def test_it_goes_through_sets_in_the_order_of_servers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay of a handler that does so would differ otherwise."""
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)

    called = [convexpy(path, "greet", "hashes").stdout for _ in range(2)]

    as_servers = [sys.executable, "-c", "print(hash('a text'))"]
    servers = subprocess.run(as_servers, env={"PYTHONHASHSEED": HASH_SEED}, capture_output=True, text=True, check=True)
    assert called == [servers.stdout] * 2


def test_the_help_lists_it_among_the_others_and_survives_broken_ones(path: Path) -> None:
    called = convexpy(path, "--help")

    assert called.returncode == 0
    assert "greet" in called.stdout
    assert "absent" in called.stdout and "Cannot be loaded" in called.stdout
    assert "Serve a project while you work on it" in called.stdout  # no package replaces a command of convexpy


@pytest.mark.parametrize(
    ("command", "reason"),
    [("absent", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"), ("odd", "must be a typer.Typer")],
)
def test_a_command_that_cannot_be_loaded_says_why(path: Path, command: str, reason: str) -> None:
    called = convexpy(path, command, "with", "--options")

    assert called.returncode == 1
    assert f"the command '{command}' of greeter cannot be loaded: " in called.stderr
    assert reason in called.stderr


def test_an_unknown_command_is_no_traceback(path: Path) -> None:
    called = convexpy(path, "fly")

    assert called.returncode == 2
    assert "No such command 'fly'" in called.stderr
