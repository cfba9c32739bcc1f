"""What a call takes, gives back and raises, as clients and functions see it. Source: runtime-semantics 19, 1-21."""

from __future__ import annotations

from typing import Any

import pytest

from convexpy import ConvexError, ConvexpyError, Int64, api, internal
from convexpy.functions.application import Application
from convexpy.testing import ManualClock, TestBackend


def error_of(backend: TestBackend, function: Any, args: dict[str, Any] | None = None, kind: Any = "query") -> str:
    """The whole error text of a call that must fail."""
    outcome = backend.outcome(kind, function, args)
    assert not outcome.ok, outcome.value
    return outcome.error


# --- names, kinds and visibility


@pytest.mark.parametrize("operation", ["insert", "patch", "replace", "delete"])
def test_a_query_that_writes_is_told_what_may(backend: TestBackend, operation: str) -> None:
    """As an AttributeError, so that `hasattr` goes on telling what a ctx can do."""
    error = error_of(backend, "calls:write_in_query", {"operation": operation})

    assert (
        f"Uncaught AttributeError: 'DatabaseReader' object has no attribute '{operation}'. Queries only read: " in error
    )
    assert "decorate the function with @mutation" in error


def test_any_other_name_that_a_database_lacks_gets_no_such_hint(backend: TestBackend) -> None:
    error = error_of(backend, "calls:write_in_query", {"operation": "upsert"})

    assert "'DatabaseReader' object has no attribute 'upsert'\n" in error
    assert "@mutation" not in error


def test_a_missing_and_an_internal_function_look_alike_to_clients(backend: TestBackend) -> None:
    missing = backend.outcome("query", "calls:nowhere", is_admin=False)
    hidden = backend.outcome("query", "calls:hidden", is_admin=False)

    assert "Could not find public function for 'calls:nowhere'." in missing.error
    assert hidden.error.replace("hidden", "nowhere").splitlines()[1:] == missing.error.splitlines()[1:]
    assert backend.query(internal.calls.hidden) == "hidden"


def test_the_server_itself_is_told_that_a_function_is_missing(backend: TestBackend) -> None:
    assert "Could not find function for 'calls:nowhere'. Did you forget" in error_of(backend, "calls:nowhere")


def test_a_function_called_as_another_kind_does_not_run(backend: TestBackend) -> None:
    error = error_of(backend, api.calls.add, kind="query")

    assert "Trying to execute calls.js:add as Query, but it is defined as Mutation." in error
    assert backend.query("calls:count") == 0


def test_any_function_runs_what_its_name_stands_for(backend: TestBackend) -> None:
    from convexpy.runtime.interface import FunctionRequest

    for path, value in (("calls:nothing", b"null"), ("calls:increment", b"1.0"), ("calls:add_twice", b"[1.0,2.0]")):
        outcome = backend.do(backend.runtime.any_function(FunctionRequest(path=path, args=b"{}")))

        assert (outcome.ok, outcome.value) == (True, value)


# --- arguments and results


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ({}, "ArgumentValidationError: Object is missing the required field `name`."),
        ({"name": 5}, "ArgumentValidationError: Value does not match validator.\nPath: .name\nValue: 5.0"),
        ({"name": "a", "nick": "b"}, "ArgumentValidationError: Object contains extra field `nick`"),
        ({"name": "a", "limit": None}, "ArgumentValidationError: Value does not match validator.\nPath: .limit"),
    ],
)
def test_wrong_arguments_are_told(backend: TestBackend, args: dict[str, Any], problem: str) -> None:
    outcome = backend.outcome("query", "calls:greet", args)

    assert problem in outcome.error
    assert outcome.error_data is None


def test_an_optional_argument_may_be_left_out(backend: TestBackend) -> None:
    assert backend.query("calls:greet", {"name": "ab"}) == "ababab"
    assert backend.query("calls:greet", {"name": "ab", "limit": 1}) == "ab"


def test_no_arguments_means_none_at_all_and_no_validator_means_any(backend: TestBackend) -> None:
    assert "extra field `x`" in error_of(backend, "calls:nothing", {"x": 1})
    assert backend.query("calls:echo", {"x": 1, "class": [None]}) == {"x": 1, "class": [None]}


def test_a_result_that_returns_refuses_commits_nothing(backend: TestBackend) -> None:
    assert backend.mutation("calls:add_and_return", {"name": "fine"}) == "fine"

    error = error_of(backend, "calls:add_and_return", {"name": 5}, kind="mutation")

    assert "ReturnsValidationError: Value does not match validator." in error
    assert backend.query("calls:count") == 1


def test_returning_nothing_is_null(backend: TestBackend) -> None:
    assert backend.outcome("query", "calls:nothing").value == b"null"


def test_a_query_that_is_not_consumed_is_no_result(backend: TestBackend) -> None:
    assert "calls:give_query returned a Query. Consume it with .collect()" in error_of(backend, "calls:give_query")


def test_a_result_that_is_no_value_is_told_with_its_path(backend: TestBackend) -> None:
    error = error_of(backend, "calls:give_set")

    assert "The return value of calls:give_set is no Convex value: set {1, 2} is not a supported Convex type" in error
    assert "path .a" in error


def test_a_nested_result_that_is_no_value_names_the_nested_function(backend: TestBackend) -> None:
    error = error_of(backend, "calls:pass_on_a_set")

    assert "The return value of calls:give_set is no Convex value: " in error
    assert "pass_on_a_set is" not in error


# --- what is kept beyond its call

ENDED = "belongs to a call that has ended, and works only while that call runs. Use the ctx that the running function"
USES = ("get", "new query", "query of another table", "insert", "insert into another table", "patch", "delete")
USES_OF_CTX = ("run_query", "run_mutation", "run_after", "metrics", "paginate", "query", "iterator", "ids", "untouched")


@pytest.mark.parametrize("what", [*USES, *USES_OF_CTX])
def test_what_belongs_to_a_call_that_has_ended_cannot_be_used(backend: TestBackend, what: str) -> None:
    """Reads of it would be in no read set, and writes in no commit."""
    backend.mutation("calls:keep", {"stale": False})

    error = error_of(backend, "calls:use_kept", {"what": what}, kind="mutation")

    assert ENDED in error
    assert backend.query("calls:count") == 3


@pytest.mark.parametrize("what", ["get", "new query", "query", "iterator", "ids", "untouched"])
def test_neither_can_what_belongs_to_a_query(backend: TestBackend, what: str) -> None:
    for _ in range(3):
        backend.mutation("calls:add")
    backend.query("calls:keep_of_query")

    assert ENDED in error_of(backend, "calls:use_kept", {"what": what}, kind="mutation")


@pytest.mark.parametrize("keeper", ["keep_in_action", "keep_in_blocking_action"])
def test_neither_can_what_belongs_to_an_action(backend: TestBackend, keeper: str) -> None:
    """The server would leave such a question without an answer."""
    backend.action(f"calls:{keeper}")

    assert ENDED in error_of(backend, f"calls:use_{keeper}", kind="action")
    assert backend.query("calls:count") == 1


def test_a_query_at_a_stale_snapshot_ends_before_its_mutation(backend: TestBackend) -> None:
    """What it has kept is of no use to the mutation, whose snapshot is still open."""
    for _ in range(3):
        backend.mutation("calls:add")

    assert ENDED in error_of(backend, "calls:keep", {"stale": True}, kind="mutation")


# --- errors


@pytest.mark.parametrize(
    "data", ["plain", 5, 2.5, True, None, {"code": "full", "of": [1, {"x": None}]}, Int64(2**60), b"\x00\xff"]
)
def test_the_data_of_a_convex_error_arrives_as_it_was(backend: TestBackend, data: Any) -> None:
    """Straight, across a nested call, and across an action, a mutation and a query."""
    for kind, path in (("query", "refuse"), ("mutation", "refuse_nested"), ("action", "refuse_from_action")):
        with pytest.raises(ConvexError) as caught:
            getattr(backend, kind)(f"calls:{path}", {"data": data})

        assert caught.value.data == data
        assert type(caught.value.data) is type(data)


def test_a_subclass_of_convex_error_shows_its_own_name(backend: TestBackend) -> None:
    outcome = backend.outcome("query", "calls:refuse_as_subclass", {"data": {"why": "late"}})

    assert 'Uncaught Refusal: {"why":"late"}' in outcome.error
    assert outcome.error_data == b'{"why":"late"}'


def test_data_that_is_no_value_is_told_instead(backend: TestBackend) -> None:
    error = error_of(backend, "calls:refuse_with_a_set")

    assert "Uncaught ConvexError with data that is no value" in error


def test_an_ordinary_exception_is_shown_in_development_with_the_users_frames(backend: TestBackend) -> None:
    first, second, *rest = error_of(backend, "calls:fail").splitlines()

    assert first.startswith("[Request ID: ") and first.endswith("] Server Error")
    assert second == "Uncaught ValueError: no such luck"
    assert "fail (calls_app/calls.py:" in rest[0]
    assert "convexpy" not in "".join(rest)


def test_production_keeps_texts_and_logs_but_not_data(calls_application: Application) -> None:
    with TestBackend(calls_application, is_redacted=True) as backend:
        ordinary = backend.outcome("query", "calls:fail")
        own = backend.outcome("query", "calls:refuse", {"data": "seen"})
        logged = backend.outcome("query", "calls:print_lines", {"lines": 2})
        in_action = backend.action("calls:catch_failing_query")

    assert len(ordinary.error.splitlines()) == 1 and ordinary.error.endswith("Server Error")
    assert own.error_data == b'"seen"' and "seen" not in own.error
    assert logged.ok and logged.log_lines == []
    assert "no such luck" in in_action, "an action is on the server's side of the curtain"


def test_an_action_sees_a_nested_failure_as_an_exception(backend: TestBackend) -> None:
    text = backend.action("calls:catch_failing_query")

    assert text.startswith("CalledFunctionFailed: Uncaught ValueError: no such luck")


def test_endless_recursion_is_a_depth_error(backend: TestBackend) -> None:
    backend.mutation("calls:recurse", {"depth": 7})

    assert "Cross component call depth limit exceeded" in error_of(
        backend, "calls:recurse", {"depth": 8}, kind="mutation"
    )
    assert "Cross component call depth limit exceeded" in error_of(
        backend, "calls:recurse_for_ever", {"depth": 0}, kind="mutation"
    )


def test_a_banned_thing_says_what_to_use_instead(backend: TestBackend) -> None:
    assert "Can't use open() in queries and mutations. Please consider using an action." in error_of(
        backend, "calls:open_file"
    )


# --- logs


def test_print_and_logging_have_their_levels(backend: TestBackend) -> None:
    assert backend.outcome("query", "calls:log_all_ways").log_lines == [
        "[DEBUG] d 1",
        "[INFO] i",
        "[WARN] w",
        "[ERROR] e",
        "[LOG] a-b!",
        "[LOG] unfinished",
    ]


@pytest.mark.parametrize("path", ["log_in_action", "log_in_thread"])
def test_actions_log_too(backend: TestBackend, path: str) -> None:
    assert backend.outcome("action", f"calls:{path}").log_lines[0].startswith("[LOG] from ")


def test_256_log_lines_are_kept_and_the_rest_is_told(backend: TestBackend) -> None:
    full = backend.outcome("query", "calls:print_lines", {"lines": 256}).log_lines
    over = backend.outcome("query", "calls:print_lines", {"lines": 300}).log_lines
    nested = backend.outcome("query", "calls:print_nested", {"lines": 256}).log_lines

    assert len(full) == 256 and full[-1] == "[LOG] line 255"
    assert len(over) == 257
    assert over[-1] == "[ERROR] Log overflow (maximum 256). Remaining log lines omitted."
    assert nested[0] == "[LOG] outer" and len(nested) == 257


def test_what_a_test_prints_itself_goes_where_it_always_went(
    backend: TestBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.query("calls:print_lines", {"lines": 1})
    print("the test's own")

    assert capsys.readouterr().out == "the test's own\n"


# --- time and randomness


def test_time_stands_still_in_a_call_and_its_children(backend: TestBackend) -> None:
    before = backend.query("calls:clock")
    backend.advance(15.5)  # until then a result that has read the clock may be shown again
    after = backend.query("calls:clock")

    assert before["own"] == before["again"] == before["nested"] == before["ctx"] / 1000
    assert after["own"] == before["own"] + 15.5


def test_time_is_the_manual_clock(calls_application: Application) -> None:
    with TestBackend(calls_application, clock=ManualClock(1_000_000_000)) as backend:
        assert backend.query("calls:clock_once") == 1_000_000_000


def test_what_was_read_at_import_does_not_change(backend: TestBackend) -> None:
    before = backend.query("calls:at_import")
    backend.advance(100)

    assert backend.query("calls:at_import") == before


def test_random_numbers_differ_within_a_call_and_repeat_with_the_seed(calls_application: Application) -> None:
    def draws(seed: int) -> dict[str, float]:
        with TestBackend(calls_application, seed=seed) as backend:
            return dict(backend.query("calls:draws"))

    assert len(set(draws(1).values())) == 3
    assert draws(1) == draws(1)
    assert set(draws(1).values()).isdisjoint(draws(2).values())


def test_the_same_seed_gives_the_same_ids(calls_application: Application) -> None:
    ids = []
    for _ in range(2):
        with TestBackend(calls_application, seed=7) as backend:
            ids.append(backend.mutation("calls:add"))

    assert ids[0] == ids[1]


# --- limits


@pytest.mark.parametrize(
    ("limits", "rows", "problem"),
    [
        ({"documents_read": 3}, 3, "Too many documents read in a single function execution (limit: 3)"),
        ({"bytes_read": 400}, 3, "Too many bytes read in a single function execution (limit: 400 bytes)"),
        ({"ranges_read": 3}, 3, "Too many reads in a single function execution (limit: 3)"),
        ({"documents_written": 3}, 3, "Too many writes in a single function execution (limit: 3)"),
        ({"bytes_written": 400}, 3, "Too many bytes written in a single function execution (limit: 400 bytes)"),
    ],
)
def test_each_bound_has_its_own_text(
    calls_application: Application, limits: dict[str, float], rows: int, problem: str
) -> None:
    """As many as the bound says are fine; one more is not."""
    is_about_reads = "read" in problem
    with TestBackend(calls_application, limits=limits if not is_about_reads else {}) as backend:
        if not is_about_reads:
            backend.run(lambda ctx: [ctx.db.insert("teams", {"title": "x"}) for _ in range(rows - 1)])
            with pytest.raises(ConvexpyError) as caught:
                backend.run(lambda ctx: [ctx.db.insert("teams", {"title": "x" * 60}) for _ in range(rows + 1)])
            assert problem in str(caught.value)
            assert len(backend.run(lambda ctx: ctx.db.query("teams").collect())) == rows - 1
            return
    name = next(iter(limits))
    with TestBackend(calls_application, limits=limits) as backend:
        ids = [backend.run(lambda ctx: ctx.db.insert("teams", {"title": "x" * 60})) for _ in range(rows + 1)]
        count = 1 if name == "bytes_read" else rows - 1
        assert backend.run(lambda ctx: [ctx.db.get(id) for id in ids[:count]])

        with pytest.raises(ConvexpyError) as caught:
            if name == "documents_read":
                backend.run(lambda ctx: ctx.db.query("teams").collect())
            else:
                backend.run(lambda ctx: [ctx.db.get(id) for id in ids])

        assert problem in str(caught.value)


def test_arguments_and_results_have_a_size(calls_application: Application) -> None:
    with TestBackend(calls_application, limits={"args_bytes": 200}) as backend:
        assert backend.query("calls:echo", {"x": "a" * 100})
        assert "Arguments for calls:echo are too large (actual: " in error_of(backend, "calls:echo", {"x": "a" * 200})
    with TestBackend(calls_application, limits={"result_bytes": 200}) as backend:
        error = error_of(backend, "calls:echo", {"x": "a" * 300})
        assert "The result of calls:echo is too large (actual: 306 bytes, limit: 200 bytes)" in error


# --- nested calls


def test_a_failing_child_that_is_caught_takes_only_its_own_writes_along(backend: TestBackend) -> None:
    assert backend.mutation("calls:survive_failing_child") == "after the writes"

    assert backend.run(lambda ctx: [row["name"] for row in ctx.db.query("notes")]) == ["kept"]
    assert backend.run(lambda ctx: ctx.db.query("brand_new").collect()) == []


def test_a_failing_parent_takes_its_children_along(backend: TestBackend) -> None:
    with pytest.raises(ConvexpyError, match="Uncaught ValueError: the parent"):
        backend.mutation("calls:fail_after_child")

    assert backend.query("calls:count") == 0


@pytest.mark.parametrize("path", ["add_twice", "add_twice_blocking"])
def test_every_call_of_an_action_is_a_transaction_of_its_own(backend: TestBackend, path: str) -> None:
    assert backend.action(f"calls:{path}") == [1, 2]


def test_mutations_that_race_all_take_effect(backend: TestBackend) -> None:
    """They read the counter side by side, so all but one lose at least once; nobody sees it."""
    assert backend.action("calls:increment_side_by_side") == [1, 2, 3, 4, 5]
    assert backend.runtime.conflicts > 0


# --- identity


def test_identity_is_seen_by_functions_and_what_they_call(backend: TestBackend) -> None:
    ann = backend.with_identity({"subject": "ann", "name": "Ann"})

    assert backend.query("calls:who") is None
    assert ann.query("calls:who") == {
        "issuer": "https://test.invalid",
        "name": "Ann",
        "subject": "ann",
        "tokenIdentifier": "https://test.invalid|ann",
    }
    assert [who["subject"] for who in ann.action("calls:who_in_action")] == ["ann", "ann"]


def test_a_handle_stays_the_same_and_can_be_called(backend: TestBackend) -> None:
    first, second = backend.query("calls:handle"), backend.query("calls:handle")
    backend.restart()

    assert first == second == backend.query("calls:handle")
    assert backend.mutation(first)
    assert backend.query("calls:count") == 1


def test_run_raises_what_was_raised_and_commits_nothing(backend: TestBackend) -> None:
    class Unusual(Exception):
        pass

    def write_and_raise(ctx: Any) -> None:
        ctx.db.insert("notes", {})
        raise Unusual

    with pytest.raises(Unusual):
        backend.run(write_and_raise)

    assert backend.query("calls:count") == 0
