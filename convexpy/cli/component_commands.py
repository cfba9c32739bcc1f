"""Commands that components bring: whatever is installed under the entry point group `convexpy.commands`.

    [project.entry-points."convexpy.commands"]
    workflow = "convexpy_workflow.cli:app"          # a typer.Typer: `convexpy workflow …`

One is imported when it is called or when the help lists it, at no other time. Commands of convexpy's own win. What
runs code of the app, as a replay does, must go through a set of texts in the order in which the server does: commands
of components run with the hash seed of the server's processes.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup

GROUP = "convexpy.commands"


class CommandGroup(TyperGroup):
    """The commands of convexpy, and those of installed components."""

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return [*own, *(name for name in sorted(_entries()) if name not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entry = _entries().get(cmd_name)
        return None if entry is None else _load(entry)


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _load(entry: EntryPoint) -> Any:
    if sys.flags.hash_randomization:  # it can be set for a new process only, so this one begins anew
        from convexpy.processes.launch import HASH_SEED

        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONHASHSEED": HASH_SEED})  # noqa: S606  our own line
    try:
        app = entry.load()
    except Exception as error:
        return _broken(entry, f"{type(error).__name__}: {error}")
    if not isinstance(app, typer.Typer):
        return _broken(entry, f"{entry.value} is {app!r}, and must be a typer.Typer")
    command = typer.main.get_command(app)
    command.name = entry.name
    return command


def _broken(entry: EntryPoint, reason: str) -> Any:
    """A command that says why it is none, so that the others still work."""
    package = "an installed package" if entry.dist is None else entry.dist.name
    text = f"convexpy: the command {entry.name!r} of {package} cannot be loaded: {reason}"
    app = typer.Typer()

    @app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
    def fail() -> None:
        typer.echo(text, err=True)
        raise typer.Exit(1)

    command = typer.main.get_command(app)
    command.name = entry.name
    command.help = command.short_help = f"Cannot be loaded: {reason}"
    return command
