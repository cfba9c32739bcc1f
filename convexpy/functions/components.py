"""`app = define_app(); app.use(workflow)`: which components an app has installed, and under which names."""

from __future__ import annotations

from typing import Any

from convexpy.errors import DefinitionError
from convexpy.functions.definitions import Function
from convexpy.values import Validator, is_identifier


class ComponentUse:
    """One installation of a component."""

    def __init__(self, component: ComponentDefinition, name: str, http_prefix: str | None, env: dict[str, Any]) -> None:
        self.component, self.name, self.http_prefix, self.env = component, name, http_prefix, env


class ComponentDefinition:
    """An app or a component: a package of functions, and the components that it uses itself.

    Args:
        functions: name of the package that holds the functions; None for the app, whose folder it is.
        before_push: a query of the component, run on new code before it goes live. It answers
            `{"findings": [text…], "refuse": bool}`; findings are shown, `refuse` stops the push.
    """

    def __init__(
        self,
        name: str,
        functions: str | None,
        before_push: Function | str | None,
        env: dict[str, Validator],
    ) -> None:
        self.name = name
        self.functions = functions
        self.before_push = before_push
        self.env = env
        self.uses: list[ComponentUse] = []

    def use(
        self,
        component: ComponentDefinition,
        *,
        name: str | None = None,
        http_prefix: str | None = None,
        env: dict[str, Any] | None = None,
    ) -> ComponentUse:
        """Install a component, with tables and functions of its own under `name`; one may be installed often.

        Raises:
            DefinitionError: no component, a name that is taken or no identifier, a bad prefix.
        """
        if not isinstance(component, ComponentDefinition) or component.functions is None:
            raise DefinitionError(f"use() installs what define_component(…) made, not {component!r}.")
        chosen = component.name if name is None else name
        if not is_identifier(chosen):
            raise DefinitionError(f"{chosen!r} cannot be the name of a component: use an identifier.")
        if any(use.name == chosen for use in self.uses):
            raise DefinitionError(f"Two components are named {chosen!r}. Give one another name: use(…, name=…).")
        if http_prefix is not None and not http_prefix.startswith("/"):
            raise DefinitionError(f"http_prefix {http_prefix!r} must begin with '/'.")
        prefix = None if http_prefix is None else http_prefix.rstrip("/") + "/"
        installed = ComponentUse(component, chosen, prefix, dict(env or {}))
        self.uses.append(installed)
        return installed

    def __repr__(self) -> str:
        return f"<component {self.name}>"


def define_app(*, env: dict[str, Validator] | None = None) -> ComponentDefinition:
    """The app itself; `convex_config.py` exports it as `app`."""
    return ComponentDefinition("app", None, None, dict(env or {}))


def define_component(
    name: str,
    functions: str,
    *,
    before_push: Function | str | None = None,
    env: dict[str, Validator] | None = None,
) -> ComponentDefinition:
    """A component that others can install.

    Args:
        functions: the package with its functions, `schema` and so on, for example "convexpy_workflow.component".
        before_push: see `ComponentDefinition`.

    Raises:
        DefinitionError: the name is no identifier.
    """
    if not isinstance(name, str) or not is_identifier(name):
        raise DefinitionError(f"{name!r} cannot be the name of a component: use an identifier.")
    if not isinstance(functions, str) or not functions:
        raise DefinitionError(
            f"define_component({name!r}, functions=…) needs the name of the package of its functions."
        )
    return ComponentDefinition(name, functions, before_push, dict(env or {}))
