"""From a reference to the function it names, as the component of the running call sees it.

A component reaches its own functions, public functions of its direct children, and whatever it was handed a function
handle for. A handle holds the namespace of the instance, which stays the same over pushes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from convexpy.errors import FunctionNotFound, InvalidRequest
from convexpy.functions.application import Application, ComponentInstance
from convexpy.functions.definitions import Function
from convexpy.functions.references import FunctionAddress, resolve_name
from convexpy.transactions.catalog import Catalog

HANDLE_PREFIX = "function://"


class Located(NamedTuple):
    """A function in one component instance."""

    instance: ComponentInstance
    namespace: int
    function: Function

    @property
    def handle(self) -> str:
        return f"{HANDLE_PREFIX}{self.namespace}/{self.function.path}"


class Resolver:
    """Finds functions of one generation, as one catalog has its components. Remembers what it has found."""

    def __init__(self, application: Application, catalog: Catalog) -> None:
        self.catalog = catalog
        self._application = application
        self._found: dict[tuple[str, FunctionAddress], Located] = {}

    def instance_of(self, namespace: int) -> ComponentInstance:
        """The mounted component instance of a namespace."""
        path = self.catalog.component_paths.get(namespace)
        instance = None if path is None else self._application.instances.get(path)
        if instance is None:
            raise FunctionNotFound(
                f"The component {path or namespace!r} is not mounted. Its data is kept; mount it again with app.use(…)."
            )
        return instance

    def namespace_of(self, component_path: str) -> int:
        """The namespace of a mounted component instance."""
        namespace = self.catalog.namespaces.get(component_path)
        if namespace is None or component_path not in self._application.instances:
            raise FunctionNotFound(f'Child component "{component_path}" not found')
        return namespace

    def in_namespace(self, namespace: int, path: str) -> Located:
        """A function by the namespace of its component and its path there."""
        instance = self.instance_of(namespace)
        function = instance.functions.get(path)
        if function is None:
            raise FunctionNotFound(f"Could not find function for '{path}'. Did you forget to run `npx convex dev`?")
        return Located(instance, namespace, function)

    def locate(self, caller: ComponentInstance, reference: Any) -> Located:
        """The function that a reference names for code of `caller`.

        Raises:
            FunctionNotFound: it names none.
            InvalidRequest: it is no reference, or one that this component may not use.
        """
        address = resolve_name(reference)
        asked = (caller.path, address)
        found = self._found.get(asked)
        if found is None:
            found = self._found[asked] = self._locate(caller, address)
        return found

    def _locate(self, caller: ComponentInstance, address: FunctionAddress) -> Located:
        if address.kind == "handle":
            return self.in_namespace(_namespace_in(address.component), address.path)
        if address.kind == "object":
            definition, path = self._application.locate(address.function)
            if definition is not caller.definition:
                raise InvalidRequest(
                    f"{path} is a function of another component. Pass a function handle across components: "
                    f"create_function_handle({path.partition(':')[2]})."
                )
            return self.in_namespace(self.namespace_of(caller.path), path)
        if address.kind == "own":
            return self.in_namespace(self.namespace_of(caller.path), address.path)
        child_path = caller.children.get(address.component)
        if child_path is None:
            raise FunctionNotFound(f'Child component "{address.component}" not found')
        located = self.in_namespace(self.namespace_of(child_path), address.path)
        if located.function.visibility != "public":
            raise FunctionNotFound(f'Component "{address.component}" does not export {address.path!r}.')
        return located


def _namespace_in(component_id: str) -> int:
    try:
        return int(component_id)
    except ValueError as error:
        raise FunctionNotFound(f"Function handle not found: {component_id!r} is no component.") from error
