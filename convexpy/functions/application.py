"""A loaded app: its component instances with their functions and schemas.

Modules are imported once a process; an instance is a path and a definition, so two installations of a component share
its code and nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convexpy.errors import DefinitionError, InvalidRequest
from convexpy.functions.auth_config import AuthProvider, checked_providers
from convexpy.functions.components import ComponentDefinition, define_app
from convexpy.functions.definitions import Function
from convexpy.functions.discovery import Discovered, discover
from convexpy.functions.http_routing import HttpRouter
from convexpy.functions.importing import import_module, import_package, import_project, restoring_modules
from convexpy.functions.schema import SchemaDefinition


@dataclass
class ComponentInstance:
    """One installation: `path` is "" for the app, `workflow`, `a/b`; `children` maps names to paths."""

    path: str
    definition: ComponentDefinition
    functions: dict[str, Function]
    schema: SchemaDefinition | None
    before_push: str | None
    http_prefix: str | None = None
    children: dict[str, str] = field(default_factory=dict)
    http: HttpRouter | None = None


class Application:
    """Everything that one push holds."""

    def __init__(
        self,
        name: str,
        instances: dict[str, ComponentInstance],
        parts: dict[ComponentDefinition, Discovered],
        auth_providers: list[AuthProvider] | None = None,
    ) -> None:
        self.name = name
        self.instances = instances
        self.auth_providers = auth_providers or []
        self.module_files = sorted({file for found in parts.values() for file in found.files})
        self._source_hash = _hash_of(parts)
        self._homes = {
            function: (definition, function.path)
            for definition, found in parts.items()
            for function in found.functions.values()
        }

    def locate(self, function: Function | None) -> tuple[ComponentDefinition, str]:
        """The definition that a function object belongs to, and its path there.

        Raises:
            InvalidRequest: it is registered nowhere.
        """
        home = None if function is None else self._homes.get(function)
        if home is None:
            raise InvalidRequest(
                f"{function!r} is not registered: a function must be a global of the module that defines it."
            )
        return home

    def describe(self) -> dict[str, Any]:
        """Plain data for the server: source hash, instances, functions with validators, schemas, auth providers.

        The hash is of the sources that were imported, and of their names below their packages: it says nothing of
        where these lie, nor of what has become of the files.
        """
        return {
            "hash": self._source_hash,
            "name": self.name,
            "instances": {path: _describe(instance) for path, instance in self.instances.items()},
            "auth": self.auth_providers,
        }


def _hash_of(parts: dict[ComponentDefinition, Discovered]) -> str:
    digest = hashlib.sha256()
    for definition, found in parts.items():
        digest.update(f"{definition.functions or ''}\0{len(found.digests)}\0".encode())
        for name, source in sorted(found.digests.items()):
            digest.update(name.encode() + b"\0" + source)
    return digest.hexdigest()


def _describe(instance: ComponentInstance) -> dict[str, Any]:
    return {
        "definition": instance.definition.name,
        "functions": {
            path: {
                "kind": function.kind,
                "visibility": function.visibility,
                "args": None if function.args is None else function.args.to_json(),
                "returns": None if function.returns is None else function.returns.to_json(),
            }
            for path, function in instance.functions.items()
        },
        "schema": None if instance.schema is None else instance.schema.export(),
        "children": instance.children,
        "before_push": instance.before_push,
        "http_prefix": instance.http_prefix,
        "http_routes": [] if instance.http is None else [[*route, route.key] for route in instance.http.routes],
    }


def load_application(folder: Path) -> Application:
    """Import a project folder and the components that it uses.

    Raises:
        DefinitionError: something in it is wrong; file, line and text say what. Modules of an earlier load are still
            the ones that an import inside a function finds.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise DefinitionError(f"There is no folder {folder}.")
    with restoring_modules(folder):
        return _load(folder)


def _load(folder: Path) -> Application:
    package = import_project(folder)
    app = _app_of(package, folder)
    definitions = _definitions_below(app)
    folders = {each: import_package(str(each.functions), f"The component {each.name!r}") for each in definitions}
    resolved = frozenset(place.resolve() for place in folders.values())
    parts = {app: discover(package, folder, resolved)}
    for each, place in folders.items():
        parts[each] = discover(str(each.functions), place, resolved - {place.resolve()})
    instances: dict[str, ComponentInstance] = {}
    _add_instance(instances, parts, "", app, None)
    return Application(folder.name, instances, parts, _auth_providers(parts, app))


def _app_of(package: str, folder: Path) -> ComponentDefinition:
    """What `convex_config.py` exports; without it an app that installs nothing."""
    if not (folder / "convex_config.py").exists():
        return define_app()
    found = Discovered(modules={"convex_config": import_module(package, "convex_config", folder)})
    app = _exported(found, "convex_config", "app", ComponentDefinition)
    if app.functions is not None:
        raise DefinitionError(
            f"`app` in convex_config.py is {app!r}. Write app = define_app().", str(folder / "convex_config.py")
        )
    assert isinstance(app, ComponentDefinition)
    return app


def _definitions_below(app: ComponentDefinition) -> list[ComponentDefinition]:
    """Every component definition that the app installs, directly or not, once."""
    found: list[ComponentDefinition] = []

    def visit(definition: ComponentDefinition, above: tuple[ComponentDefinition, ...]) -> None:
        if definition in above:
            names = " → ".join(each.name for each in (*above, definition))
            raise DefinitionError(f"Components install each other in a circle: {names}.")
        for use in definition.uses:
            if use.component not in found:
                for other in found:
                    if other.functions == use.component.functions:
                        raise DefinitionError(
                            f"The components {other.name!r} and {use.component.name!r} are two definitions of "
                            f"{other.functions!r}. Use one definition twice: app.use(component, name=…)."
                        )
                found.append(use.component)
            visit(use.component, (*above, definition))

    visit(app, ())
    return found


def _add_instance(
    instances: dict[str, ComponentInstance],
    parts: dict[ComponentDefinition, Discovered],
    path: str,
    definition: ComponentDefinition,
    http_prefix: str | None,
) -> None:
    found = parts[definition]
    instance = ComponentInstance(
        path,
        definition,
        found.functions,
        _exported(found, "schema", "schema", SchemaDefinition),
        _before_push(definition, found),
        http_prefix,
        http=_exported(found, "http", "http", HttpRouter),
    )
    instances[path] = instance
    for use in definition.uses:
        child = f"{path}/{use.name}" if path else use.name
        instance.children[use.name] = child
        _add_instance(instances, parts, child, use.component, use.http_prefix)


def _exported(found: Discovered, module: str, name: str, kind: type[Any]) -> Any:
    value = getattr(found.modules.get(module), name, None)
    if value is None:
        if module in found.modules:
            raise DefinitionError(f"{module}.py exports no `{name}`.", found.modules[module].__file__)
        return None
    if not isinstance(value, kind):
        raise DefinitionError(f"`{name}` in {module}.py is {value!r}.", found.modules[module].__file__)
    return value


def _auth_providers(parts: dict[ComponentDefinition, Discovered], app: ComponentDefinition) -> list[AuthProvider]:
    for definition, found in parts.items():
        if definition is not app and "auth_config" in found.modules:
            raise DefinitionError(
                f"The component {definition.name!r} has an auth_config.py, and components know no users. Put it beside "
                f"the app's convex_config.py, and pass what the component needs as arguments.",
                found.modules["auth_config"].__file__,
            )
    found = parts[app]
    providers = _exported(found, "auth_config", "providers", object)
    if providers is None:
        return []
    try:
        return checked_providers(providers)
    except DefinitionError as error:
        raise DefinitionError(error.text, found.modules["auth_config"].__file__) from error


def _before_push(definition: ComponentDefinition, found: Discovered) -> str | None:
    function = definition.before_push
    if function is None:
        return None
    path = function.path if isinstance(function, Function) else function
    registered = found.functions.get(path)
    if registered is None or registered.kind != "query":
        raise DefinitionError(
            f"before_push of the component {definition.name!r} must name a query of it, not {path!r}."
        )
    return path
