"""From checked arguments to what the annotations of their parameters promise: `float`, `int`, objects of classes; and
from results back to plain values.

Clients' numbers arrive as `int` where they are integral and as `float` elsewhere, whatever the sender meant.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

import msgspec

from convexpy.errors import ArgumentsInvalid
from convexpy.functions.annotations import LIST_TYPES, MAPPING_TYPES, WRAPPERS, ClassField, fields_of, names_of
from convexpy.functions.signatures import Signature
from convexpy.limits import SAFE_INTEGER_MAX, VALUE_DEPTH_MAX

Convert = Callable[[Any, str], Any]
"""Makes what an annotation promises of a value; the second argument is the path to name in an error."""


def converters_of(signature: Signature) -> dict[str, Convert]:
    """What has to be done to checked arguments before the handler gets them; only where something has."""
    found = {name: converter_of(annotation) for name, annotation in signature.annotations.items()}
    return {name: convert for name, convert in found.items() if convert is not None}


def converter_of(annotation: Any, within: tuple[type, ...] = ()) -> Convert | None:
    """What one annotation asks for; None if values are passed as they are.

    Args:
        within: the classes whose fields are being read; one that contains itself is not built there.
    """
    origin, members = get_origin(annotation), get_args(annotation)
    if annotation is float:
        return _to_float
    if annotation is int:
        return _to_int
    if origin is Annotated or origin in WRAPPERS:
        return converter_of(members[0], within)
    if origin in (Union, types.UnionType):
        return _of_union(members, within)
    if origin in LIST_TYPES:
        return _of_list(converter_of(members[0], within))
    if origin in MAPPING_TYPES:
        return _of_mapping(converter_of(members[1], within))
    if isinstance(annotation, NewType):
        return converter_of(annotation.__supertype__, within)
    fields = None if annotation in within else fields_of(annotation)
    return None if fields is None else _of_class(annotation, fields, (*within, annotation))


def _to_float(value: Any, path: str) -> Any:
    return float(value) if type(value) is int else value


def _to_int(value: Any, path: str) -> Any:
    if type(value) is not float:
        return value
    if not value.is_integer() or abs(value) > SAFE_INTEGER_MAX:
        raise ArgumentsInvalid(
            f"ArgumentValidationError: Value does not match annotation.\nPath: .{path}\nValue: {value!r}\n"
            f"Annotation: int"
        )
    return int(value)


def _of_list(inner: Convert | None) -> Convert | None:
    if inner is None:
        return None

    def convert(value: Any, path: str) -> Any:
        if type(value) is not list:
            return value
        return [inner(item, f"{path}[{position}]") for position, item in enumerate(value)]

    return convert


def _of_mapping(inner: Convert | None) -> Convert | None:
    if inner is None:
        return None

    def convert(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: inner(item, f"{path}.{name}") for name, item in value.items()}

    return convert


def _of_class(made: Any, fields: list[ClassField], within: tuple[type, ...]) -> Convert | None:
    is_built = not typing.is_typeddict(made)
    converters = {field.name: converter_of(field.annotation, within) for field in fields}
    if not is_built and not any(converters.values()):
        return None
    attributes = {field.name: field.attribute for field in fields}

    def convert(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            return value
        converted: dict[str, Any] = {}
        for name, item in value.items():
            one = converters.get(name)
            converted[attributes.get(name) or name] = item if one is None else one(item, f"{path}.{name}")
        return made(**converted) if is_built else converted

    return convert


def _of_union(members: tuple[Any, ...], within: tuple[type, ...]) -> Convert | None:
    """Of several classes the first one whose fields and literals fit is built. `int | float` stays as it came."""
    classes: list[tuple[list[ClassField], Convert | None]] = []
    others: list[Convert] = []
    for member in members:
        fields = None if member in within else fields_of(member)
        convert_member = converter_of(member, within)
        if fields is not None:
            classes.append((fields, convert_member))
        elif convert_member is not None:
            others.append(convert_member)
    if _to_float in others and _to_int in others:
        others = [other for other in others if other not in (_to_float, _to_int)]
    if not others and not any(convert_member for _, convert_member in classes):
        return None

    def convert(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            for fields, build in classes:
                if _fits(fields, value):
                    return value if build is None else build(value, path)
        for other in others:  # each leaves alone what is not of its kind
            value = other(value, path)
        return value

    return convert


def _fits(fields: list[ClassField], value: dict[str, Any]) -> bool:
    for field in fields:
        if field.name not in value:
            if not field.is_optional:
                return False
        elif get_origin(field.annotation) is Literal and value[field.name] not in get_args(field.annotation):
            return False
    return value.keys() <= {field.name for field in fields}


def promises_instances(annotation: Any, within: tuple[type, ...] = ()) -> bool:
    """Whether what is annotated so may hold instances of dataclasses or Structs.

    Args:
        within: the classes whose fields are being read.
    """
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return False
    if origin is not None:
        return fields_of(origin) is not None or any(promises_instances(member, within) for member in members)
    if isinstance(annotation, NewType):
        return promises_instances(annotation.__supertype__, within)
    fields = None if annotation in within else fields_of(annotation)
    if fields is None:
        return False
    return not typing.is_typeddict(annotation) or any(
        promises_instances(field.annotation, (*within, annotation)) for field in fields
    )


def without_instances(value: Any, depth_left: int = VALUE_DEPTH_MAX) -> Any:
    """A value with the instances of dataclasses and Structs in it as objects, under their fields' names in values.

    What is deeper than a value may be is left as it is, for whoever checks that.
    """
    if depth_left == 0:
        return value
    if isinstance(value, dict):
        return {name: without_instances(item, depth_left - 1) for name, item in value.items()}
    if type(value) is list:
        return [without_instances(item, depth_left - 1) for item in value]
    if isinstance(value, type) or not (isinstance(value, msgspec.Struct) or dataclasses.is_dataclass(value)):
        return value
    fields = {name: getattr(value, attribute) for attribute, name in names_of(type(value)).items()}
    return {name: without_instances(item, depth_left - 1) for name, item in fields.items() if item is not msgspec.UNSET}
