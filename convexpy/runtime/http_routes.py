"""All HTTP routes of a generation, those of mounted components included: from method and path to an HTTP action."""

from __future__ import annotations

from typing import Any, NamedTuple


class RouteMatch(NamedTuple):
    """A component instance, and the key of a route in its router."""

    component: str
    key: str


class RouteTable:
    """One component instance's routes, and its children's below their prefixes.

    Args:
        description: `Application.describe()`.
    """

    def __init__(self, description: dict[str, Any] | None = None, component: str = "") -> None:
        instances = {} if description is None else description["instances"]
        instance = instances.get(component, {})
        self._component = component
        self._exact: dict[tuple[str, str], str] = {}
        prefixes: list[tuple[str, str, str]] = []
        for method, path, is_prefix, key in instance.get("http_routes", ()):
            if is_prefix:
                prefixes.append((method, path, key))
            else:
                self._exact[method, path] = key
        self._prefixes = sorted(prefixes, key=lambda each: -len(each[1]))
        mounts = [
            (instances[child]["http_prefix"], RouteTable(description, child))
            for child in instance.get("children", {}).values()
            if instances[child].get("http_prefix") is not None
        ]
        self._mounts = sorted(mounts, key=lambda each: -len(each[0]))

    @property
    def is_empty(self) -> bool:
        """Whether there is no route at all."""
        return not self._exact and not self._prefixes and all(table.is_empty for _, table in self._mounts)

    def find(self, method: str, path: str) -> RouteMatch | None:
        """Exact path, else longest prefix, else the component with the longest prefix. HEAD is served as GET."""
        asked = "GET" if method == "HEAD" else method
        key = self._exact.get((asked, path))
        if key is None:
            fits = (key for each, prefix, key in self._prefixes if each == asked and path.startswith(prefix))
            key = next(fits, None)
        if key is not None:
            return RouteMatch(self._component, key)
        for prefix, table in self._mounts:
            if path.startswith(prefix):
                return table.find(method, path[len(prefix) - 1 :])
        return None
