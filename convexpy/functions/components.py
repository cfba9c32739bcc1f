"""`app = define_app(); app.use(workflow)`: which components an app has installed, and under which names."""

from __future__ import annotations

from typing import Any

from convexpy.errors import DefinitionError
from convexpy.functions.definitions import Function
from convexpy.values import Validator, is_identifier
from convexpy.values.compound_validators import OptionalValidator, UnionValidator
from convexpy.values.scalar_validators import LiteralValidator


class ComponentUse:
    """One installation of a component."""

    def __init__(self, component: ComponentDefinition, name: str, http_prefix: str | None, env: dict[str, Any]) -> None:
        self.component, self.name, self.http_prefix, self.env = component, name, http_prefix, env


class ComponentDefinition:
    """An app or a component: a package of functions, and the components that it uses itself.

    Args:
        functions: name of the package that holds the functions; None for the app, whose folder it is.
        before_push: a query of the component, run on new code before it goes live. It answers
            `{"findings": [text…], "refuse": bool, "more": args, "then": path}`, all of it optional. Findings are shown,
            `refuse` stops the push. It is called again with the arguments `more`, until it gives none or has taken
            BEFORE_PUSH_SECONDS_MAX. The mutation `then` of the component is run without arguments after the switch;
            a server that is killed in between does the push, and it, again when it starts.
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
        name: str | None = None,
        http_prefix: str | None = None,
        env: dict[str, Any] | None = None,
    ) -> ComponentUse:
        """Install a component, with tables and functions of its own under `name`; one may be installed often.

        Args:
            http_prefix: path below which its HTTP routes are served, such as `/billing/`.
            env: values of the variables that it declares.

        Raises:
            DefinitionError: no component, a name that is taken or no identifier, a bad prefix, a variable that is not
                declared or lacks its value.
        """
        if not isinstance(component, ComponentDefinition) or component.functions is None:
            raise DefinitionError(f"use() installs what define_component(…) made, not {component!r}.")
        chosen = component.name if name is None else name
        _check_name(chosen)
        if any(use.name == chosen for use in self.uses):
            raise DefinitionError(f"Two components are named {chosen!r}. Give one another name: use(…, name=…).")
        if http_prefix is not None and (not isinstance(http_prefix, str) or not http_prefix.startswith("/")):
            raise DefinitionError(f"http_prefix {http_prefix!r} must begin with '/'.")
        prefix = None if http_prefix is None else http_prefix.rstrip("/") + "/"
        if prefix is not None and any(use.http_prefix == prefix for use in self.uses):
            raise DefinitionError(f"Two components have http_prefix={prefix!r}. Give each one of its own.")
        installed = ComponentUse(component, chosen, prefix, _bound(component, env or {}))
        self.uses.append(installed)
        return installed

    def __repr__(self) -> str:
        return f"<component {self.name}>"


def define_app(*, env: dict[str, Validator] | None = None) -> ComponentDefinition:
    """The app itself; `convex_config.py` exports it as `app`."""
    return ComponentDefinition("app", None, None, _declared(env or {}))


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
        DefinitionError: the name is no identifier, or a variable is declared as something that is no string.
    """
    _check_name(name)
    if not isinstance(functions, str) or not functions:
        raise DefinitionError(
            f"define_component({name!r}, functions=…) needs the name of the package of its functions."
        )
    return ComponentDefinition(name, functions, before_push, _declared(env or {}))


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not is_identifier(name):
        raise DefinitionError(f"{name!r} cannot be the name of a component: use an identifier.")


def _declared(env: dict[str, Validator]) -> dict[str, Validator]:
    for name, validator in env.items():
        if not isinstance(name, str) or not is_identifier(name):
            raise DefinitionError(f"{name!r} cannot be the name of an environment variable.")
        if not isinstance(validator, Validator) or not _is_string_like(validator):
            raise DefinitionError(
                f"The environment variable {name} is declared as {validator!r}, but a variable is a string: use "
                f"v.string(), v.literal(…), v.literals(…), or one of these in v.optional(…)."
            )
    return dict(env)


def _is_string_like(validator: Validator) -> bool:
    if isinstance(validator, OptionalValidator):
        return _is_string_like(validator.inner)
    if isinstance(validator, UnionValidator):
        return all(isinstance(member, LiteralValidator) and _is_string_like(member) for member in validator.members)
    if isinstance(validator, LiteralValidator):
        return isinstance(validator.value, str)
    return validator.to_json() == {"type": "string"}


def _bound(component: ComponentDefinition, env: dict[str, Any]) -> dict[str, Any]:
    for name in env:
        if name not in component.env:
            raise DefinitionError(f"The component {component.name!r} declares no environment variable {name!r}.")
    for name, validator in component.env.items():
        if name not in env and not validator.is_optional:
            raise DefinitionError(
                f"The component {component.name!r} needs the environment variable {name}: use(…, env={{{name!r}: …}})."
            )
    return dict(env)
