"""From a handler's signature to validators, and from checked arguments to what its parameters want.

`str`, `bool`, `float`, `int`, `Int64`, `bytes`, `None`, `list[T]`, `dict[str, T]`, `Literal`, unions, TypedDict,
dataclass, msgspec.Struct, `Annotated[Id, "table"]`, `Annotated[..., v.…]`; everything else is `v.any()`.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from convexpy.errors import ArgumentsInvalid, DefinitionError
from convexpy.functions.places import place_of
from convexpy.values import Id, Int64, Validator, v
from convexpy.values.validators import ObjectValidator

Convert = Callable[[Any, str], Any]

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
        annotations: by parameter name, only annotated ones.
        returns: the return annotation, or `inspect.Signature.empty`.
    """

    parameters: dict[str, bool]
    takes_rest: bool
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
    return Signature(named, takes_rest, annotations, hints.get("return", inspect.Signature.empty))


def _hints(handler: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(handler, include_extras=True)
    except Exception:
        # An annotation that exists for type checkers alone (`if TYPE_CHECKING:`) says nothing at run time. One by one,
        # so that the others still count.
        hints: dict[str, Any] = {}
        for name, annotation in getattr(handler, "__annotations__", {}).items():
            try:
                probe = types.FunctionType(handler.__code__, handler.__globals__)
                probe.__annotations__ = {name: annotation}
                hints.update(get_type_hints(probe, include_extras=True))
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
    """The validator of the return annotation; None where it says nothing."""
    annotation = signature.returns
    if annotation is inspect.Signature.empty or annotation is Any:
        return None
    validator = validator_of(annotation)
    return None if validator == v.any() else validator


def validator_of(annotation: Any) -> Validator:
    """The validator that one annotation spells; `v.any()` for what spells none."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _annotated(annotation)
    if origin in (Union, types.UnionType):
        return v.union(*(validator_of(member) for member in get_args(annotation)))
    if origin is Literal:
        return _one_of([v.literal(value) if value is not None else v.null() for value in get_args(annotation)])
    if origin is list:
        return v.array(validator_of(get_args(annotation)[0]))
    if origin is dict:
        return v.record(v.string(), validator_of(get_args(annotation)[1]))
    if origin in (typing.Required, typing.NotRequired):
        return validator_of(get_args(annotation)[0])
    if annotation is list:
        return v.array(v.any())
    if annotation is dict:
        return v.record(v.string(), v.any())
    plain = _PLAIN.get(annotation) if _is_hashable(annotation) else None
    if plain is not None:
        return plain()
    if isinstance(annotation, type):
        return _of_class(annotation)
    return v.any()


def _annotated(annotation: Any) -> Validator:
    base, *extras = get_args(annotation)
    for extra in extras:
        if isinstance(extra, Validator):
            return extra
        if base is Id and isinstance(extra, str):
            return v.id(extra)
    return validator_of(base)


def _one_of(members: list[Validator]) -> Validator:
    return members[0] if len(members) == 1 else v.union(*members)


def _of_class(annotation: type) -> Validator:
    if typing.is_typeddict(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        required = annotation.__required_keys__  # type: ignore[attr-defined]
        fields = {name: validator_of(hint) for name, hint in hints.items()}
        return v.object(
            {name: field if name in required else v.optional(field) for name, field in fields.items()},
        )
    if dataclasses.is_dataclass(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        return v.object(
            {
                field.name: v.optional(validator_of(hints[field.name]))
                if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
                else validator_of(hints[field.name])
                for field in dataclasses.fields(annotation)
            }
        )
    if issubclass(annotation, msgspec.Struct):
        hints = get_type_hints(annotation, include_extras=True)
        return v.object(
            {
                field.encode_name: validator_of(hints[field.name])
                if field.required
                else v.optional(validator_of(hints[field.name]))
                for field in msgspec.structs.fields(annotation)
            }
        )
    return v.any()


def _is_hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def converters_of(signature: Signature) -> dict[str, Convert]:
    """What has to be done to checked arguments before the handler gets them; only where something has."""
    found = {}
    for name, annotation in signature.annotations.items():
        convert = _converter(annotation)
        if convert is not None:
            found[name] = convert
    return found


def _converter(annotation: Any) -> Convert | None:
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *extras = get_args(annotation)
        return None if any(isinstance(extra, Validator) for extra in extras) else _converter(base)
    if annotation is float:
        return lambda value, _: float(value)
    if annotation is int:
        return _to_int
    if origin in (Union, types.UnionType):
        return _union_converter(get_args(annotation))
    if origin is list:
        inner = _converter(get_args(annotation)[0])
        return None if inner is None else lambda value, path: [inner(item, f"{path}[]") for item in value]
    if isinstance(annotation, type) and not typing.is_typeddict(annotation):
        if dataclasses.is_dataclass(annotation) or issubclass(annotation, msgspec.Struct):
            return lambda value, _: msgspec.convert(value, annotation)
    return None


def _union_converter(members: tuple[Any, ...]) -> Convert | None:
    wanted = [member for member in members if member is not type(None)]
    if len(wanted) != 1:
        return None
    inner = _converter(wanted[0])
    return None if inner is None else lambda value, path: None if value is None else inner(value, path)


def _to_int(value: Any, path: str) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ArgumentsInvalid(
            f"ArgumentValidationError: Value does not match annotation.\nPath: .{path}\nValue: {value!r}\nAnnotation: int"
        )
    return int(value)
