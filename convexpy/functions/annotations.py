"""From a type annotation to the validator that it spells.

`str`, `bool`, `float`, `int`, `Int64`, `bytes`, `None`, `list[T]`, `dict[str, T]`, `Literal`, unions, TypedDict,
dataclass, msgspec.Struct, `Annotated[Id, "table"]`, `Annotated[..., v.…]`. A class of which no value can be is refused;
everything else (`Any`, abstract classes, names that exist for type checkers alone) is `v.any()`. A class that contains
itself is `v.any()` where it does.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import inspect
import sys
import types
import typing
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, NewType, Union, get_args, get_origin, get_type_hints

import msgspec

from convexpy.errors import DefinitionError
from convexpy.values import Id, Int64, Validator, v
from convexpy.values.scalar_validators import IdValidator
from convexpy.values.types import Unset

LIST_TYPES = (list, collections.abc.Sequence)
MAPPING_TYPES = (dict, collections.abc.Mapping)
WRAPPERS = (typing.Required, typing.NotRequired, typing.Final)

ABSENT = (Unset, msgspec.UnsetType)
"""Types of what marks a field as missing; no values are."""

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


def validator_of(annotation: Any, within: tuple[type, ...] = ()) -> Validator:
    """The validator that one annotation spells; `v.any()` for what spells none.

    Args:
        within: the classes whose fields are being read.

    Raises:
        DefinitionError: a class whose instances are no values; without a place.
    """
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated(annotation, within)
    if origin in (Union, types.UnionType):
        return _one_of([validator_of(member, within) for member in members if member not in ABSENT])
    if origin is Literal:
        return _one_of([v.literal(value) if value is not None else v.null() for value in members])
    if origin in LIST_TYPES:
        return v.array(validator_of(members[0], within))
    if origin in MAPPING_TYPES:
        keys = validator_of(members[0], within)
        return v.record(keys if isinstance(keys, IdValidator) else v.string(), validator_of(members[1], within))
    if origin in WRAPPERS:
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
        _refuse_class(annotation if origin is None else origin, within)
        return v.any()
    validators = {field.name: _of_field(field, (*within, annotation)) for field in fields}
    return v.object({field.name: _maybe(validators[field.name], field.is_optional) for field in fields})


def _of_field(field: ClassField, within: tuple[type, ...]) -> Validator:
    try:
        return validator_of(field.annotation, within)
    except DefinitionError as error:
        raise DefinitionError(f"{within[-1].__name__}.{field.attribute}: {error.text}") from None


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


def _refuse_class(annotation: Any, within: tuple[type, ...]) -> None:
    """Refuse a class that no value is an instance of. Whether one of an abstract class is cannot be told."""
    if not isinstance(annotation, type) or annotation in (Any, object, *ABSENT, *within):
        return
    if inspect.isabstract(annotation) or getattr(annotation, "_is_protocol", False) or _has_fields(annotation):
        return
    name = annotation.__qualname__
    raise DefinitionError(
        f"no value is a {name}. Write {_instead_of(annotation)}, or Annotated[{name}, v.…] with the validator of what "
        f"comes in its place (v.any() for anything)."
    )


def _instead_of(annotation: type) -> str:
    if issubclass(annotation, datetime.date):
        return "float, the seconds or milliseconds since 1970"
    if issubclass(annotation, datetime.timedelta):
        return "float, a number of seconds"
    if issubclass(annotation, enum.Enum):
        return 'Literal["…", "…"]'
    if issubclass(annotation, tuple | set | frozenset):
        return "list[…]"
    if issubclass(annotation, dict):
        return "dict[str, …]"
    if issubclass(annotation, bytearray | memoryview):
        return "bytes"
    if issubclass(annotation, str | uuid.UUID | decimal.Decimal | datetime.time):
        return "str"
    return "a TypedDict, dataclass or msgspec.Struct"


class ClassField(NamedTuple):
    """A field of a TypedDict, dataclass or Struct: its name in values, its name in Python."""

    name: str
    attribute: str
    annotation: Any
    is_optional: bool


def fields_of(annotation: Any) -> list[ClassField] | None:
    """The fields that values of a class have; None for a class of another kind."""
    if not isinstance(annotation, type) or not _has_fields(annotation):
        return None
    hints = hints_of_class(annotation)
    if typing.is_typeddict(annotation):
        return [ClassField(name, name, hint, _may_be_missing(annotation, name, hint)) for name, hint in hints.items()]
    if issubclass(annotation, msgspec.Struct):
        return [
            ClassField(name, attribute, hints[attribute], is_optional)
            for (attribute, name), is_optional in zip(
                names_of(annotation).items(), _have_defaults(annotation), strict=True
            )
        ]
    assert dataclasses.is_dataclass(annotation)
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


def names_of(made: type) -> dict[str, str]:
    """The fields of a dataclass or Struct: by attribute, the name that each has in values."""
    if issubclass(made, msgspec.Struct):
        return dict(zip(made.__struct_fields__, made.__struct_encode_fields__, strict=True))
    assert dataclasses.is_dataclass(made)
    return {field.name: field.name for field in dataclasses.fields(made) if field.init}


def hints_of_class(annotation: type) -> dict[str, Any]:
    """The annotations of a class and those that it inherits; `Any` for names that only type checkers know."""
    try:
        return get_type_hints(annotation, include_extras=True)
    except Exception:
        hints: dict[str, Any] = {}
        for owner in reversed(annotation.__mro__):
            known_names = vars(sys.modules.get(owner.__module__, types))
            hints.update(resolved(inspect.get_annotations(owner), known_names))
        return hints


def resolved(annotations: dict[str, Any], known_names: dict[str, Any]) -> dict[str, Any]:
    """Annotations one by one, so that one that cannot be resolved (it becomes `Any`) leaves the others as they are."""
    hints: dict[str, Any] = {}
    for name, annotation in annotations.items():
        probe = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints.update(get_type_hints(probe, globalns=known_names, include_extras=True))
        except Exception:
            hints[name] = Any
    return hints


def _has_fields(annotation: type) -> bool:
    return (
        typing.is_typeddict(annotation)
        or dataclasses.is_dataclass(annotation)
        or issubclass(annotation, msgspec.Struct)
    )


def _have_defaults(made: type[msgspec.Struct]) -> list[bool]:
    """Of each field of a Struct. `msgspec.structs.fields` tells it too, but fails where a name is unresolvable."""
    defaults = made.__struct_defaults__  # of the last fields
    without = len(made.__struct_fields__) - len(defaults)
    return [False] * without + [default is not msgspec.NODEFAULT for default in defaults]


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
