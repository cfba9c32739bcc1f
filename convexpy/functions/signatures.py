"""What a handler takes and gives, and the validators that its annotations spell."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from convexpy.errors import DefinitionError
from convexpy.functions.annotations import LIST_TYPES, MAPPING_TYPES, resolved, validator_of
from convexpy.functions.places import place_of
from convexpy.values import Validator, v
from convexpy.values.compound_validators import ObjectValidator
from convexpy.values.validator_base import TableNames


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a handler takes after its ctx.

    Args:
        parameters: names, in order, with whether each has a default.
        takes_rest: it has `**fields`.
        reserved: the ctx parameter's own name, where an argument of that name would collide with it.
        annotations: by parameter name, only annotated ones.
        returns: the return annotation, or `inspect.Signature.empty`.
    """

    parameters: dict[str, bool]
    takes_rest: bool
    reserved: str | None
    annotations: dict[str, Any]
    returns: Any


class NamedArguments(ObjectValidator):
    """Of an object these fields are checked, and whatever else it has passes: `def f(ctx, name: str, **rest)`."""

    def _check(self, value: Any, tables: TableNames | None) -> None:
        if isinstance(value, dict):
            value = {name: item for name, item in value.items() if name in self.fields}
        super()._check(value, tables)

    def to_json(self) -> dict[str, Any]:
        """Clients are told that anything goes: their notation has no object with further fields."""
        return v.any().to_json()

    def describe(self) -> str:
        inner = ", ".join(f"{name}: {validator.describe()}" for name, validator in sorted(self.fields.items()))
        return f"v.object({{{inner}, …}})"


def read_signature(handler: Callable[..., Any]) -> Signature:
    """Read a handler's parameters.

    Raises:
        DefinitionError: it has no ctx, or parameters that cannot be given by name.
    """
    file, line = place_of(handler)
    name = handler.__name__
    parameters = list(inspect.signature(handler).parameters.values())
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise DefinitionError(f"{name}() needs ctx as its first parameter: def {name}(ctx, …).", file, line)
    hints = _hints(handler)
    named: dict[str, bool] = {}
    takes_rest = False
    for parameter in parameters[1:]:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            takes_rest = True
        elif parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
            raise DefinitionError(
                f"{name}() gets its arguments by name; make {parameter.name!r} an ordinary parameter, or take the rest "
                f"with **fields.",
                file,
                line,
            )
        else:
            named[parameter.name] = parameter.default is not inspect.Parameter.empty
    annotations = {key: value for key, value in hints.items() if key in named}
    ctx = parameters[0]
    reserved = None if ctx.kind is inspect.Parameter.POSITIONAL_ONLY else ctx.name
    return Signature(named, takes_rest, reserved, annotations, hints.get("return", inspect.Signature.empty))


def _hints(handler: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(handler, include_extras=True)
    except Exception:
        # An annotation that exists for type checkers alone (`if TYPE_CHECKING:`) says nothing at run time.
        known_names = getattr(inspect.unwrap(handler), "__globals__", {})
        return resolved(getattr(handler, "__annotations__", {}), known_names)


def args_validator_of(signature: Signature) -> ObjectValidator | None:
    """The validator that the annotations spell; None where there is only `**fields`, which takes anything.

    Raises:
        DefinitionError: an annotation is a class whose instances are no values; without a place.
    """
    fields = {}
    for name, has_default in signature.parameters.items():
        try:
            validator = validator_of(signature.annotations.get(name, Any))
        except DefinitionError as error:
            raise DefinitionError(f"The parameter {name!r}: {error.text}") from None
        fields[name] = v.optional(validator) if has_default else validator
    if signature.takes_rest:
        return NamedArguments(fields) if fields else None
    return v.object(fields)


def returns_validator_of(signature: Signature) -> Validator | None:
    """The validator of the return annotation; None where it says nothing that tells values apart.

    Raises:
        DefinitionError: see `args_validator_of`.
    """
    annotation = signature.returns
    if annotation is inspect.Signature.empty or annotation in LIST_TYPES or annotation in MAPPING_TYPES:
        return None
    try:
        validator = validator_of(annotation)
    except DefinitionError as error:
        raise DefinitionError(f"The result: {error.text}") from None
    return None if validator == v.any() else validator
