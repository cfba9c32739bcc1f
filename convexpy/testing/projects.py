"""Loading a project folder without serving it, for tools that run its code: replays, checks."""

from __future__ import annotations

from pathlib import Path

from convexpy.functions import guard
from convexpy.functions.application import load_application
from convexpy.functions.definitions import Function


def load_functions(folder: Path | str) -> dict[str, dict[str, Function]]:
    """Import a project folder and its components: function objects by component path ("" is the app) and by
    `module:name`. This process is guarded from then on, so `convexpy.deterministic` works in it.

    Raises:
        DefinitionError: something in the folder is wrong; file, line and text say what.
    """
    guard.install()
    application = load_application(Path(folder))
    return {path: dict(instance.functions) for path, instance in application.instances.items()}
