"""Imports the modules of an app's folder or of a component's package, and finds the functions that they define.

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
from dataclasses import dataclass, field
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from convexpy.errors import ConvexpyError, DefinitionError
from convexpy.functions.definitions import Function
from convexpy.functions.places import place_of
from convexpy.limits import MODULES_MAX

T = TypeVar("T")
_SKIPPED_FOLDERS = {"web", "node_modules", "__pycache__", ".convexpy", ".venv", "tests"}
_seen_digests: WeakKeyDictionary[ModuleType, bytes] = WeakKeyDictionary()
_PACKAGE = str(Path(__file__).resolve().parent.parent) + "/"


@dataclass
class Discovered:
    """What a package holds: its functions by path, its modules by path below it, its files, and the SHA-256 of the
    source that each was imported from, by its path below the package."""

    functions: dict[str, Function] = field(default_factory=dict)
    modules: dict[str, ModuleType] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    digests: dict[str, bytes] = field(default_factory=dict)


class _ProjectLoader(SourceFileLoader):
    """Compiles the source every time. Whether cached bytecode is stale is told by whole seconds and size, which an edit
    and a reload within a second may share."""

    digest = b""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        source = self.get_data(path)
        self.digest = hashlib.sha256(source).digest()
        return self.source_to_code(source, path)


class _ProjectFinder(MetaPathFinder):
    """Finds the modules below one project's package."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is None or not fullname.startswith(f"{self.package}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _ProjectLoader(fullname, spec.origin)
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
            f"Rename it, for example to {_as_identifier(name)!r}."
        )
    _forget_project(name)
    importlib.invalidate_caches()
    if _is_installed(name, folder):
        raise DefinitionError(
            f"The project folder is imported as a package, and there is an installed module {name!r}. "
            f"Rename the folder, for example to {name + '_app'!r}."
        )
    init = folder / "__init__.py"
    loader = _ProjectLoader(name, str(init)) if init.exists() else None
    spec = ModuleSpec(name, loader, origin=None if loader is None else str(init), is_package=True)
    spec.has_location = loader is not None
    spec.submodule_search_locations = [str(folder)]
    package = importlib.util.module_from_spec(spec)
    sys.meta_path.insert(0, _ProjectFinder(name))
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


def _finders_of(name: str) -> list[_ProjectFinder]:
    return [finder for finder in sys.meta_path if isinstance(finder, _ProjectFinder) and finder.package == name]


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


def _as_identifier(name: str) -> str:
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


def discover(package: str, folder: Path, others: frozenset[Path] = frozenset()) -> Discovered:
    """Import all modules below a package and collect the functions that each *defines*; imported ones do not count.

    Args:
        others: resolved folders of other packages; where one lies inside this folder it is left to itself.

    Raises:
        DefinitionError: a module cannot be imported; file and line are of the user's innermost frame. Or functions
            are where they have no path.
    """
    found = Discovered()
    for file in sorted(_module_files(folder, others)):
        found.files.append(file)
        if len(found.files) > MODULES_MAX:
            raise DefinitionError(f"{folder} holds more than {MODULES_MAX} modules.")
        parts = list(file.relative_to(folder).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        path = "/".join(parts)
        module = import_module(package, path, folder) if parts else sys.modules[package]
        found.digests[file.relative_to(folder).as_posix()] = _digest_of(module, file)
        if not parts:
            _refuse_functions(module, file)  # the package itself: the place for shared names
            continue
        found.modules[path] = module
        registered: set[Function] = set()
        for name, value in vars(module).items():
            if isinstance(value, Function) and value.module == module.__name__:
                if value not in registered:
                    value.path = f"{path}:{name}"  # of several names of one function the first is its own
                    registered.add(value)
                found.functions[f"{path}:{name}"] = value
    return found


def _digest_of(module: ModuleType, file: Path) -> bytes:
    """SHA-256 of a module's source; of a component's module, which is imported once a process, as it was first seen."""
    loader = getattr(module.__spec__, "loader", None)
    if isinstance(loader, _ProjectLoader):
        return loader.digest
    if module not in _seen_digests:
        _seen_digests[module] = hashlib.sha256(file.read_bytes()).digest()
    return _seen_digests[module]


def _refuse_functions(package: ModuleType, file: Path) -> None:
    for name, value in vars(package).items():
        if isinstance(value, Function) and value.module == package.__name__:
            place = place_of(value.handler)
            raise DefinitionError(
                f"{name} is in the __init__.py of the whole folder, where functions have no path. Move it to a module "
                f"beside that, such as messages.py: there it is messages:{name}.",
                *(place if place[0] == str(file) else (str(file), None)),
            )


def import_module(package: str, path: str, folder: Path) -> ModuleType:
    """Import the module `dir/file` of a package that lies in `folder`.

    Raises:
        DefinitionError: it fails.
    """
    return _guarded(partial(importlib.import_module, f"{package}.{path.replace('/', '.')}"), folder)


def _module_files(folder: Path, others: frozenset[Path]) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith((".", "_generated")):
            continue
        if entry.is_dir():
            is_ours = entry.name.isidentifier() and not entry.is_symlink() and entry.resolve() not in others
            if is_ours and entry.name not in _SKIPPED_FOLDERS:
                below = list(_module_files(entry, others))
                if below:
                    _refuse_twin(entry)
                yield from below
        elif entry.suffix == ".py" and entry.name.count(".") == 1:
            if not entry.stem.isidentifier():
                rename = f"{_as_identifier(entry.stem)}.py"
                raise DefinitionError(f"{entry.name!r} cannot be imported. Rename it, for example to {rename!r}.")
            yield entry


def _refuse_twin(package: Path) -> None:
    """Refuse a module beside a folder of modules with the same name: one of them hides the other from Python."""
    module, init = package.with_suffix(".py"), package / "__init__.py"
    if module.exists():
        name = package.name
        hidden = f"{name}.py is hidden by" if init.exists() else f"{name}.py hides the modules in"
        mend = f"Move what is in {name}.py to" if init.exists() else f"Move {name}.py to"
        raise DefinitionError(f"{hidden} the folder {name}/. {mend} {name}/__init__.py.", str(module))


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
