"""Texts of the user's that cannot be sent as they are: they must not take the reply, or the worker, with them."""

from __future__ import annotations

import msgspec

from convexpy.runtime.failures import failure_of
from convexpy.runtime.log_capture import LogSink


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
    failure = failure_of(ValueError("cut \ud83d emoji"))

    assert failure.message == "Uncaught ValueError: cut \\ud83d emoji"
    msgspec.msgpack.encode(failure.client_text("1", is_redacted=False))


def test_an_error_whose_text_cannot_be_had_is_named_all_the_same() -> None:
    assert failure_of(Mute()).message == "Uncaught Mute: <its text cannot be had: RuntimeError>"
