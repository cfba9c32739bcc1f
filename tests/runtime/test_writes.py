"""What `ctx.db` writes, and what it refuses to. Source: runtime-semantics 19, 52-60."""

from __future__ import annotations

import math
import struct
from itertools import pairwise
from typing import Any

import pytest

from convexpy import UNSET, ConvexpyError, Int64, MutationCtx
from convexpy.testing import TestBackend


def refusal(backend: TestBackend, write: Any) -> str:
    """The text with which a write is refused."""
    with pytest.raises(ConvexpyError) as caught:
        backend.run(write)
    return str(caught.value)


def insert(backend: TestBackend, fields: dict[str, Any], table: str = "notes") -> str:
    return backend.run(lambda ctx: ctx.db.insert(table, fields))


def fields_of(backend: TestBackend, id: str) -> dict[str, Any]:
    """The user's fields of a document."""
    document = backend.run(lambda ctx: ctx.db.get(id))
    assert document is not None
    return {name: value for name, value in document.items() if not name.startswith("_")}


def nested(depth: int) -> Any:
    """A list in a list in a list…"""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# --- patch, replace, delete


def test_patch_replaces_and_removes_single_fields(backend: TestBackend) -> None:
    note = insert(backend, {"a": 1, "b": {"x": 1, "y": 2}, "c": 3})
    backend.run(lambda ctx: ctx.db.patch(note, {"b": {"x": 5}, "c": UNSET, "d": None}))

    assert fields_of(backend, note) == {"a": 1, "b": {"x": 5}, "d": None}


def test_replace_leaves_only_what_is_given(backend: TestBackend) -> None:
    note = insert(backend, {"a": 1, "b": 2})
    before = backend.run(lambda ctx: ctx.db.get(note))
    backend.run(lambda ctx: ctx.db.replace("notes", note, {"c": 3}))
    after = backend.run(lambda ctx: ctx.db.get(note))

    assert before is not None and after is not None
    assert after == {"_id": note, "_creationTime": before["_creationTime"], "c": 3}


def test_system_fields_may_be_given_as_they_are(backend: TestBackend) -> None:
    note, other = insert(backend, {"a": 1}), insert(backend, {})

    def replace_whole(ctx: MutationCtx) -> None:
        document = ctx.db.get(note)
        assert document is not None
        ctx.db.replace(note, {**document, "a": 2})
        ctx.db.patch(note, {"_id": note, "_creationTime": document["_creationTime"], "b": 3})

    backend.run(replace_whole)

    assert fields_of(backend, note) == {"a": 2, "b": 3}
    assert "doesn't match '_creationTime' field" in refusal(
        backend, lambda ctx: ctx.db.patch(note, {"_creationTime": 5.0})
    )
    assert "doesn't match '_id' field" in refusal(backend, lambda ctx: ctx.db.replace(note, {"_id": other}))


@pytest.mark.parametrize(
    ("verb", "write"),
    [
        ("Update", lambda ctx, id: ctx.db.patch(id, {"a": 1})),
        ("Replace", lambda ctx, id: ctx.db.replace(id, {"a": 1})),
        ("Delete", lambda ctx, id: ctx.db.delete(id)),
    ],
)
def test_what_is_gone_cannot_be_written(backend: TestBackend, verb: str, write: Any) -> None:
    note = insert(backend, {})
    backend.run(lambda ctx: ctx.db.delete(note))

    assert refusal(backend, lambda ctx: write(ctx, note)) == f"{verb} on nonexistent document ID {note}"


@pytest.mark.parametrize("value", [None, 5, [], "x"])
@pytest.mark.parametrize("operation", ["insert", "patch", "replace"])
def test_only_objects_are_written(backend: TestBackend, operation: str, value: Any) -> None:
    note = insert(backend, {})
    target = "notes" if operation == "insert" else note

    error = refusal(backend, lambda ctx: getattr(ctx.db, operation)(target, value))

    assert error == f"Invalid argument `value` for `db.{operation}`: Value must be an Object"


def test_a_write_that_changes_nothing_is_none(backend: TestBackend) -> None:
    """No commit, so no subscription runs again and nobody conflicts with it."""
    note = insert(backend, {"a": 1, "b": {"x": 1}})
    before = backend.runtime.published_ts
    backend.run(lambda ctx: ctx.db.patch(note, {"a": 1}))
    backend.run(lambda ctx: ctx.db.replace(note, {"a": 1, "b": {"x": 1}}))

    assert backend.runtime.published_ts == before


def test_what_is_written_and_taken_back_is_none(backend: TestBackend) -> None:
    note = insert(backend, {"a": 1})
    before = backend.runtime.published_ts

    def there_and_back(ctx: MutationCtx) -> None:
        ctx.db.patch(note, {"a": 2})
        ctx.db.patch(note, {"a": 1})
        ctx.db.delete(ctx.db.insert("notes", {}))

    backend.run(there_and_back)

    assert backend.runtime.published_ts == before


def test_creation_times_rise_and_are_of_the_moment(backend: TestBackend) -> None:
    backend.advance(5)
    backend.run(lambda ctx: [ctx.db.insert("notes", {"n": n}) for n in range(50)])
    times = backend.run(lambda ctx: [row["_creationTime"] for row in ctx.db.query("notes")])

    assert all(before < after for before, after in pairwise(times))
    assert backend.clock.now_ms() <= times[0] and times[-1] < backend.clock.now_ms() + 100
    assert backend.run(lambda ctx: [row["n"] for row in ctx.db.query("notes")]) == list(range(50))


# --- values


def test_values_come_back_bit_by_bit(backend: TestBackend) -> None:
    values: dict[str, Any] = {
        "largest": Int64(2**63 - 1),
        "smallest": Int64(-(2**63)),
        "minusZero": -0.0,
        "nan": math.nan,
        "infinite": [math.inf, -math.inf],
        "empty": [b"", "", [], {}, {"a": {}}],
        "text": "\0ä\uffff\U0001f600",
        "bytes": bytes(range(256)),
        "numbers": [1, 1.0, 2**53, -(2**53), 0.1, 5e-324],
        "none": None,
        "flags": [True, False],
    }
    found = fields_of(backend, insert(backend, values))
    echoed = backend.query("calls:echo", values)

    for result in (found, echoed):
        assert struct.pack(">d", result.pop("nan")) == struct.pack(">d", values["nan"])
        assert math.copysign(1, result.pop("minusZero")) == -1
        assert result == {name: value for name, value in values.items() if name not in ("nan", "minusZero")}
        assert type(result["largest"]) is Int64
    assert [type(number) for number in found["numbers"]] == [int, float, int, int, float, float]


class Own:
    """A class that is no value."""


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": {1, 2}}, ".a"),
        ({"a": [{"b": Own()}]}, ".a[0].b"),
        ({"a": (1, 2)}, ".a"),
        ({"a": [UNSET]}, ".a[0]"),
        ({"a": {"$b": 1}}, "$b"),
        ({"a": ["\ud800"]}, ".a[0]"),
        ({"a": {5: 1}}, ".a"),
    ],
)
def test_what_is_no_value_is_told_with_its_path(backend: TestBackend, value: dict[str, Any], where: str) -> None:
    assert where in refusal(backend, lambda ctx: ctx.db.insert("notes", value))


def test_an_integer_that_float64_cannot_hold_is_refused_with_a_hint(backend: TestBackend) -> None:
    assert "Int64" in refusal(backend, lambda ctx: ctx.db.insert("notes", {"n": 2**53 + 1}))


@pytest.mark.parametrize("name", ["with-dash", "9th", "", "ä"])
def test_names_of_top_fields_are_identifiers(backend: TestBackend, name: str) -> None:
    assert refusal(backend, lambda ctx: ctx.db.insert("notes", {name: 1}))


@pytest.mark.parametrize("name", ["_id", "_creationTime"])
def test_the_platforms_fields_are_not_given_to_insert(backend: TestBackend, name: str) -> None:
    error = refusal(backend, lambda ctx: ctx.db.insert("notes", {name: 1}))

    assert f"the field `{name}` is set by the platform" in error


def test_a_document_has_a_size_and_a_depth(backend: TestBackend) -> None:
    insert(backend, {"a": "x" * (2**20 - 100)})
    assert "Value is too large (" in refusal(backend, lambda ctx: ctx.db.insert("notes", {"a": "x" * 2**20}))

    insert(backend, {"a": nested(14)})
    error = refusal(backend, lambda ctx: ctx.db.insert("notes", {"a": nested(16)}))
    assert "Document is too nested (nested 17 levels deep > maximum nesting 16)" in error


def test_arguments_may_be_deeper_than_documents(backend: TestBackend) -> None:
    assert backend.query("calls:echo", {"x": nested(61)}) == {"x": nested(61)}

    outcome = backend.outcome("query", "calls:nothing")
    assert outcome.ok
    with pytest.raises(ConvexpyError, match="nested"):
        backend.query("calls:echo", {"x": nested(64)})


# --- schema


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "Object is missing the required field `name`."),
        ({"name": 5}, "Path: .name\nValue: 5.0\nValidator: v.string()"),
        ({"name": "a", "extra": 1}, "Object contains extra field `extra`"),
        ({"name": "a", "age": None}, "Path: .age"),
    ],
)
def test_a_document_must_match_its_schema(backend: TestBackend, fields: dict[str, Any], problem: str) -> None:
    error = refusal(backend, lambda ctx: ctx.db.insert("people", fields))

    assert error.startswith('Failed to insert or update a document in table "people" because it does not match')
    assert problem in error


def test_patch_and_replace_must_match_it_too(backend: TestBackend) -> None:
    person = insert(backend, {"name": "ann", "age": 5}, "people")

    assert "Path: .age" in refusal(backend, lambda ctx: ctx.db.patch(person, {"age": "old"}))
    assert "missing the required field `name`" in refusal(backend, lambda ctx: ctx.db.patch(person, {"name": UNSET}))
    assert "missing the required field `name`" in refusal(backend, lambda ctx: ctx.db.replace(person, {"age": 5}))
    assert fields_of(backend, person) == {"name": "ann", "age": 5}


def test_tables_that_the_schema_does_not_name_take_anything(backend: TestBackend) -> None:
    assert fields_of(backend, insert(backend, {"anything": [1, {"goes": True}]})) == {"anything": [1, {"goes": True}]}
