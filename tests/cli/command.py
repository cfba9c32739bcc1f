"""Runs `convexpy …` in a process of its own, with the commands that the workflow component brings."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


def install_commands(folder: Path, pyproject: Path = ROOT / "components/workflow/pyproject.toml") -> Path:
    """Write what `pip install` writes of a package's entry points; gives the folder for `PYTHONPATH`."""
    project = tomllib.loads(pyproject.read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def convexpy(path: Path, *args: str, stdin: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Args:
        path: folder with installed packages, see `install_commands`.
        folder: the current one of the command.
    """
    environment = {name: value for name, value in os.environ.items() if name != "CONVEX_SELF_HOSTED_ADMIN_KEY"}
    return subprocess.run(
        [str(Path(sys.executable).with_name("convexpy")), *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        cwd=folder,
        env=environment | {"PYTHONPATH": str(path)},
        check=False,
    )
