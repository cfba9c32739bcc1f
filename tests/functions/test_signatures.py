"""Annotations say what arguments look like, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Optional, Required, TypedDict, Union

import msgspec
import pytest

from convexpy.errors import ArgumentsInvalid
from convexpy.functions.conversions import converter_of
from convexpy.functions.definitions import Function, internal_action, query
from convexpy.functions.signatures import validator_of
from convexpy.values import Id, Int64, Validator, v

if TYPE_CHECKING:
    from decimal import Decimal

ChannelId = Annotated[Id, "channels"]


class Options(TypedDict):
    size: float
    color: NotRequired[str]


class Loose(TypedDict, total=False):
    name: Required[str]
    age: int


@dataclass
class Point:
    x: float
    y: float = 0.0
    tags: list[str] = field(default_factory=list)


@dataclass
class Line:
    kind: Literal["line"]
    ends: list[Point]


class Circle(msgspec.Struct, rename="camel"):
    kind: Literal["circle"]
    center_point: Point
    area_code: Int64


@dataclass
class Tree:
    value: int
    children: list[Tree]


@pytest.mark.parametrize(
    ("annotation", "validator"),
    [
        (str, v.string()),
        (bool, v.boolean()),
        (float, v.number()),
        (int, v.number()),
        (Int64, v.int64()),
        (bytes, v.bytes()),
        (None, v.null()),
        (Id, v.string()),
        (ChannelId, v.id("channels")),
        (Annotated[str, v.literals("a", "b")], v.literals("a", "b")),
        (Annotated[str, "a note"], v.string()),
        (list[str], v.array(v.string())),
        (list, v.array(v.any())),
        (Sequence[int], v.array(v.number())),
        (dict[str, int], v.record(v.string(), v.number())),
        (Mapping[ChannelId, bool], v.record(v.id("channels"), v.boolean())),
        (dict, v.record(v.string(), v.any())),
        (Literal["a"], v.literal("a")),
        (Literal["a", 1, None], v.union(v.literal("a"), v.literal(1), v.null())),
        (str | None, v.union(v.string(), v.null())),
        (Optional[str], v.union(v.string(), v.null())),  # noqa: UP045 - the old spelling is one of those read
        (Union[int, float], v.number()),  # noqa: UP007
        (Any, v.any()),
        (Any | None, v.any()),
        (Options, v.object({"size": v.number(), "color": v.optional(v.string())})),
        (Loose, v.object({"name": v.string(), "age": v.optional(v.number())})),
        (
            Point,
            v.object({"x": v.number(), "y": v.optional(v.number()), "tags": v.optional(v.array(v.string()))}),
        ),
        (
            Circle,
            v.object({"kind": v.literal("circle"), "centerPoint": validator_of(Point), "areaCode": v.int64()}),
        ),
        (Tree, v.object({"value": v.number(), "children": v.array(v.any())})),
    ],
)
def test_annotations_spell_validators(annotation: Any, validator: Validator) -> None:
    assert validator_of(annotation) == validator


@pytest.mark.parametrize(
    ("annotation", "value", "converted"),
    [
        (float, 3, 3.0),
        (int, 3.0, 3),
        (int, -0.0, 0),
        (int | None, None, None),
        (int | None, 2.0, 2),
        (float | None, 2, 2.0),
        (Annotated[float, v.number()], 2, 2.0),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (dict[str, list[int]], {"a": [1.0]}, {"a": [1]}),
        (Options, {"size": 1}, {"size": 1.0}),
        (int | str, "3", "3"),
        (Point, {"x": 1, "tags": ["a"]}, Point(1.0, 0.0, ["a"])),
        (Point | None, {"x": 1}, Point(1.0)),
        (list[Point], [{"x": 1, "y": 2}], [Point(1.0, 2.0)]),
        (
            Circle | Line,
            {"kind": "line", "ends": [{"x": 1}]},
            Line("line", [Point(1.0)]),
        ),
        (
            Circle | Line,
            {"kind": "circle", "centerPoint": {"x": 1}, "areaCode": Int64(5)},
            Circle("circle", Point(1.0), Int64(5)),
        ),
        (Tree, {"value": 1.0, "children": []}, Tree(1, [])),
    ],
)
def test_arguments_become_what_is_annotated(annotation: Any, value: Any, converted: Any) -> None:
    convert = converter_of(annotation)

    assert convert is not None
    result = convert(value, "it")
    assert (result, type(result)) == (converted, type(converted))
    assert repr(result) == repr(converted)  # 3 == 3.0, their texts differ


@pytest.mark.parametrize("annotation", [str, list[str], int | float, Any, ChannelId, Int64, Literal["a"], bool])
def test_other_arguments_are_passed_as_they_are(annotation: Any) -> None:
    assert converter_of(annotation) is None


@pytest.mark.parametrize("value", [0.5, float("inf"), float("nan"), 1e300])
def test_what_is_no_integer_is_refused_with_its_path(value: float) -> None:
    convert = converter_of(list[Annotated[int, "a count"]])

    assert convert is not None
    with pytest.raises(ArgumentsInvalid, match=r"(?s)^ArgumentValidationError: .*Path: \.counts\[1\]"):
        convert([1, value], "counts")


def test_defaults_make_arguments_optional() -> None:
    @query
    def recent(ctx: Any, channel: ChannelId, anything, limit: int = 50) -> None:  # type: ignore[no-untyped-def]
        """Annotations of this module are strings."""

    assert recent.args == v.object({"channel": v.id("channels"), "anything": v.any(), "limit": v.optional(v.number())})


def test_no_parameters_take_no_arguments() -> None:
    @query
    def nothing(ctx: Any) -> None: ...

    assert nothing.args == v.object({})


def test_double_star_takes_anything() -> None:
    @query
    def anything(ctx: Any, name: str, **fields: Any) -> None: ...

    assert anything.args is None
    assert anything.bind({"name": "a", "from": 1, "class": 2}) == {"name": "a", "from": 1, "class": 2}


def test_an_annotation_for_type_checkers_alone_says_nothing() -> None:
    @query
    def price(ctx: Any, amount: Decimal, count: int) -> Decimal:
        return amount * count

    assert price.args == v.object({"amount": v.any(), "count": v.number()})
    assert price.returns is None


@pytest.mark.parametrize(
    ("annotation", "returns"),
    [
        ("str", v.string()),
        ("None", v.null()),
        ("list[str]", v.array(v.string())),
        ("ChannelId | None", v.union(v.id("channels"), v.null())),
        ("Any", None),
        ("dict", None),
        ("list", None),
        ("Point | Any", None),
        ("object", None),
        ("Callable[[], int]", None),
    ],
)
def test_return_annotations_promise_results(annotation: str, returns: Validator | None) -> None:
    def handler(ctx: Any) -> Any: ...

    handler.__annotations__["return"] = annotation

    assert query(handler).returns == returns


def test_annotations_of_a_wrapped_handler_are_those_of_the_handler() -> None:
    import functools

    def logged(handler: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(handler)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return handler(*args, **kwargs)

        return wrapper

    def total(ctx: Any, prices: list[float]) -> float:
        return sum(prices)

    function: Function = internal_action(logged(total))

    assert function.args == v.object({"prices": v.array(v.number())})
    assert function(None, **function.bind({"prices": [1, 2]})) == 3.0
