"""A schema refuses what cannot be one, and exports the rest as plain data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from convexpy.errors import DefinitionError
from convexpy.functions.schema import define_schema, define_table
from convexpy.values import v, validator_from_json

TABLE = define_table(
    {
        "channel": v.string(),
        "author": v.object({"name": v.string(), "tags": v.array(v.string())}),
        "extra": v.optional(v.union(v.object({"rank": v.number()}), v.null())),
        "free": v.any(),
    }
)


def test_a_schema_exports_its_tables() -> None:
    table = TABLE.index("by_channel", ["channel"]).index("by_author", ["author.name", "channel"], staged=True)

    exported = define_schema({"messages": table}).export()

    assert exported["schema_validation"] is True
    assert exported["tables"]["messages"]["indexes"] == [
        {"name": "by_channel", "fields": ["channel"], "staged": False},
        {"name": "by_author", "fields": ["author.name", "channel"], "staged": True},
    ]
    assert validator_from_json(exported["tables"]["messages"]["validator"]) == table.validator


def test_index_leaves_the_table_it_is_called_on_alone() -> None:
    base = define_table({"a": v.string()})

    base.index("by_a", ["a"])

    assert base.indexes == ()


@pytest.mark.parametrize("path", ["channel", "author.name", "author", "extra.rank", "free", "free.any.thing"])
def test_fields_that_the_validator_can_hold_may_be_indexed(path: str) -> None:
    assert TABLE.index("by_it", [path]).indexes[0].fields == (path,)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (["chanel"], "references the field `chanel` that does not exist"),
        (["channel.name"], "references the field `channel.name` that does not exist"),
        (["author.age"], "references the field `author.age` that does not exist"),
        (["extra.height"], "references the field `extra.height` that does not exist"),
        (["author.tags.x"], "does not exist"),
        (["_id"], "_id"),
        (["channel", "_creationTime"], "_creationTime"),
        (["_secret"], "_secret"),
        (["channel", "channel"], "twice"),
        ([], "1 to 16"),
        (["channel"] * 17, "1 to 16"),
        ("channel", "list"),
        ([3], "strings"),
        (["author..name"], "no field path"),
    ],
)
def test_fields_that_cannot_be_indexed(fields: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        TABLE.index("by_it", fields)


@pytest.mark.parametrize("name", ["by_id", "by_creation_time", "_mine", "with-dash", "", "1st", "a" * 65, None, "ä"])
def test_names_that_no_index_can_have(name: Any) -> None:
    with pytest.raises(DefinitionError, match="cannot be the name of an index"):
        TABLE.index(name, ["channel"])


def test_indexes_differ_in_name_and_fields() -> None:
    table = TABLE.index("by_channel", ["channel"])

    with pytest.raises(DefinitionError, match="two indexes named 'by_channel'"):
        table.index("by_channel", ["free"])
    with pytest.raises(DefinitionError, match="have the same fields"):
        table.index("by_room", ["channel"])


def test_a_table_has_at_most_64_indexes() -> None:
    table = define_table(v.any())
    for number in range(64):
        table = table.index(f"by_{number}x", [f"f{number}"])

    with pytest.raises(DefinitionError, match="at most 64"):
        table.index("one_more", ["more"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: define_table(v.string()),
        lambda: define_table(v.optional(v.object({}))),
        lambda: define_table(v.union(v.object({}), v.null())),
        lambda: define_table(v.union()),
        lambda: define_table(None),  # type: ignore[arg-type]
        lambda: define_table({"a": str}),  # type: ignore[dict-item]
        lambda: define_table({"_id": v.string()}),
        lambda: define_table(v.union(v.object({"a": v.any()}), v.object({"_x": v.any()}))),
        lambda: define_schema({"_tables": define_table({})}),
        lambda: define_schema({"with-dash": define_table({})}),
        lambda: define_schema({"t": {"a": v.string()}}),  # type: ignore[dict-item]
        lambda: define_schema([]),  # type: ignore[arg-type]
    ],
)
def test_what_no_table_can_be(make: Callable[[], object]) -> None:
    with pytest.raises(DefinitionError):
        make()


def test_documents_of_listed_tables_are_enforced() -> None:
    schema = define_schema({"messages": TABLE})

    assert schema.enforced_validator("messages") is TABLE.validator
    assert schema.enforced_validator("others") is None
    assert define_schema({"messages": TABLE}, schema_validation=False).enforced_validator("messages") is None


def test_a_table_may_be_a_union_of_objects() -> None:
    table = define_table(v.union(v.object({"a": v.string()}), v.object({"b": v.string()})))

    assert table.index("by_b", ["b"]).indexes[0].name == "by_b"
