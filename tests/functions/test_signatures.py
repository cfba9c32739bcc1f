"""Annotations say what arguments look like, and what is made of them."""

from __future__ import annotations

import datetime
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Optional,
    Protocol,
    Required,
    TypedDict,
    Union,
)
from uuid import UUID

import msgspec
import pytest

from convexpy.errors import ArgumentsInvalid, DefinitionError, InvalidValue, ValidationFailed
from convexpy.functions.annotations import validator_of
from convexpy.functions.conversions import converter_of
from convexpy.functions.definitions import Function, internal_action, query
from convexpy.values import Id, Int64, Validator, normalize, v
from convexpy.values.types import Unset

if TYPE_CHECKING:
    from decimal import Decimal

UNDERSTOOD_IN_STRINGS = (OrderedDict, UUID)

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
    def anything(ctx: Any, **fields: Any) -> None: ...

    assert anything.args is None
    assert anything.bind({"name": "a", "from": 1, "class": 2}) == {"name": "a", "from": 1, "class": 2}


class NoTables:
    """Values of these tests hold no ids."""

    def name_of(self, table_number: int) -> str | None:
        return None


def test_named_parameters_beside_double_star_are_checked() -> None:
    @query
    def partly(ctx: Any, name: str, count: int = 1, **fields: Any) -> None: ...

    assert partly.args is not None
    for args in ({"name": "a"}, {"name": "a", "count": 2, "from": [1]}):
        partly.args.check(args, NoTables())
        assert partly.bind(args) == args
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"name": 3}, r"(?s)does not match.*Path: \.name"),
        ({"name": "a", "count": "many"}, r"Path: \.count"),
        ({"from": 1}, "missing the required field `name`"),
    ]
    for args, text in wrong:
        with pytest.raises(ValidationFailed, match=text):
            partly.args.check(args, NoTables())
    assert partly.args.to_json() == {"type": "any"}
    assert partly.args.describe() == "v.object({count: v.optional(v.float64()), name: v.string(), …})"
    assert partly.args not in (v.any(), v.object({"name": v.string(), "count": v.optional(v.number())}))


class Color(Enum):
    RED = "red"


class Pair(NamedTuple):
    a: int
    b: int


@dataclass
class Meeting:
    about: str
    at: datetime.datetime | None = None


class Listener(Protocol):
    def hear(self) -> None: ...


@dataclass
class Priced:
    name: str
    price: Decimal


class PricedStruct(msgspec.Struct):
    name: str
    price: Decimal


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        ("datetime.datetime", r"The parameter 'it': no value is a datetime\. Write float, the seconds or milliseconds"),
        ("datetime.date | None", "no value is a date. Write float"),
        ("datetime.timedelta", "a number of seconds"),
        ("list[Color]", r"no value is a Color\. Write Literal"),
        ("tuple[int, int]", r"no value is a tuple\. Write list"),
        ("set", "Write list"),
        ("Pair", "Write list"),
        ("OrderedDict[str, int]", "Write dict"),
        ("bytearray", "Write bytes"),
        ("UUID", "Write str"),
        ("complex", r"a TypedDict, dataclass or msgspec\.Struct, or Annotated\[complex, v\.…\]"),
        ("dict[str, Meeting]", r"'it': Meeting\.at: no value is a datetime"),
    ],
)
def test_classes_that_no_value_is_an_instance_of_are_refused(annotation: str, text: str) -> None:
    def taking(ctx: Any, it: Any) -> None: ...

    def giving(ctx: Any) -> Any: ...

    taking.__annotations__["it"] = giving.__annotations__["return"] = annotation

    with pytest.raises(DefinitionError, match=text) as caught:
        query(taking)
    assert (caught.value.file, caught.value.line) == (__file__, taking.__code__.co_firstlineno)
    with pytest.raises(DefinitionError, match=r"giving\(\): The result: .*o value is a"):
        query(giving)
    query(args={"it": v.any()}, returns=v.any())(taking)


@pytest.mark.parametrize(
    ("annotation", "validator"),
    [
        (object, v.any()),
        (Listener, v.any()),
        (Iterable[str], v.any()),
        (Annotated[datetime.datetime, v.number()], v.number()),
        (Annotated[datetime.datetime, v.any()], v.any()),
        (int | Unset, v.number()),
        (int | msgspec.UnsetType, v.number()),
        (Priced, v.object({"name": v.string(), "price": v.any()})),
        (PricedStruct, v.object({"name": v.string(), "price": v.any()})),
    ],
)
def test_what_cannot_be_told_is_not_refused(annotation: Any, validator: Validator) -> None:
    assert validator_of(annotation) == validator


class Late(msgspec.Struct, kw_only=True):
    first: int = 0
    second: str


def test_required_fields_of_a_struct_may_follow_others() -> None:
    assert validator_of(Late) == v.object({"first": v.optional(v.number()), "second": v.string()})


@dataclass
class Sum:
    parts: list[Point]
    total: float = field(init=False, default=0.0)


class Picture(msgspec.Struct, rename="camel"):
    main_circle: Circle
    raw: bytes | None = None
    note: str | msgspec.UnsetType = msgspec.UNSET


@pytest.mark.parametrize(
    ("annotation", "given", "plain"),
    [
        ("Point", Point(1.0, tags=["a"]), {"x": 1.0, "y": 0.0, "tags": ["a"]}),
        ("list[Point] | None", [Point(1.0)], [{"x": 1.0, "y": 0.0, "tags": []}]),
        ("list[Point] | None", None, None),
        ("dict[str, Sum]", {"a": Sum([Point(1.0)])}, {"a": {"parts": [{"x": 1.0, "y": 0.0, "tags": []}]}}),
        (
            "Picture",
            Picture(Circle("circle", Point(1.0), Int64(5)), raw=b"\x00"),
            {
                "mainCircle": {
                    "kind": "circle",
                    "centerPoint": {"x": 1.0, "y": 0.0, "tags": []},
                    "areaCode": Int64(5),
                },
                "raw": b"\x00",
            },
        ),
        ("Tree", Tree(1, [Tree(2, [])]), {"value": 1, "children": [{"value": 2, "children": []}]}),
        ("Point", {"x": 1.0}, {"x": 1.0}),
    ],
)
def test_promised_instances_become_plain_values(annotation: str, given: Any, plain: Any) -> None:
    def handler(ctx: Any) -> Any: ...

    handler.__annotations__["return"] = annotation
    function = query(handler)

    result = normalize(function.result(given))

    assert (result, repr(result)) == (plain, repr(plain))
    assert function.returns is not None
    function.returns.check(result, NoTables())


@pytest.mark.parametrize("annotation", ["Any", "list[str]", "dict[str, Any]", "Literal['a']", "Options", "None"])
def test_other_results_are_left_as_they_are(annotation: str) -> None:
    def handler(ctx: Any) -> Any: ...

    handler.__annotations__["return"] = annotation
    given = {"a": Point(1.0)}

    assert query(handler).result(given) is given


def test_a_result_that_holds_itself_is_refused_as_too_nested() -> None:
    @query
    def endless(ctx: Any) -> Tree:
        return tree

    tree = Tree(1, [])
    tree.children.append(tree)

    with pytest.raises(InvalidValue):
        normalize(endless.result(tree))


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
