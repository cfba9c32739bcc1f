"""Imports app folders and components' packages; what fails becomes an error with the user's place.

An app's folder is imported as a package under its own name: only the package enters `sys.modules`, its parent never
enters `sys.path`, so a module `http.py` in it shadows nothing. A component's package is imported as installed packages
are.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import keyword
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

from convexpy.errors import ConvexpyError, DefinitionError

T = TypeVar("T")
_PACKAGE = str(Path(__file__).resolve().parent.parent) + "/"


class ProjectLoader(SourceFileLoader):
    """Compiles the source every time. Whether cached bytecode is stale is told by whole seconds and size, which an edit
    and a reload within a second may share."""

    digest = b""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        source = self.get_data(path)
        self.digest = hashlib.sha256(source).digest()
        return self.source_to_code(source, path)


class ProjectFinder(MetaPathFinder):
    """Finds the modules below one project's package."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is None or not fullname.startswith(f"{self.package}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = ProjectLoader(fullname, spec.origin)
            spec.cached = None
        return spec


def import_project(folder: Path) -> str:
    """Make a project folder importable as a package; returns its name. Modules of an earlier import are dropped, also
    those of a project of this name in another place.

    Raises:
        DefinitionError: the folder's name cannot be a package's, or its `__init__.py` fails.
    """
    name = folder.name
    if not name.isidentifier() or keyword.iskeyword(name):
        raise DefinitionError(
            f"The project folder is imported as a package, and {name!r} is no Python identifier. "
            f"Rename it, for example to {as_identifier(name)!r}."
        )
    _forget_project(name)
    importlib.invalidate_caches()
    if _is_installed(name, folder):
        raise DefinitionError(
            f"The project folder is imported as a package, and there is an installed module {name!r}. "
            f"Rename the folder, for example to {name + '_app'!r}."
        )
    init = folder / "__init__.py"
    loader = ProjectLoader(name, str(init)) if init.exists() else None
    spec = ModuleSpec(name, loader, origin=None if loader is None else str(init), is_package=True)
    spec.has_location = loader is not None
    spec.submodule_search_locations = [str(folder)]
    package = importlib.util.module_from_spec(spec)
    sys.meta_path.insert(0, ProjectFinder(name))
    sys.modules[name] = package
    if loader is not None:
        _guarded(partial(loader.exec_module, package), folder)
    return name


@contextmanager
def restoring_modules(folder: Path) -> Iterator[None]:
    """If the body, which imports a project, fails: leave none of its modules, and put those of an earlier one back."""
    name = folder.name
    modules, finders = _modules_of(name), _finders_of(name)
    try:
        yield
    except BaseException:
        for known in _modules_of(name).keys() - modules.keys():
            del sys.modules[known]
        sys.modules.update(modules)
        for finder in _finders_of(name):
            sys.meta_path.remove(finder)
        sys.meta_path[:0] = finders
        raise


def _forget_project(name: str) -> None:
    finders = _finders_of(name)
    for finder in finders:
        sys.meta_path.remove(finder)
    if finders:
        for known in _modules_of(name):
            del sys.modules[known]


def _finders_of(name: str) -> list[ProjectFinder]:
    return [finder for finder in sys.meta_path if isinstance(finder, ProjectFinder) and finder.package == name]


def _modules_of(name: str) -> dict[str, ModuleType]:
    return {known: module for known, module in sys.modules.items() if known == name or known.startswith(f"{name}.")}


def _is_installed(name: str, folder: Path) -> bool:
    loaded = sys.modules.get(name)
    if loaded is not None:
        places = list(getattr(loaded, "__path__", []))
    elif name in sys.stdlib_module_names:
        return True
    else:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return True
        if spec is None:
            return False
        places = list(spec.submodule_search_locations or [])
        is_namespace = spec.origin is None
        if is_namespace and not any("site-packages" in Path(place).parts for place in places):
            return False  # a folder that merely lies below a place on sys.path, such as the current directory
    # The project's parent may be on sys.path by way of the current directory.
    return [str(Path(place).resolve()) for place in places] != [str(folder.resolve())]


def as_identifier(name: str) -> str:
    """A name like this one that a module may have."""
    cleaned = "".join(letter if letter.isalnum() else "_" for letter in name)
    return cleaned if cleaned.isidentifier() and not keyword.iskeyword(cleaned) else f"app_{cleaned}"


def import_package(package: str, title: str) -> Path:
    """Import a component's package; returns its folder.

    Raises:
        DefinitionError: there is none, it is a module, or it fails.
    """
    spec = _guarded(partial(_find_package, package), Path(package))
    if spec is None:
        raise DefinitionError(f"{title} has its functions in {package!r}, which cannot be found. Install its package.")
    if not spec.submodule_search_locations:
        raise DefinitionError(f"{title} has its functions in {package!r}, which is a module. Make it a package.")
    folder = Path(next(iter(spec.submodule_search_locations)))
    _guarded(partial(importlib.import_module, package), folder)
    return folder


def _find_package(package: str) -> ModuleSpec | None:
    """Look for a package; this imports the packages around it."""
    try:
        return importlib.util.find_spec(package)
    except ModuleNotFoundError as error:
        if f"{package}.".startswith(f"{error.name}."):
            return None
        raise  # something that a package around it needs


def import_module(package: str, path: str, folder: Path) -> ModuleType:
    """Import the module `dir/file` of a package that lies in `folder`.

    Raises:
        DefinitionError: it fails.
    """
    return _guarded(partial(importlib.import_module, f"{package}.{path.replace('/', '.')}"), folder)


def _guarded(load: Callable[[], T], folder: Path) -> T:
    """Run an import of code in `folder`; what it raises becomes an error with the user's place."""
    try:
        return load()
    except DefinitionError as error:
        if error.file is not None:
            raise
        file, line = _user_place(error, folder)
        raise DefinitionError(error.text, file, line) from error
    except SyntaxError as error:
        raise DefinitionError(f"{type(error).__name__}: {error.msg}", error.filename, error.lineno) from error
    except (Exception, SystemExit) as error:
        text = str(error) if isinstance(error, ConvexpyError) else f"{type(error).__name__}: {error}"
        raise DefinitionError(text, *_user_place(error, folder)) from error


def _user_place(error: BaseException, folder: Path) -> tuple[str | None, int | None]:
    """The innermost line in the folder; else the innermost that is neither ours nor the import system's."""
    frames = [
        frame
        for frame in reversed(traceback.extract_tb(error.__traceback__))
        if not frame.filename.startswith((_PACKAGE, "<"))
    ]
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    for frame in inside or frames:
        if "importlib" not in Path(frame.filename).parts:
            return frame.filename, frame.lineno
    return None, None
