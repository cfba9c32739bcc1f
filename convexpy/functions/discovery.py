"""Imports the modules of an app's folder or of a component's package, and finds the functions that they define.

An app's folder is imported as a package under its own name: only the package enters `sys.modules`, its parent never
enters `sys.path`, so a module `http.py` in it shadows nothing.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from convexpy.errors import ConvexpyError, DefinitionError
from convexpy.functions.definitions import Function

T = TypeVar("T")
MODULES_MAX = 4096
_SKIPPED_FOLDERS = {"web", "node_modules", "__pycache__", ".convexpy", ".venv", "tests"}
_PACKAGE = str(Path(__file__).resolve().parent.parent) + "/"


@dataclass
class Discovered:
    """What a package holds: its functions by path, its modules by path below it, its files."""

    functions: dict[str, Function] = field(default_factory=dict)
    modules: dict[str, ModuleType] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


def import_project(folder: Path) -> str:
    """Make a project folder importable as a package; returns its name. Modules of an earlier import are dropped.

    Raises:
        DefinitionError: the folder's name cannot be a package's.
    """
    name = folder.name
    if not name.isidentifier():
        raise DefinitionError(
            f"The project folder is imported as a package, and {name!r} is no Python identifier. "
            f"Rename it, for example to {_as_identifier(name)!r}."
        )
    if name in sys.builtin_module_names or name in sys.stdlib_module_names or _is_installed(name, folder):
        raise DefinitionError(
            f"The project folder is imported as a package, and there is an installed module {name!r}. "
            f"Rename the folder, for example to {name + '_app'!r}."
        )
    for known in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
        del sys.modules[known]
    init = folder / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        name, init if init.exists() else None, submodule_search_locations=[str(folder)]
    )
    if spec is None:
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    package = importlib.util.module_from_spec(spec)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    if spec.loader is not None and init.exists():
        loader = spec.loader
        _guarded(lambda: loader.exec_module(package))
    return name


def _is_installed(name: str, folder: Path) -> bool:
    found = sys.modules.get(name)
    if found is not None:
        return [str(Path(path).resolve()) for path in getattr(found, "__path__", [])] != [str(folder.resolve())]
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    # The folder itself may be on sys.path by way of the current directory.
    places = [] if spec is None else list(spec.submodule_search_locations or [spec.origin or ""])
    return spec is not None and [str(Path(place).resolve()) for place in places] != [str(folder.resolve())]


def _as_identifier(name: str) -> str:
    cleaned = "".join(letter if letter.isalnum() else "_" for letter in name)
    return cleaned if cleaned and not cleaned[0].isdigit() else f"app_{cleaned}"


def discover(package: str, folder: Path) -> Discovered:
    """Import all modules below a package and collect the functions that each *defines*; imported ones do not count.

    Raises:
        DefinitionError: a module cannot be imported; file and line are of the user's innermost frame.
    """
    found = Discovered()
    for file in sorted(_module_files(folder)):
        found.files.append(file)
        if len(found.files) > MODULES_MAX:
            raise DefinitionError(f"{folder} holds more than {MODULES_MAX} modules.")
        parts = list(file.relative_to(folder).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        if not parts:
            continue  # the package itself: the place for shared names, not for functions
        module_name = ".".join((package, *parts))
        module = _guarded(partial(importlib.import_module, module_name))
        path = "/".join(parts)
        found.modules[path] = module
        for name, value in vars(module).items():
            if isinstance(value, Function) and value.module == module.__name__:
                value.path = f"{path}:{name}"
                found.functions[value.path] = value
    return found


def _module_files(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith((".", "_generated")):
            continue
        if entry.is_dir():
            if entry.name not in _SKIPPED_FOLDERS and entry.name.isidentifier():
                yield from _module_files(entry)
        elif entry.suffix == ".py" and entry.name.count(".") == 1:
            yield entry


def _guarded(load: Callable[[], T]) -> T:
    """Run an import; what the user's code raises becomes an error with the user's place."""
    try:
        return load()
    except DefinitionError as error:
        if error.file is not None:
            raise
        file, line = _user_place(error)
        raise DefinitionError(error.text, file, line) from error
    except SyntaxError as error:
        raise DefinitionError(f"{type(error).__name__}: {error.msg}", error.filename, error.lineno) from error
    except (Exception, SystemExit) as error:
        text = str(error) if isinstance(error, ConvexpyError) else f"{type(error).__name__}: {error}"
        raise DefinitionError(text, *_user_place(error)) from error


def _user_place(error: BaseException) -> tuple[str | None, int | None]:
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((_PACKAGE, "<")) and "importlib" not in frame.filename:
            return frame.filename, frame.lineno
    return None, None
