"""Finds the functions that the modules of an app's folder or of a component's package define."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from weakref import WeakKeyDictionary

from convexpy.errors import DefinitionError
from convexpy.functions.definitions import Function
from convexpy.functions.importing import ProjectLoader, as_identifier, import_module
from convexpy.functions.places import place_of
from convexpy.limits import MODULES_MAX

_SKIPPED_FOLDERS = {"web", "node_modules", "__pycache__", ".convexpy", ".venv", "tests"}
_seen_digests: WeakKeyDictionary[ModuleType, bytes] = WeakKeyDictionary()


@dataclass
class Discovered:
    """What a package holds: its functions by path, its modules by path below it, its files, and the SHA-256 of the
    source that each was imported from, by its path below the package."""

    functions: dict[str, Function] = field(default_factory=dict)
    modules: dict[str, ModuleType] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    digests: dict[str, bytes] = field(default_factory=dict)


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
                if not f"{path}{name}".isascii():
                    _refuse_path(path, name, value, file)
                if value not in registered:
                    value.path = f"{path}:{name}"  # of several names of one function the first is its own
                    registered.add(value)
                found.functions[f"{path}:{name}"] = value
    return found


def _digest_of(module: ModuleType, file: Path) -> bytes:
    """SHA-256 of a module's source; of a component's module, which is imported once a process, as it was first seen."""
    loader = getattr(module.__spec__, "loader", None)
    if isinstance(loader, ProjectLoader):
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


def _refuse_path(path: str, name: str, function: Function, file: Path) -> None:
    place = place_of(function.handler)
    raise DefinitionError(
        f"Nobody could call {path}:{name}: paths of functions are ASCII letters, digits and underscores. Rename the "
        f"{'module' if name.isascii() else 'function'}.",
        *(place if place[0] == str(file) else (str(file), None)),
    )


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
                rename = f"{as_identifier(entry.stem)}.py"
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
