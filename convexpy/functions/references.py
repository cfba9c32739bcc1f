"""How code names functions: `api.messages.send`, `internal.…`, `components.workflow.lib.start`, the decorated function
itself, `"messages:send"`, or a function handle. All of them wherever a reference is taken; nothing is looked up before
the running call's component is known.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from convexpy.errors import InvalidRequest
from convexpy.functions.definitions import Function
from convexpy.limits import LONGER_REFERENCES_KEPT_MAX

HANDLE_PREFIX = "function://"
CHILD_PREFIX = "_reference/childComponent/"
_PATH = re.compile(r"(?P<module>\w+(?:/\w+)*)(?:\.js)?(?::(?P<name>[^\W\d]\w*))?\Z", re.ASCII)


class FunctionAddress(NamedTuple):
    """Where a reference points, seen from the component that uses it.

    kind "own": `path` in the same component. "child": `path` in the direct child `component`. "handle": `path` in the
    component with the id `component`. "object": the decorated `function` itself.
    """

    kind: Literal["own", "child", "handle", "object"]
    path: str = ""
    component: str = ""
    function: Function | None = None


class Reference:
    """A function by its name; made by attribute access, so it may name one that does not exist (yet)."""

    # Mangled, and no public methods: whatever name a module or a function has must come out as a longer reference.
    __slots__ = ("__address", "__longer", "__names", "__root")

    def __init__(self, root: str, names: tuple[str, ...] = ()) -> None:
        self.__root = root
        self.__names = names
        self.__address: FunctionAddress | None = None
        self.__longer: dict[str, Reference] = {}

    def __call_address__(self) -> FunctionAddress:
        """Where it points, worked out once. Named so that no function's name can be the same."""
        if self.__address is None:
            self.__address = _address_of(self)
        return self.__address

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("__"):
            raise AttributeError(name)
        # The same code asks for the same names again and again; a reference keeps its address once it is worked out.
        longer = self.__longer.get(name)
        if longer is None:
            longer = Reference(self.__root, (*self.__names, name))
            if len(self.__longer) < LONGER_REFERENCES_KEPT_MAX:
                self.__longer[name] = longer
        return longer

    def __repr__(self) -> str:
        return ".".join((self.__root, *self.__names))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash((self.__root, self.__names))

    def __reduce__(self) -> tuple[type[Reference], tuple[str, tuple[str, ...]]]:
        return (Reference, (self.__root, self.__names))


api = Reference("api")
internal = Reference("internal")
components = Reference("components")


def resolve_name(reference: Any) -> FunctionAddress:
    """Where any kind of reference points.

    Raises:
        InvalidRequest: it is no reference.
    """
    if isinstance(reference, Reference):
        return reference.__call_address__()
    if isinstance(reference, Function):
        return FunctionAddress("object", reference.path, function=reference)
    if not isinstance(reference, str) or not reference:
        raise InvalidRequest(
            f"{reference!r} is no function reference. Pass the decorated function, api.module.name, "
            f'internal.module.name, components.child.module.name, "module:name" or a function handle.'
        )
    if reference.startswith(HANDLE_PREFIX):
        component, _, path = reference.removeprefix(HANDLE_PREFIX).partition("/")
        if not component:
            raise InvalidRequest(f"{reference!r} is no function handle. Get one from create_function_handle(…).")
        return FunctionAddress("handle", canonical(path), component)
    if reference.startswith(CHILD_PREFIX):
        child, _, path = reference.removeprefix(CHILD_PREFIX).partition("/")
        return FunctionAddress("child", canonical(path), child)
    return FunctionAddress("own", canonical(reference))


def _address_of(reference: Reference) -> FunctionAddress:
    root, *names = repr(reference).split(".")
    child = ""
    if root == "components":
        child, names = names[0] if names else "", names[1:]
    if len(names) < 2:
        example = "components.name.module.function" if root == "components" else f"{root}.module.function"
        raise InvalidRequest(f"{reference!r} names no function: write {example}.")
    path = f"{'/'.join(names[:-1])}:{names[-1]}"
    return FunctionAddress("child", path, child) if child else FunctionAddress("own", path)


def canonical(path: str) -> str:
    """`module:name` of a path as people write it: `.js` is dropped, a bare module means its `default`.

    Raises:
        InvalidRequest: it can name no function.
    """
    match = _PATH.match(path)
    if match is None:
        raise InvalidRequest(
            f"{path!r} is no function path. Write module:name, or folder/module:name for a module in a subfolder."
        )
    return f"{match['module']}:{match['name'] or 'default'}"


def function_name(reference: Any) -> str:
    """The name that a reference has in logs and journals; usable as a reference itself."""
    address = resolve_name(reference)
    if address.kind == "object":
        assert address.function is not None
        return address.function.path
    if address.kind == "child":
        return f"{CHILD_PREFIX}{address.component}/{address.path}"
    if address.kind == "handle":
        return f"{HANDLE_PREFIX}{address.component}/{address.path}"
    return address.path
