"""Texts of the user's that cannot be sent as they are: they must not take the reply, or the worker, with them."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from convexpy import ConvexError
from convexpy.errors import InvalidRequest
from convexpy.functions.application import Application
from convexpy.limits import ERROR_TEXT_CHARS_MAX, LOG_LINE_CHARS_MAX, FunctionLimits
from convexpy.runtime.failures import failure_of
from convexpy.runtime.log_capture import LogSink
from convexpy.testing import TestBackend

LIMITS = FunctionLimits()


class Mute(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_lone_surrogate_in_a_log_line_becomes_its_escape() -> None:
    sink = LogSink()

    sink.write("cut \ud83d emoji\n")
    sink.add("WARN", "\udcff.txt")

    assert sink.finish() == ["[LOG] cut \\ud83d emoji", "[WARN] \\udcff.txt"]
    msgspec.msgpack.encode(sink.finish())


def test_a_lone_surrogate_in_an_error_becomes_its_escape() -> None:
    failure = failure_of(ValueError("cut \ud83d emoji"), LIMITS)

    assert failure.message == "Uncaught ValueError: cut \\ud83d emoji"
    msgspec.msgpack.encode(failure.client_text("1", is_redacted=False))


def test_an_error_whose_text_cannot_be_had_is_named_all_the_same() -> None:
    assert failure_of(Mute(), LIMITS).message == "Uncaught Mute: <its text cannot be had: RuntimeError>"


@pytest.mark.parametrize("kind", [ValueError, InvalidRequest, ConvexError])
def test_the_middle_of_a_long_text_is_left_out(kind: type[Exception]) -> None:
    """What it begins and ends with is there, and how much is not."""
    whole = failure_of(kind("begin " + "x" * (ERROR_TEXT_CHARS_MAX - 40) + " end"), LIMITS).message
    cut = failure_of(kind("begin " + "x" * 10**7 + " end"), LIMITS).message

    assert len(whole) <= ERROR_TEXT_CHARS_MAX and "left out" not in whole
    head, mark, tail = cut.split(" … ")
    left_out = int(mark.removeprefix("(").removesuffix(" characters are left out here)"))
    assert len(head) == len(tail) == ERROR_TEXT_CHARS_MAX // 2
    assert len(head) + len(tail) + left_out == len(whole) - (ERROR_TEXT_CHARS_MAX - 40) + 10**7
    assert "begin xxx" in head and tail.endswith("xxx end")


def test_many_frames_are_cut_and_the_innermost_one_stays() -> None:
    def descend(depth: int) -> None:
        if depth == 0:
            raise ValueError("at the bottom")
        descend(depth - 1)

    with pytest.raises(ValueError, match="bottom") as caught:
        descend(500)

    frames = failure_of(caught.value, LIMITS).frames

    assert len(frames) < ERROR_TEXT_CHARS_MAX + 100
    assert "characters are left out here" in frames
    assert frames.endswith('raise ValueError("at the bottom")\n')


@pytest.mark.parametrize(("kind", "path"), [("query", "refuse"), ("action", "refuse_from_action")])
def test_data_of_an_error_is_bounded_like_a_result(
    calls_application: Application, kind: Literal["query", "action"], path: str
) -> None:
    """And is there as a whole or not at all."""
    with TestBackend(calls_application, limits={"result_bytes": 100_000}) as backend:
        most = "x" * (100_000 - 2)  # as Convex counts a string
        with pytest.raises(ConvexError) as caught:
            getattr(backend, kind)(f"calls:{path}", {"data": most})
        outcome = backend.outcome(kind, f"calls:{path}", {"data": most + "x"})

    assert caught.value.data == most
    assert outcome.error_data is None
    assert "Uncaught ConvexError with data that is too large (actual: 100001 bytes, limit: 100000 bytes)" in (
        outcome.error
    )


def test_what_is_kept_and_logged_of_a_failing_job_is_bounded(calls_application: Application) -> None:
    with TestBackend(calls_application) as backend:
        job = backend.run(lambda ctx: ctx.scheduler.run_after(0, "calls:fail_at_length"))
        backend.advance()
        row = backend.run(lambda ctx: ctx.db.system.get(job))

        assert row is not None
        assert 0 < len(row["state"]["error"]) < 2 * ERROR_TEXT_CHARS_MAX
        assert all(len(line) < LOG_LINE_CHARS_MAX + 100 for call in backend.calls for line in call.log_lines)
