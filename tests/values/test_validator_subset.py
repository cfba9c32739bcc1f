"""When a validator lies within another: a yes must be true of every value, and the widenings of daily life get one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from convexpy.values import Int64, Validator, encode_id, v
from convexpy.values.compound_validators import (
    ArrayValidator,
    ObjectValidator,
    OptionalValidator,
    RecordValidator,
    UnionValidator,
)
from convexpy.values.scalar_validators import IdValidator, LiteralValidator
from convexpy.values.validator_subset import is_subset
from tests.values.strategies import values
from tests.values.test_validators import TABLES

FIELD_NAMES = ("a", "b", "c")
LITERALS = ("a", "b", 1, 2.5, True, False, Int64(1))
TABLE_NAMES = ("users", "posts")

plain = {
    v.string(): st.text(max_size=3),
    v.number(): st.integers(-9, 9) | st.floats(),
    v.int64(): st.integers(-9, 9).map(Int64),
    v.boolean(): st.booleans(),
    v.null(): st.none(),
    v.bytes(): st.binary(max_size=3),
    v.any(): values,
}
keys = st.sampled_from([v.string(), v.id("users"), v.union(v.id("users"), v.id("posts"))])


def containers(inner: st.SearchStrategy[Validator]) -> st.SearchStrategy[Validator]:
    field = inner | inner.map(v.optional)
    return (
        inner.map(v.array)
        | st.dictionaries(st.sampled_from(FIELD_NAMES), field, max_size=3).map(v.object)
        | st.builds(v.record, keys, inner)
        | st.lists(inner, max_size=3).map(lambda members: v.union(*members))
    )


leaves = (
    st.sampled_from(list(plain)) | st.sampled_from(LITERALS).map(v.literal) | st.sampled_from(TABLE_NAMES).map(v.id)
)
validators = st.recursive(leaves, containers, max_leaves=6)


def values_of(validator: Validator) -> st.SearchStrategy[Any]:
    """Values that `validator` accepts."""
    match validator:
        case LiteralValidator():
            return st.just(validator.value)
        case IdValidator():
            number = TABLES.number_of(validator.table) or 0
            return st.binary(min_size=16, max_size=16).map(lambda internal: encode_id(number, internal))
        case ArrayValidator():
            items = values_of(validator.element)
            return st.just([]) if items.is_empty else st.lists(items, max_size=2)
        case RecordValidator():
            names = st.sampled_from(FIELD_NAMES) if validator.keys == v.string() else values_of(validator.keys)
            items = values_of(validator.values)
            return st.just({}) if items.is_empty else st.dictionaries(names, items, max_size=2)
        case UnionValidator():
            return st.one_of([values_of(member) for member in validator.members])
        case ObjectValidator():
            is_needed = {name: not field.is_optional for name, field in validator.fields.items()}
            inside = {name: values_of(_present(field)) for name, field in validator.fields.items()}
            needed = {name: field for name, field in inside.items() if is_needed[name]}
            return st.fixed_dictionaries(
                needed, optional={name: field for name, field in inside.items() if name not in needed}
            )
    return plain[validator]


def _present(field: Validator) -> Validator:
    return field.inner if isinstance(field, OptionalValidator) else field


@st.composite
def neighbours(draw: st.DrawFn, validator: Validator) -> Validator:
    """Something like `validator`: each part may be kept, widened, narrowed or replaced."""

    def change(part: Validator) -> Validator:
        return draw(neighbours(part))

    match draw(st.integers(0, 7)):
        case 0:
            return validator
        case 1:
            return v.union(change(validator), draw(leaves))
        case 2:
            return draw(validators)
    match validator:
        case ArrayValidator():
            return v.array(change(validator.element))
        case RecordValidator():
            return v.record(draw(keys | st.just(validator.keys)), change(validator.values))
        case UnionValidator():
            return v.union(*(change(member) for member in validator.members))
        case ObjectValidator():
            fields = {name: change(_present(field)) for name, field in validator.fields.items()}
            if draw(st.booleans()):
                fields[draw(st.sampled_from(FIELD_NAMES))] = draw(leaves)
            return v.object({name: v.optional(f) if draw(st.booleans()) else f for name, f in fields.items()})
    return validator


@given(st.data())
def test_what_lies_within_fits(data: st.DataObject) -> None:
    """Of two validators that are much alike: if the answer is yes, the second accepts whatever the first accepts."""
    inner = data.draw(validators)
    outer = data.draw(neighbours(inner))
    is_within = is_subset(inner, outer)
    event(f"within: {is_within}")
    possible = values_of(inner)
    if is_within and not possible.is_empty:
        outer.check(data.draw(possible), TABLES)


@given(st.data())
def test_values_of_a_validator_are_its_values(data: st.DataObject) -> None:
    """The test above says nothing about values that the first validator does not accept."""
    validator = data.draw(validators)
    possible = values_of(validator)
    if not possible.is_empty:
        validator.check(data.draw(possible), TABLES)


@given(validators, leaves)
def test_widening_is_seen(inner: Validator, other: Validator) -> None:
    """By itself, in a union, as what may be missing, inside containers."""
    for outer in (inner, v.any(), v.union(inner, other), v.union(other, inner), v.nullable(inner)):
        assert is_subset(inner, outer)
        assert is_subset(v.array(inner), v.array(outer))
        assert is_subset(v.record(v.id("users"), inner), v.record(v.string(), outer))
        assert is_subset(v.object({"a": inner}), v.object({"a": v.optional(outer), "b": v.optional(other)}))
        assert is_subset(v.object({"a": v.optional(inner)}), v.record(v.string(), outer))


WIDENINGS = [
    (v.object({"a": v.string()}), v.object({"a": v.string(), "b": v.optional(v.number())})),
    (v.object({"a": v.string()}), v.object({"a": v.optional(v.string())})),
    (v.object({"a": v.literals("x", "y")}), v.object({"a": v.literals("x", "y", "z")})),
    (v.object({"a": v.literals("x", "y")}), v.object({"a": v.string()})),
    (v.literal(1), v.literal(1.0)),
    (v.literal(3), v.number()),
    (v.boolean(), v.literals(True, False)),
    (v.id("users"), v.string()),
    (v.id("users"), v.union(v.id("posts"), v.id("users"))),
    (v.union(), v.null()),
    (v.union(v.object({"k": v.literal("a")}), v.object({"k": v.literal("b")})), v.object({"k": v.string()})),
]
OTHER_CHANGES = [
    (v.object({"a": v.optional(v.string())}), v.object({"a": v.string()})),
    (v.object({"a": v.string(), "b": v.optional(v.string())}), v.object({"a": v.string()})),
    (v.object({"a": v.string()}), v.object({"a": v.string(), "b": v.string()})),
    (v.optional(v.string()), v.string()),
    (v.any(), v.string()),
    (v.string(), v.id("users")),
    (v.id("users"), v.id("posts")),
    (v.literal("abc"), v.id("users")),
    (v.literal(True), v.literal(1)),
    (v.literal(-0.0), v.literal(0.0)),
    (v.number(), v.int64()),
    (v.string(), v.literals("x", "y")),
    (v.object({"a": v.string()}), v.record(v.id("users"), v.string())),
    (v.record(v.string(), v.string()), v.object({})),
    (v.array(v.any()), v.array(v.string())),
]


@pytest.mark.parametrize(("inner", "outer"), WIDENINGS, ids=str)
def test_daily_widenings(inner: Validator, outer: Validator) -> None:
    assert is_subset(inner, outer)


@pytest.mark.parametrize(("inner", "outer"), OTHER_CHANGES, ids=str)
def test_changes_that_documents_may_not_fit(inner: Validator, outer: Validator) -> None:
    assert not is_subset(inner, outer)
