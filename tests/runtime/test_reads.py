"""What `ctx.db` reads: ids, indexes, ranges, filters, order. Source: runtime-semantics 19, 22-41."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from convexpy import UNSET, ConvexpyError, Int64, MutationCtx
from convexpy.functions.application import Application
from convexpy.testing import TestBackend
from convexpy.transactions.commit_messages import Reads

Build = Callable[[Any], Any]


def refusal(backend: TestBackend, read: Callable[[MutationCtx], Any]) -> str:
    """The text with which a read is refused."""
    with pytest.raises(ConvexpyError) as caught:
        backend.run(read)
    return str(caught.value)


def insert(backend: TestBackend, table: str, *rows: dict[str, Any]) -> list[str]:
    return backend.run(lambda ctx: [ctx.db.insert(table, row) for row in rows])


def names(backend: TestBackend, index: str, build: Build | None = None, order: str = "asc") -> list[str]:
    """The names of the people that a range of an index gives."""

    def read(ctx: MutationCtx) -> list[str]:
        query = ctx.db.query("people").with_index(index, build) if build else ctx.db.query("people").with_index(index)
        return [row["name"] for row in query.order(order)]  # type: ignore[arg-type]

    return backend.run(read)


@pytest.fixture
def people(backend: TestBackend) -> TestBackend:
    """Two teams, and one person without age, one without team."""
    insert(
        backend,
        "people",
        {"name": "ann", "team": "red", "age": 30},
        {"name": "bob", "team": "red", "age": 20},
        {"name": "cid", "team": "red"},
        {"name": "dan", "team": "blue", "age": 40.5},
        {"name": "eve", "age": 10},
    )
    return backend


# --- ids


def test_get_of_what_is_not_there_is_none(backend: TestBackend) -> None:
    (kept, deleted) = insert(backend, "notes", {"n": 1}, {"n": 2})
    backend.run(lambda ctx: ctx.db.delete(deleted))

    assert backend.run(lambda ctx: ctx.db.get(deleted)) is None
    assert backend.run(lambda ctx: ctx.db.get("notes", deleted)) is None
    document = backend.run(lambda ctx: ctx.db.get(kept))
    assert document is not None and document["_id"] == kept and document["n"] == 1


@pytest.mark.parametrize("operation", ["get", "delete"])
def test_junk_is_no_id(backend: TestBackend, operation: str) -> None:
    error = refusal(backend, lambda ctx: getattr(ctx.db, operation)("junk!"))

    assert f"Invalid argument `id` for `db.{operation}`: Unable to decode ID" in error


@pytest.mark.parametrize(
    ("operation", "rest"), [("get", ()), ("patch", ({"n": 2},)), ("replace", ({"n": 2},)), ("delete", ())]
)
def test_an_id_of_another_table_is_refused_where_the_table_is_named(
    backend: TestBackend, operation: str, rest: tuple[Any, ...]
) -> None:
    (note,), _ = insert(backend, "notes", {"n": 1}), insert(backend, "teams", {"title": "red"})

    error = refusal(backend, lambda ctx: getattr(ctx.db, operation)("teams", note, *rest))

    assert (
        error == f'Invalid argument `id` for `db.{operation}`: expected to be an Id<"teams">, got Id<"notes"> instead.'
    )


def test_normalize_id_never_raises(backend: TestBackend) -> None:
    (note,) = insert(backend, "notes", {"n": 1})
    job = backend.run(lambda ctx: ctx.scheduler.run_after(60, "calls:add"))

    def normalized(ctx: MutationCtx) -> list[str | None]:
        db = ctx.db
        return [
            db.normalize_id("notes", note),
            db.normalize_id("teams", note),
            db.normalize_id("notes", "junk"),
            db.normalize_id("nowhere", note),
            db.normalize_id("_scheduled_functions", job),
            db.system.normalize_id("_scheduled_functions", job),
        ]

    assert backend.run(normalized) == [note, None, None, None, None, job]


def test_system_tables_and_own_tables_are_apart(backend: TestBackend) -> None:
    (note,) = insert(backend, "notes", {"n": 1})
    job = backend.run(lambda ctx: ctx.scheduler.run_after(60, "calls:add"))

    assert "only be accessed with db.system" in refusal(backend, lambda ctx: ctx.db.get(job))
    assert "cannot be accessed with db.system" in refusal(backend, lambda ctx: ctx.db.system.get(note))
    assert "db.system.query()" in refusal(backend, lambda ctx: ctx.db.query("_scheduled_functions"))
    assert "db.query()" in refusal(backend, lambda ctx: ctx.db.system.query("notes"))
    for write in (
        lambda ctx: ctx.db.insert("_scheduled_functions", {}),
        lambda ctx: ctx.db.patch(job, {"name": "x"}),
        lambda ctx: ctx.db.delete(job),
    ):
        assert refusal(backend, write) == "System tables (prefixed with `_`) are read-only."


@pytest.mark.parametrize("name", [None, 5, [], {}, b"notes"])
def test_the_name_of_a_table_is_a_text(backend: TestBackend, name: Any) -> None:
    """Said by every operation that takes one."""
    for use in (
        lambda ctx: ctx.db.insert(name, {}),
        lambda ctx: ctx.db.query(name),
        lambda ctx: ctx.db.normalize_id(name, "junk"),
        lambda ctx: ctx.db.system.query(name),
    ):
        text = refusal(backend, use)

        assert text.startswith(f"Invalid table name: it is a text (str), not of type {type(name).__name__}.")


# --- index ranges


def test_a_range_gives_the_rows_between_its_bounds(people: TestBackend) -> None:
    assert names(people, "by_team_age", lambda q: q.eq("team", "red")) == ["cid", "bob", "ann"]
    assert names(people, "by_team_age", lambda q: q.eq("team", "red"), "desc") == ["ann", "bob", "cid"]
    assert names(people, "by_team_age", lambda q: q.eq("team", "red").gt("age", 20)) == ["ann"]
    assert names(people, "by_team_age", lambda q: q.eq("team", "red").gte("age", 20).lt("age", 30)) == ["bob"]
    assert names(people, "by_team_age", lambda q: q.eq("team", "red").lt("age", 30).gte("age", 20)) == ["bob"]
    assert names(people, "by_team_age", lambda q: q.eq("age", 30).eq("team", "red")) == ["ann"]
    assert names(people, "by_name", lambda q: q.gt("name", "b").lte("name", "dan")) == ["bob", "cid", "dan"]
    assert names(people, "by_team_age") == ["eve", "dan", "cid", "bob", "ann"]


def test_missing_is_a_bound_of_its_own(people: TestBackend) -> None:
    insert(people, "notes", {"x": None}, {"x": 1}, {})

    assert names(people, "by_team_age", lambda q: q.eq("team", UNSET)) == ["eve"]
    assert names(people, "by_team_age", lambda q: q.eq("team", "red").eq("age", UNSET)) == ["cid"]
    assert names(people, "by_team_age", lambda q: q.eq("team", "red").gt("age", UNSET)) == ["bob", "ann"]


def test_creation_time_and_id_are_part_of_indexes(people: TestBackend) -> None:
    rows = people.run(lambda ctx: ctx.db.query("people").collect())
    middle = rows[1]["_creationTime"]

    assert names(people, "by_creation_time", lambda q: q.gt("_creationTime", middle)) == ["cid", "dan", "eve"]
    assert names(people, "by_name", lambda q: q.eq("name", "ann").lt("_creationTime", middle)) == ["ann"]
    assert names(people, "by_id", lambda q: q.eq("_id", rows[3]["_id"])) == ["dan"]


def test_equal_keys_come_in_the_order_of_insertion(backend: TestBackend) -> None:
    for _ in range(2):
        insert(backend, "people", *({"name": "same", "age": n} for n in range(5)))
    ages = [n for _ in range(2) for n in range(5)]

    def read(ctx: MutationCtx, order: Any) -> list[Any]:
        return [row["age"] for row in ctx.db.query("people").with_index("by_name", name="same").order(order)]

    assert backend.run(lambda ctx: read(ctx, "asc")) == ages
    assert backend.run(lambda ctx: read(ctx, "desc")) == ages[::-1]


@pytest.mark.parametrize(
    ("index", "build", "problem"),
    [
        ("by_nothing", None, "Index people.by_nothing not found."),
        ("by_team_age", lambda q: q.eq("age", 1), "didn't use the index fields in order. Index fields: "),
        ("by_team_age", lambda q: q.gt("age", 1), "didn't use the index fields in order. Index fields: "),
        ("by_team_age", lambda q: q.eq("name", 1), "the index doesn't index this field."),
        ("by_team_age", lambda q: q.eq("team", 1).eq("team", 2), "Already defined equality bound in index range."),
        ("by_name", lambda q: q.gt("name", 1).gte("name", 2), "Already defined lower bound in index range."),
        ("by_name", lambda q: q.lt("name", 1).lte("name", 2), "Already defined upper bound in index range."),
        ("by_name", lambda q: q.gt("name", 1).eq("name", 2), "Already defined inequality bound in index range."),
        ("by_team_age", lambda q: q.gt("team", 1).lt("age", 2), "can only be applied to a single index field."),
    ],
)
def test_a_wrong_range_is_told(people: TestBackend, index: str, build: Build | None, problem: str) -> None:
    with pytest.raises(ConvexpyError) as caught:
        names(people, index, build)

    assert problem in str(caught.value)


# --- consumers


def test_take_first_and_unique(people: TestBackend) -> None:
    def by_name(ctx: MutationCtx, name: str) -> Any:
        return ctx.db.query("people").with_index("by_name", name=name)

    insert(people, "people", {"name": "ann"})

    assert people.run(lambda ctx: ctx.db.query("people").take(0)) == []
    assert people.run(lambda ctx: len(ctx.db.query("people").take(2))) == 2
    assert people.run(lambda ctx: len(ctx.db.query("people").take(100))) == 6
    assert people.run(lambda ctx: by_name(ctx, "nobody").first()) is None
    assert people.run(lambda ctx: by_name(ctx, "nobody").unique()) is None
    assert people.run(lambda ctx: by_name(ctx, "bob").unique()["age"]) == 20
    error = refusal(people, lambda ctx: by_name(ctx, "ann").unique())
    ids = people.run(lambda ctx: [row["_id"] for row in by_name(ctx, "ann")])
    assert error == f"unique() query returned more than one result from table people: [{ids[0]}, {ids[1]}, ...]"


@pytest.mark.parametrize("count", [-1, 1.5, True, None])
def test_take_takes_a_count(backend: TestBackend, count: Any) -> None:
    assert "take() needs a non-negative integer" in refusal(backend, lambda ctx: ctx.db.query("people").take(count))


def test_a_query_is_used_once(backend: TestBackend) -> None:
    def twice(ctx: MutationCtx) -> None:
        query = ctx.db.query("people")
        query.collect()
        query.collect()

    def chain_of_a_chained_one(ctx: MutationCtx) -> None:
        query = ctx.db.query("people")
        query.order("desc")
        query.collect()

    assert refusal(backend, twice) == "Iteration can only begin on a query once."
    assert refusal(backend, chain_of_a_chained_one) == (
        "This query has been chained with another operator and can't be reused."
    )
    assert refusal(backend, lambda ctx: ctx.db.query("people").order("asc").order("asc")) == (
        "Queries may only specify order at most once"
    )


def test_what_is_read_belongs_to_the_reader(people: TestBackend) -> None:
    def change_and_read_again(ctx: MutationCtx) -> list[str]:
        for row in ctx.db.query("people"):
            row["name"] = "changed"
        return [row["name"] for row in ctx.db.query("people")]

    assert people.run(change_and_read_again) == ["ann", "bob", "cid", "dan", "eve"]


# --- filters


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (lambda q: q.eq(q.field("age"), 30), ["ann"]),
        (lambda q: q.neq(q.field("team"), "red"), ["dan", "eve"]),
        (lambda q: q.and_(q.gt(q.field("age"), 10), q.lt(q.field("age"), 40)), ["ann", "bob"]),
        (lambda q: q.or_(q.eq(q.field("name"), "eve"), q.gte(q.field("age"), 40)), ["dan", "eve"]),
        (lambda q: q.not_(q.lte(q.field("age"), 30)), ["dan"]),
        (lambda q: q.eq(q.field("age"), UNSET), ["cid"]),
        (lambda q: q.eq(q.field("age"), None), []),
    ],
)
def test_filters_choose_rows(people: TestBackend, condition: Build, found: list[str]) -> None:
    assert people.run(lambda ctx: [row["name"] for row in ctx.db.query("people").filter(condition)]) == found
    assert (
        people.run(lambda ctx: [row["name"] for row in ctx.db.query("people").filter(condition).take(1)]) == found[:1]
    )


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (lambda q: q.eq(q.mod(q.mul(q.field("n"), 2), 3), 0), [30, 9]),
        (lambda q: q.eq(q.neg(q.sub(q.field("n"), 5)), -15), [20]),
        (lambda q: q.eq(q.div(q.add(q.field("n"), 1), 2), 5.0), [9]),
    ],
)
def test_filters_calculate(backend: TestBackend, condition: Build, found: list[int]) -> None:
    insert(backend, "notes", {"n": 30}, {"n": 20}, {"n": 9})

    assert backend.run(lambda ctx: [row["n"] for row in ctx.db.query("notes").filter(condition)]) == found


def test_filters_and_conditions_in_python_all_have_to_hold(people: TestBackend) -> None:
    def read(ctx: MutationCtx) -> list[str]:
        query = ctx.db.query("people").filter(lambda q: q.eq(q.field("team"), "red"))
        return [
            row["name"] for row in query.where(lambda row: "age" in row).filter(lambda q: q.neq(q.field("age"), 20))
        ]

    assert people.run(read) == ["ann"]


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        (lambda q: q.add(q.field("age"), Int64(1)), "needs two int64 or two float64, not float64 and int64"),
        (lambda q: q.field("name"), "`filter` in a filter needs a boolean, not string"),
        (lambda q: q.and_(q.field("age")), "`and_` in a filter needs a boolean, not float64"),
    ],
)
def test_a_wrong_filter_is_told(people: TestBackend, condition: Build, problem: str) -> None:
    assert problem in refusal(people, lambda ctx: ctx.db.query("people").filter(condition).first())


def test_a_boolean_field_is_a_condition(backend: TestBackend) -> None:
    insert(backend, "notes", {"name": "a", "ok": True}, {"name": "b", "ok": False})

    assert backend.run(lambda ctx: [n["name"] for n in ctx.db.query("notes").filter(lambda q: q.field("ok"))]) == ["a"]


# --- order of values

NEGATIVE_NAN = -math.nan
IN_ORDER: list[Any] = [
    UNSET,
    None,
    Int64(-(2**63)),
    Int64(-1),
    Int64(0),
    Int64(2**63 - 1),
    NEGATIVE_NAN,
    -math.inf,
    -2.5,
    -0.0,
    0,
    1,
    1.5,
    2**53,
    math.inf,
    math.nan,
    False,
    True,
    "",
    "\0",
    "a",
    "a\0",
    "aa",
    "\uffff",
    "\U0001f600",
    b"",
    b"\0",
    b"a",
    b"\xff",
    [],
    [None],
    [1],
    [1, 2],
    [2],
    {},
    {"a": 1},
    {"a": 1, "b": 0},
    {"a": 2},
    {"b": 0},
]


def test_one_of_every_kind_comes_in_the_order_of_values(write_project: Any) -> None:
    project = write_project(
        schema="from convexpy import define_schema, define_table, v\n"
        "schema = define_schema({'things': define_table({'value': v.optional(v.any()), 'place': v.number()})"
        ".index('by_value', ['value']).index('by_inner', ['value.a'])})\n"
    )
    places = list(range(len(IN_ORDER)))
    random.Random(3).shuffle(places)
    with TestBackend(project) as backend:
        for place in places:
            row = {"place": place} if IN_ORDER[place] is UNSET else {"place": place, "value": IN_ORDER[place]}
            insert(backend, "things", row)

        def read(ctx: MutationCtx, order: Any) -> list[int]:
            return [row["place"] for row in ctx.db.query("things").with_index("by_value").order(order)]

        def inner(ctx: MutationCtx) -> list[Any]:
            query = ctx.db.query("things").with_index("by_inner", lambda q: q.gt("value.a", UNSET))
            return [row["value"]["a"] for row in query]

        def equal_to(value: Any) -> list[int]:
            def read_equal(ctx: MutationCtx) -> list[int]:
                return [row["place"] for row in ctx.db.query("things").with_index("by_value", value=value)]

            return backend.run(read_equal)

        assert backend.run(lambda ctx: read(ctx, "asc")) == sorted(places)
        assert backend.run(lambda ctx: read(ctx, "desc")) == sorted(places, reverse=True)
        assert [equal_to(value) for value in IN_ORDER] == [[place] for place in sorted(places)]
        assert backend.run(inner) == [1, 1, 2], "where there is no `a`, or no object, it is missing"


def test_long_strings_with_a_long_common_prefix_keep_their_exact_order(backend: TestBackend) -> None:
    """Stored keys are cut at 400 bytes; the rows themselves then decide."""
    prefix = "x" * 3000
    long_names = [prefix + tail for tail in ("", "a", "ab", "b", "ba", "c")]
    insert(backend, "people", *({"name": name} for name in (*long_names[3:], *long_names[:3])))

    assert names(backend, "by_name") == long_names
    assert names(backend, "by_name", order="desc") == long_names[::-1]
    assert names(backend, "by_name", lambda q: q.eq("name", prefix + "ab")) == [prefix + "ab"]
    assert names(backend, "by_name", lambda q: q.gt("name", prefix + "ab").lt("name", prefix + "c")) == long_names[3:5]


# --- a transaction sees itself


def test_a_transaction_reads_its_own_writes_in_order(people: TestBackend) -> None:
    def change(ctx: MutationCtx) -> list[str]:
        rows = {row["name"]: row["_id"] for row in ctx.db.query("people")}
        ctx.db.delete(rows["bob"])
        ctx.db.patch(rows["dan"], {"team": "red", "age": 25})
        ctx.db.insert("people", {"name": "fay", "team": "red", "age": 27})
        ctx.db.patch(rows["ann"], {"age": 1})
        return [row["name"] for row in ctx.db.query("people").with_index("by_team_age", team="red")]

    assert people.run(change) == ["cid", "ann", "dan", "fay"]
    assert names(people, "by_team_age", lambda q: q.eq("team", "red")) == ["cid", "ann", "dan", "fay"]


def test_a_table_that_does_not_exist_is_empty_and_stays_so(backend: TestBackend) -> None:
    assert backend.run(lambda ctx: ctx.db.query("nowhere").collect()) == []
    assert backend.run(lambda ctx: ctx.db.query("nowhere").first()) is None

    with pytest.raises(ConvexpyError, match="Invalid table name"):
        backend.run(lambda ctx: ctx.db.query("no-name").collect())


# --- what is recorded as read


@pytest.mark.parametrize(
    ("read", "touching", "harmless"),
    [
        (lambda ctx: ctx.db.query("people").with_index("by_name").take(1), "aaa", "zed"),
        (lambda ctx: ctx.db.query("people").with_index("by_name").order("desc").first(), "zed", "aaa"),
        (lambda ctx: ctx.db.query("people").with_index("by_name", name="nobody").collect(), "nobody", "somebody"),
        (lambda ctx: ctx.db.query("people").filter(lambda q: q.eq(1, 2)).collect(), "any", None),
    ],
)
def test_only_what_was_consumed_is_depended_on(
    people: TestBackend,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[Any], Any],
    touching: str,
    harmless: str | None,
) -> None:
    """Rows that a filter has let go count too, and so does finding nothing."""

    def touched_by(name: str) -> bool:
        seen: list[Reads] = []

        def keep(ctx: Any) -> None:
            read(ctx)
            seen.append(ctx._host.transaction.reads())

        people.run(keep)
        before = people.runtime.published_ts
        insert(people, "people", {"name": name})
        return people.server.publisher.first_change_after(before, seen[0]) is not None

    assert touched_by(touching)
    if harmless is not None:
        assert not touched_by(harmless)


def test_limits_count_every_scanned_document(calls_application: Application) -> None:
    with TestBackend(calls_application, limits={"documents_read": 10}) as backend:
        insert(backend, "notes", *({"n": n} for n in range(11)))

        assert backend.run(lambda ctx: len(ctx.db.query("notes").take(10))) == 10
        assert "Too many documents read" in refusal(
            backend, lambda ctx: ctx.db.query("notes").filter(lambda q: q.eq(q.field("n"), 10)).first()
        )
