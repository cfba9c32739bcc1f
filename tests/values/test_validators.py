"""Validators: what fits, what does not, and the exact texts of runtime-semantics 3.3 and 3.5."""

from __future__ import annotations

import json
import math
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convexpy.errors import DefinitionError, ValidationFailed
from convexpy.values import UNSET, Int64, Validator, encode_id, v, validator_from_json
from convexpy.values.compound_validators import ObjectValidator
from tests.values.strategies import values


class Tables:
    """Two tables of the app and one of the platform."""

    numbers: ClassVar = {"users": 10001, "posts": 10002, "_scheduled_functions": 516}

    def name_of(self, table_number: int) -> str | None:
        return {number: name for name, number in self.numbers.items()}.get(table_number)

    def number_of(self, name: str) -> int | None:
        return self.numbers.get(name)


TABLES = Tables()
UNTYPED: Any = v  # for what a type checker would refuse already
USER = encode_id(10001, bytes(16))
POST = encode_id(10002, bytes(16))
JOB = encode_id(516, bytes(16))
STRANGER = encode_id(10099, bytes(16))

person = v.object({"name": v.string(), "age": v.optional(v.number())})

FITS: list[tuple[Validator, list[Any]]] = [
    (v.string(), ["", "é"]),
    (v.number(), [1, 1.5, math.nan, 2**53]),
    (v.float64(), [0]),
    (v.int64(), [Int64(1)]),
    (v.bigint(), [Int64(-1)]),
    (v.boolean(), [True, False]),
    (v.null(), [None]),
    (v.bytes(), [b""]),
    (v.any(), [None, 1, "", [], {"a": [Int64(1)]}]),
    (v.id("users"), [USER]),
    (v.id("_scheduled_functions"), [JOB]),
    (v.literal("a"), ["a"]),
    (v.literal(1), [1, 1.0]),
    (v.literal(True), [True]),
    (v.literal(Int64(5)), [Int64(5)]),
    (v.literals("a", "b", 1), ["a", "b", 1]),
    (v.array(v.string()), [[], ["a", "b"]]),
    (person, [{"name": "Ada"}, {"name": "Ada", "age": 36}, {"name": "Ada", "age": UNSET}, {"name": "A", "x": UNSET}]),
    (v.object({}), [{}]),
    (v.object({"a": v.optional(v.nullable(v.string()))}), [{}, {"a": None}, {"a": "x"}]),
    (v.record(v.string(), v.number()), [{}, {"a": 1, "": 2}, {"a": UNSET}]),
    (v.record(v.id("users"), v.null()), [{USER: None}]),
    (v.record(v.union(v.id("users"), v.id("posts")), v.null()), [{USER: None, POST: None}]),
    (v.union(v.string(), v.null()), ["a", None]),
    (v.union(v.array(v.string()), v.array(v.number())), [["a"], [1], []]),
    (v.nullable(v.string()), ["a", None]),
]

FIT_CASES = [(validator, value) for validator, accepted in FITS for value in accepted]


@pytest.mark.parametrize(("validator", "value"), FIT_CASES, ids=range(len(FIT_CASES)))
def test_what_fits_is_accepted(validator: Validator, value: Any) -> None:
    validator.check(value, TABLES)


def mismatch(value: str, validator: str, path: str = "") -> str:
    where = f"Path: {path}" if path else ""
    return f"Value does not match validator.\n{where}\nValue: {value}\nValidator: {validator}"


MISSING = (
    "Object is missing the required field `name`. Consider wrapping the field validator in `v.optional(...)` if this "
    "is expected.\n"
)
PERSON = "v.object({age: v.optional(v.float64()), name: v.string()})"

MISFITS: list[tuple[Validator, Any, str]] = [
    (v.string(), 1, mismatch("1.0", "v.string()")),
    (v.string(), UNSET, mismatch("undefined", "v.string()")),
    (v.number(), Int64(1), mismatch("1n", "v.float64()")),
    (v.number(), True, mismatch("true", "v.float64()")),
    (v.int64(), 1, mismatch("1.0", "v.int64()")),
    (v.boolean(), 1, mismatch("1.0", "v.boolean()")),
    (v.boolean(), None, mismatch("null", "v.boolean()")),
    (v.null(), UNSET, mismatch("undefined", "v.null()")),
    (v.bytes(), "a", mismatch('"a"', "v.bytes()")),
    (v.any(), UNSET, mismatch("undefined", "v.any()")),
    (v.id("users"), 1, mismatch("1.0", 'v.id("users")')),
    (v.id("users"), "nonsense", mismatch('"nonsense"', 'v.id("users")')),
    (
        v.id("users"),
        POST,
        f'Found ID "{POST}" from table `posts`, which does not match the table name in validator `v.id("users")`.',
    ),
    (
        v.object({"a": v.array(v.id("users"))}),
        {"a": [USER, JOB]},
        f'Found ID "{JOB}" from a system table, which does not match the table name in validator `v.id("users")`.\n'
        "Path: .a[1]",
    ),
    (
        v.id("users"),
        STRANGER,
        f'Found ID "{STRANGER}" from an unknown table, which does not match the table name in validator '
        '`v.id("users")`.',
    ),
    (
        v.literal("a"),
        "b",
        '`"b"` does not match literal validator `v.literal("a")`.',
    ),
    (
        v.literal(1),
        True,
        "`true` does not match literal validator `v.literal(1.0)`.",
    ),
    (
        v.literal(1),
        Int64(1),
        "`1n` does not match literal validator `v.literal(1.0)`.",
    ),
    (
        v.array(v.object({"k": v.literal("a")})),
        [{"k": "a"}, {"k": []}],
        '`[]` does not match literal validator `v.literal("a")`.\nPath: [1].k',
    ),
    (v.array(v.string()), "a", mismatch('"a"', "v.array(v.string())")),
    (v.array(v.string()), {}, mismatch("{}", "v.array(v.string())")),
    (v.array(v.array(v.string())), [[], ["a", 1]], mismatch("1.0", "v.string()", "[1][1]")),
    (v.object({"a": v.array(v.string())}), {"a": [1]}, mismatch("1.0", "v.string()", ".a[0]")),
    (person, [], mismatch("[]", PERSON)),
    (person, {"age": 1}, f"{MISSING}\nObject: {{age: 1.0}}\nValidator: {PERSON}"),
    (person, {"name": UNSET}, f"{MISSING}\nObject: {{name: undefined}}\nValidator: {PERSON}"),
    (person, {"name": "A", "age": None}, mismatch("null", "v.float64()", ".age")),
    (v.array(person), [{}], f"{MISSING}Path: [0]\nObject: {{}}\nValidator: {PERSON}"),
    (
        v.object({"who": person}),
        {"who": {"name": "A", "extra": 1}},
        "Object contains extra field `extra` that is not in the validator.\nPath: .who\n"
        f'Object: {{extra: 1.0, name: "A"}}\nValidator: {PERSON}',
    ),
    (v.record(v.string(), v.number()), [], mismatch("[]", "v.record(v.string(), v.float64())")),
    (v.record(v.string(), v.number()), {"a": "x"}, mismatch('"x"', "v.float64()", ".values()")),
    (v.record(v.id("users"), v.null()), {"x": None}, mismatch('"x"', 'v.id("users")', ".keys()")),
    (v.object({"r": v.record(v.string(), person)}), {"r": {"k": 1}}, mismatch("1.0", PERSON, ".r.values()")),
    (v.union(), None, mismatch("null", "v.union()")),
    (v.union(v.string()), 1, mismatch("1.0", "v.string()")),
    (v.union(v.string(), v.null()), 1, mismatch("1.0", "v.union(v.string(), v.null())")),
    (
        v.object({"u": v.union(v.array(v.string()), v.object({}))}),
        {"u": [1]},
        mismatch("[1.0]", "v.union(v.array(v.string()), v.object({}))", ".u"),
    ),
    (v.object({"u": v.union(v.array(v.string()))}), {"u": [1]}, mismatch("1.0", "v.string()", ".u[0]")),
    (v.nullable(v.string()), UNSET, mismatch("undefined", "v.union(v.string(), v.null())")),
]


@pytest.mark.parametrize(("validator", "value", "text"), MISFITS, ids=range(len(MISFITS)))
def test_what_does_not_fit_is_refused_with_path_and_both_sides(validator: Validator, value: Any, text: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        validator.check(value, TABLES)
    assert str(refused.value) == text


@given(values)
def test_any_takes_every_value(value: Any) -> None:
    v.any().check(value, TABLES)


def test_a_helper_gives_a_new_object_and_keeps_what_is_optional() -> None:
    assert repr(person.pick("age")) == "v.object({age: v.optional(v.float64())})"
    assert repr(person.omit("age")) == "v.object({name: v.string()})"
    assert repr(person.partial()) == "v.object({age: v.optional(v.float64()), name: v.optional(v.string())})"
    assert repr(person.extend({"id": v.int64(), "name": v.null()})) == (
        "v.object({age: v.optional(v.float64()), id: v.int64(), name: v.null()})"
    )
    assert repr(person) == PERSON


@pytest.mark.parametrize("change", [ObjectValidator.pick, ObjectValidator.omit])
def test_an_unknown_field_is_refused_by_the_helpers(change: Any) -> None:
    with pytest.raises(DefinitionError, match=r"has no field 'nmae'\.$"):
        change(person, "nmae")


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: v.array(v.optional(v.string())), "v.optional(…) is only for fields of an object or arguments"),
        (lambda: v.union(v.optional(v.string())), "v.optional(…) is only for fields of an object or arguments"),
        (lambda: v.record(v.string(), v.optional(v.null())), "v.optional(…) is only for fields of an object or"),
        (lambda: v.nullable(v.optional(v.string())), "v.optional(…) is only for fields of an object or arguments"),
        (lambda: UNTYPED.array(str), "v.array(…) takes validators, not <class 'str'>."),
        (lambda: UNTYPED.optional(None), "v.optional(…) takes a validator, not None."),
        (lambda: UNTYPED.object({"a": None}), "The field 'a' of v.object(…) is None, not a validator."),
        (lambda: UNTYPED.object([]), "v.object(…) takes a dict of validators, not []."),
        (lambda: v.object({"$a": v.any()}), "'$a' cannot be a field name"),
        (lambda: v.object({"é": v.any()}), "'é' cannot be a field name"),
        (lambda: UNTYPED.object({1: v.any()}), "1 cannot be a field name"),
        (lambda: v.record(v.number(), v.any()), "The keys of v.record(…) must be v.string(), v.id(…) or a union"),
        (lambda: v.record(v.literal("a"), v.any()), "The keys of v.record(…) must be v.string(), v.id(…) or a union"),
        (lambda: v.literal(math.nan), "v.literal(…) takes a string, a finite number, an Int64 or a boolean, not nan."),
        (lambda: v.literal(None), "v.literal(…) takes a string, a finite number, an Int64 or a boolean, not None."),
        (lambda: v.literal(2**60), "v.literal(…) takes a Convex value. 1152921504606846976 is beyond ±2^53"),
        (lambda: v.literal(10**5000), "v.literal(…) takes a Convex value. An int of 16610 bits is beyond ±2^53"),
        (lambda: v.literal("\ud800"), "v.literal(…) takes a Convex value. A string is not valid Unicode"),
        (lambda: v.id(""), "v.id(…) takes the name of a table, not ''."),
        (lambda: UNTYPED.id(None), "v.id(…) takes the name of a table, not None."),
    ],
)
def test_a_wrong_definition_is_refused_at_once(build: Any, text: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        build()
    assert str(refused.value).startswith(text)


JSON_FORMS: list[tuple[Validator, dict[str, Any]]] = [
    (v.string(), {"type": "string"}),
    (v.number(), {"type": "number"}),
    (v.int64(), {"type": "bigint"}),
    (v.boolean(), {"type": "boolean"}),
    (v.null(), {"type": "null"}),
    (v.bytes(), {"type": "bytes"}),
    (v.any(), {"type": "any"}),
    (v.id("users"), {"type": "id", "tableName": "users"}),
    (v.literal("a"), {"type": "literal", "value": "a"}),
    (v.literal(False), {"type": "literal", "value": False}),
    (v.literal(Int64(123)), {"type": "literal", "value": {"$integer": "ewAAAAAAAAA="}}),
    (v.array(v.any()), {"type": "array", "value": {"type": "any"}}),
    (v.union(v.null()), {"type": "union", "value": [{"type": "null"}]}),
    (
        v.record(v.string(), v.null()),
        {
            "type": "record",
            "keys": {"type": "string"},
            "values": {"fieldType": {"type": "null"}, "optional": False},
        },
    ),
    (
        person,
        {
            "type": "object",
            "value": {
                "name": {"fieldType": {"type": "string"}, "optional": False},
                "age": {"fieldType": {"type": "number"}, "optional": True},
            },
        },
    ),
]


@pytest.mark.parametrize(("validator", "described"), JSON_FORMS, ids=[repr(form) for form, _ in JSON_FORMS])
def test_the_json_form_is_convex_own(validator: Validator, described: dict[str, Any]) -> None:
    assert validator.to_json() == described
    assert validator_from_json(json.loads(json.dumps(described))) == validator


_literals = st.one_of(
    st.text(max_size=3), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.integers(-5, 5).map(Int64)
)
_keys = st.sampled_from([v.string(), v.id("users"), v.union(v.id("users"), v.string())])
_names = st.sampled_from(["a", "b", "a b", ""])
_plain: st.SearchStrategy[Validator] = st.one_of(
    st.sampled_from([v.string(), v.number(), v.int64(), v.boolean(), v.null(), v.bytes(), v.any(), v.id("posts")]),
    _literals.map(v.literal),
)
validators: st.SearchStrategy[Validator] = st.recursive(
    _plain,
    lambda inner: st.one_of(
        inner.map(v.array),
        st.lists(inner, max_size=3).map(lambda members: v.union(*members)),
        st.builds(v.record, _keys, inner),
        st.dictionaries(_names, st.one_of(inner, inner.map(v.optional)), max_size=3).map(v.object),
    ),
    max_leaves=6,
)


@given(validators, validators)
def test_descriptions_carry_the_whole_validator(one: Validator, other: Validator) -> None:
    """Through JSON and back it is equal, and two that are equal are described alike."""
    again = validator_from_json(json.loads(json.dumps(one.to_json())))

    assert again == one
    assert (repr(again), hash(again)) == (repr(one), hash(one))
    assert (one == other) == (repr(one) == repr(other))


def test_equality_does_not_follow_python() -> None:
    assert v.literal(1) != v.literal(True)
    assert v.literal(1) == v.literal(1.0)
    assert v.literal(1) != v.literal(Int64(1))
    assert v.object({"a": v.optional(v.null())}) != v.object({"a": v.null()})
    assert v.string() != "v.string()"


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"^There is no validator of type 'date'\.$"):
        validator_from_json({"type": "date"})
