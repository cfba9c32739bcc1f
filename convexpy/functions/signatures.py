"""From a handler's signature to validators.

`str`, `bool`, `float`, `int`, `Int64`, `bytes`, `None`, `list[T]`, `dict[str, T]`, `Literal`, unions, TypedDict,
dataclass, msgspec.Struct, `Annotated[Id, "table"]`, `Annotated[..., v.…]`; everything else is `v.any()`. A class that
contains itself is `v.any()` where it does.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, NewType, Union, get_args, get_origin, get_type_hints

import msgspec

from convexpy.errors import DefinitionError
from convexpy.functions.places import place_of
from convexpy.values import Id, Int64, Validator, v
from convexpy.values.validators import IdValidator, ObjectValidator

LIST_TYPES = (list, collections.abc.Sequence)
MAPPING_TYPES = (dict, collections.abc.Mapping)

_PLAIN: dict[Any, Callable[[], Validator]] = {
    str: v.string,
    bool: v.boolean,
    float: v.number,
    int: v.number,
    Int64: v.int64,
    bytes: v.bytes,
    None: v.null,
    type(None): v.null,
    Id: v.string,
}


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
        # An annotation that exists for type checkers alone (`if TYPE_CHECKING:`) says nothing at run time. One by one,
        # so that the others still count.
        hints: dict[str, Any] = {}
        known_names = getattr(inspect.unwrap(handler), "__globals__", {})
        for name, annotation in getattr(handler, "__annotations__", {}).items():
            try:
                probe = types.SimpleNamespace(__annotations__={name: annotation})
                hints.update(get_type_hints(probe, globalns=known_names, include_extras=True))
            except Exception:
                hints[name] = Any
        return hints


def args_validator_of(signature: Signature) -> ObjectValidator | None:
    """The validator that the annotations spell; None where `**fields` takes anything."""
    fields = {}
    for name, has_default in signature.parameters.items():
        validator = validator_of(signature.annotations.get(name, Any))
        fields[name] = v.optional(validator) if has_default else validator
    return None if signature.takes_rest else v.object(fields)


def returns_validator_of(signature: Signature) -> Validator | None:
    """The validator of the return annotation; None where it says nothing that tells values apart."""
    annotation = signature.returns
    if annotation is inspect.Signature.empty or annotation in LIST_TYPES or annotation in MAPPING_TYPES:
        return None
    validator = validator_of(annotation)
    return None if validator == v.any() else validator


def validator_of(annotation: Any, within: tuple[type, ...] = ()) -> Validator:
    """The validator that one annotation spells; `v.any()` for what spells none.

    Args:
        within: the classes whose fields are being read.
    """
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated(annotation, within)
    if origin in (Union, types.UnionType):
        return _one_of([validator_of(member, within) for member in members])
    if origin is Literal:
        return _one_of([v.literal(value) if value is not None else v.null() for value in members])
    if origin in LIST_TYPES:
        return v.array(validator_of(members[0], within))
    if origin in MAPPING_TYPES:
        keys = validator_of(members[0], within)
        return v.record(keys if isinstance(keys, IdValidator) else v.string(), validator_of(members[1], within))
    if origin in (typing.Required, typing.NotRequired):
        return validator_of(members[0], within)
    if not _is_hashable(annotation):
        return v.any()
    if annotation in LIST_TYPES:
        return v.array(v.any())
    if annotation in MAPPING_TYPES:
        return v.record(v.string(), v.any())
    if annotation in _PLAIN:
        return _PLAIN[annotation]()
    if isinstance(annotation, NewType):
        return validator_of(annotation.__supertype__, within)
    fields = None if annotation in within else fields_of(annotation)
    if fields is None:
        return v.any()
    validators = {field.name: validator_of(field.annotation, (*within, annotation)) for field in fields}
    return v.object({field.name: _maybe(validators[field.name], field.is_optional) for field in fields})


def _annotated(annotation: Any, within: tuple[type, ...]) -> Validator:
    base, *extras = get_args(annotation)
    for extra in extras:
        if isinstance(extra, Validator):
            return extra
        if base is Id and isinstance(extra, str):
            return v.id(extra)
    return validator_of(base, within)


def _one_of(members: list[Validator]) -> Validator:
    if v.any() in members:
        return v.any()
    different = [member for position, member in enumerate(members) if member not in members[:position]]
    return different[0] if len(different) == 1 else v.union(*different)


def _maybe(validator: Validator, is_optional: bool) -> Validator:
    return v.optional(validator) if is_optional else validator


class ClassField(NamedTuple):
    """A field of a TypedDict, dataclass or Struct: its name in values, its name in Python."""

    name: str
    attribute: str
    annotation: Any
    is_optional: bool


def fields_of(annotation: Any) -> list[ClassField] | None:
    """The fields that values of a class have; None for a class of another kind."""
    if not isinstance(annotation, type):
        return None
    if typing.is_typeddict(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        return [ClassField(name, name, hint, _may_be_missing(annotation, name, hint)) for name, hint in hints.items()]
    if dataclasses.is_dataclass(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        missing = dataclasses.MISSING
        return [
            ClassField(
                field.name,
                field.name,
                hints[field.name],
                field.default is not missing or field.default_factory is not missing,
            )
            for field in dataclasses.fields(annotation)
            if field.init
        ]
    if issubclass(annotation, msgspec.Struct):
        hints = get_type_hints(annotation, include_extras=True)
        return [
            ClassField(field.encode_name, field.name, hints[field.name], not field.required)
            for field in msgspec.structs.fields(annotation)
        ]
    return None


def _may_be_missing(annotation: Any, name: str, hint: Any) -> bool:
    # Not __required_keys__ alone: under `from __future__ import annotations` it does not see NotRequired.
    origin = get_origin(hint)
    if origin in (typing.NotRequired, typing.Required):
        return origin is typing.NotRequired
    return name in annotation.__optional_keys__


def _is_hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True
