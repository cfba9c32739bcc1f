"""Each bound of functions: what just fits passes, with one less it is refused; texts and defaults are Convex's.

Source of values and texts: runtime-semantics 1.9.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from convexpy import limits
from convexpy.errors import ConvexpyError, InvalidRequest
from convexpy.functions.application import Application
from convexpy.limits import KIB, MIB, FunctionLimits
from convexpy.testing import TestBackend
from convexpy.values import size_of

Work = Callable[[Any], object]
NOTES = 6


def read_notes(ctx: Any) -> None:
    ctx.db.query("notes").take(5)


def read_here_and_there(ctx: Any) -> None:
    for number in range(5):
        ctx.db.query("notes").with_index("by_creation_time", lambda q, n=number: q.eq("_creationTime", -n)).first()


def write_notes(ctx: Any) -> None:
    for number in range(5):
        ctx.db.insert("notes", {"name": "x" * number})


def schedule_calls(ctx: Any) -> None:
    for _ in range(5):
        ctx.scheduler.run_after(0, "calls:add_and_return", {"name": "x" * 10})


EXECUTION = "in a single function execution"
BOUNDS: dict[str, tuple[str, Work, str]] = {
    # bound: its name in ctx.meta, work, text
    "documents_read": ("documentsRead", read_notes, f"Too many documents read {EXECUTION} (limit: {{most}})."),
    "bytes_read": ("bytesRead", read_notes, f"Too many bytes read {EXECUTION} (limit: {{most}} bytes)."),
    "ranges_read": ("databaseQueries", read_here_and_there, f"Too many reads {EXECUTION} (limit: {{most}})."),
    "documents_written": ("documentsWritten", write_notes, f"Too many writes {EXECUTION} (limit: {{most}})."),
    "bytes_written": ("bytesWritten", write_notes, f"Too many bytes written {EXECUTION} (limit: {{most}} bytes)."),
    "functions_scheduled": (
        "functionsScheduled",
        schedule_calls,
        "Too many functions scheduled by this mutation (limit: {most}).",
    ),
    "scheduled_args_bytes": (
        "scheduledFunctionArgsBytes",
        schedule_calls,
        "Too large total size of the arguments of scheduled functions from this mutation (limit: {most} bytes).",
    ),
}


def with_notes(application: Application, **bounds: float) -> TestBackend:
    """A backend with these bounds and a few documents, each of its own transaction."""
    backend = TestBackend(application, limits=bounds).__enter__()
    for _ in range(NOTES):
        backend.mutation("calls:add")
    return backend


def used(application: Application, metric: str, work: Work) -> int:
    """How much of a bound some work takes."""

    def measure(ctx: Any) -> int:
        work(ctx)
        found: int = ctx.meta.transaction_metrics()[metric]["used"]
        return found

    backend = with_notes(application)
    try:
        return backend.run(measure)
    finally:
        backend.__exit__(None, None, None)


@pytest.mark.parametrize("name", BOUNDS)
def test_what_just_fits_passes_and_with_one_less_it_is_refused(calls_application: Application, name: str) -> None:
    metric, work, text = BOUNDS[name]
    most = used(calls_application, metric, work)
    assert most > 1

    backend = with_notes(calls_application, **{name: most})
    backend.run(work)
    backend.__exit__(None, None, None)

    backend = with_notes(calls_application, **{name: most - 1})
    with pytest.raises(InvalidRequest) as refusal:
        backend.run(work)
    backend.__exit__(None, None, None)
    assert str(refusal.value).startswith(text.format(most=most - 1))


@pytest.mark.parametrize("name", [name for name in BOUNDS if name != "ranges_read"])
def test_a_function_that_catches_the_refusal_has_not_got_round_the_bound(
    calls_application: Application, name: str
) -> None:
    metric, work, _ = BOUNDS[name]
    most = used(calls_application, metric, work)

    def stubborn(ctx: Any) -> dict[str, int]:
        for _ in range(3):
            with contextlib.suppress(ConvexpyError):
                work(ctx)
        found: dict[str, int] = ctx.meta.transaction_metrics()[metric]
        return found

    backend = with_notes(calls_application, **{name: most - 1})
    left = backend.run(stubborn)
    backend.__exit__(None, None, None)

    assert left["used"] <= most - 1 and left["remaining"] >= 0


@pytest.mark.parametrize(("name", "function"), [("args_bytes", "Arguments for"), ("result_bytes", "The result of")])
def test_arguments_and_results(calls_application: Application, name: str, function: str) -> None:
    value = "x" * 1000
    most = size_of({"value": value})

    with TestBackend(calls_application, limits={name: most}) as backend:
        assert backend.query("calls:echo", {"value": value}) == {"value": value}
    narrow = TestBackend(calls_application, limits={name: most - 1})
    with narrow as backend, pytest.raises(ConvexpyError, match=f"{function} calls:echo"):
        backend.query("calls:echo", {"value": value})


def test_tables(calls_application: Application) -> None:
    with TestBackend(calls_application) as roomy:
        there_are = roomy.run(lambda ctx: len(ctx._host.transaction.catalog.by_name))

    with TestBackend(calls_application, limits={"tables": there_are + 2}) as backend:
        backend.run(lambda ctx: [ctx.db.insert(name, {}) for name in ("first", "second")])
        with pytest.raises(InvalidRequest, match=r"Too many tables in this deployment \(limit: \d+\), so 'third' was"):
            backend.run(lambda ctx: ctx.db.insert("third", {}))
        assert backend.run(lambda ctx: ctx.db.insert("second", {})), "those that there are can be written"


def test_writes_and_rows_of_the_platform_are_not_counted_as_reads(calls_application: Application) -> None:
    """Their places are in the read set, since another commit may take them, but nobody has looked there."""
    with TestBackend(calls_application, limits={"ranges_read": 3}) as backend:

        def work(ctx: Any) -> int:
            ids = [ctx.db.insert("notes", {"name": "x"}) for _ in range(10)]
            assert ctx.db.get(ids[0]) is not None
            used: int = ctx.meta.transaction_metrics()["databaseQueries"]["used"]
            return used

        backend.run(lambda ctx: write_notes(ctx))
        assert backend.run(work) == 1


def test_rows_of_the_platform_are_not_charged_to_functions(calls_application: Application) -> None:
    """Scheduled functions have a bound of their own, and a new table is a row of the catalog."""
    with TestBackend(calls_application, limits={"documents_written": 1, "bytes_written": 200}) as backend:

        def work(ctx: Any) -> Any:
            ctx.db.insert("brand_new", {"name": "x"})
            for _ in range(20):
                ctx.scheduler.run_after(0, "calls:add")
            return ctx.meta.transaction_metrics()["documentsWritten"]

        assert backend.run(work) == {"used": 1, "remaining": 0}


def test_on_complete_has_bounds_of_its_own(calls_application: Application) -> None:
    with TestBackend(calls_application, limits={"documents_written": 5}) as backend:
        backend.run(lambda ctx: ctx.scheduler.run_after(0, "calls:add_five", on_complete="calls:add_five"))
        backend.advance()

        assert backend.query("calls:count") == 10


@pytest.mark.parametrize("kind", ["mutation", "action"])
def test_on_complete_is_bound(calls_application: Application, kind: str) -> None:
    """Beyond its bound its writes go, and it is tried again later."""
    function = "calls:add_five" if kind == "mutation" else "calls:act"
    with TestBackend(calls_application, limits={"documents_written": 5}) as backend:
        backend.run(lambda ctx: ctx.scheduler.run_after(0, function, on_complete="calls:add_six"))
        backend.advance()

        assert backend.query("calls:count") == (5 if kind == "mutation" else 0)
        assert any("Too many writes" in line for call in backend.calls for line in call.log_lines)


def test_the_defaults_are_convexs() -> None:
    assert asdict(FunctionLimits()) == {
        "timeout_seconds": 1.0,
        "action_timeout_seconds": 600.0,
        "memory_bytes": 512 * MIB,  # Python needs more than a JavaScript isolate's 64
        "args_bytes": 16 * MIB,
        "result_bytes": 16 * MIB,
        "documents_read": 32_000,
        "bytes_read": 16 * MIB,
        "ranges_read": 4096,
        "documents_written": 16_000,
        "bytes_written": 16 * MIB,
        "functions_scheduled": 1000,
        "scheduled_args_bytes": 16 * MIB,
        "functions_together": 32,  # ours
        "functions_pending": 1_000_000,
        "tables": 10_000,
    }
    assert (limits.DOCUMENT_BYTES_MAX, limits.DOCUMENT_DEPTH_MAX) == (1 * MIB, 16)
    assert (limits.VALUE_BYTES_MAX, limits.VALUE_DEPTH_MAX) == (32 * MIB, 64)
    assert (limits.OBJECT_FIELDS_MAX, limits.ARRAY_ITEMS_MAX) == (1024, 8192)
    assert (limits.IDENTIFIER_CHARS_MAX, limits.FIELD_NAME_CHARS_MAX) == (64, 1024)
    assert (limits.INDEXES_MAX, limits.INDEX_FIELDS_MAX) == (64, 16)
    assert (limits.LOG_LINES_MAX, limits.LOG_LINE_CHARS_MAX) == (256, 32 * KIB)
    assert limits.HTTP_ACTION_BODY_BYTES_MAX == 20 * MIB
    assert limits.SCHEDULED_FUNCTION_ARGS_BYTES_WARN == 4 * MIB


# --- documents and values; their texts are in tests/values


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


FITS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # what: a document that just fits, one that does not, the text
    "bytes": (
        {"a": "x" * (MIB - 61 - 6)},
        {"a": "x" * (MIB - 61 - 5)},
        r"Value is too large \(1048577 bytes > maximum size 1 MiB\)",
    ),
    "depth": (
        {"a": nested(15)},
        {"a": nested(16)},
        r"Document is too nested \(nested 17 levels deep",
    ),
    "fields": (
        {f"f{n}": 1 for n in range(1024)},
        {f"f{n}": 1 for n in range(1025)},
        r"Object has too many fields \(1025 > maximum number 1024\)",
    ),
    "items": ({"a": [1] * 8192}, {"a": [1] * 8193}, r"Array length is too long \(8193 > maximum length 8192\)"),
    "field name": ({"a" * 64: 1}, {"a" * 65: 1}, "Field name 'a+' is not allowed at the top of a document"),
    "inner field name": (
        {"a": {"b" * 1024: 1}},
        {"a": {"b" * 1025: 1}},
        r"Field 'b+'… is too long \(1025 > maximum 1024\)",
    ),
}


@pytest.mark.parametrize("what", FITS)
def test_documents(backend: TestBackend, what: str) -> None:
    fits, does_not, text = FITS[what]
    backend.run(lambda ctx: ctx.db.insert("anything", fits))
    with pytest.raises(InvalidRequest, match=text):
        backend.run(lambda ctx: ctx.db.insert("anything", does_not))
