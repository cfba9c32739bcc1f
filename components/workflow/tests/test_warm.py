"""Suspended handlers in memory, and what handlers print."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from convexpy_workflow.commands import Started
from convexpy_workflow.output import HandlerOutput
from convexpy_workflow.step import Step
from convexpy_workflow.warm import WarmRun, WarmRuns
from journal_driver import new_engine


def suspended(closed: list[str], name: str) -> WarmRun:
    async def handler(step: Step) -> Any:
        try:
            await step.run_mutation("app:f")
        finally:
            closed.append(name)

    engine = new_engine(handler)
    engine.feed(Started(0))
    return WarmRun(engine, HandlerOutput(), {"epoch": 0, "wave": 1, "nonce": name})


def test_the_run_used_least_recently_goes_first() -> None:
    closed: list[str] = []
    runs = WarmRuns(runs_max=2)
    for name in ("a", "b"):
        runs.put((1, name), suspended(closed, name))
    taken = runs.take((1, "a"))
    assert taken is not None
    runs.put((1, "a"), taken)
    runs.put((1, "c"), suspended(closed, "c"))

    assert closed == ["b"]
    assert runs.take((1, "b")) is None
    runs.clear()
    assert sorted(closed) == ["a", "b", "c"]


def test_putting_a_run_twice_closes_the_older_handler() -> None:
    closed: list[str] = []
    runs = WarmRuns()
    runs.put((1, "run"), suspended(closed, "old"))
    runs.put((1, "run"), suspended(closed, "new"))

    assert closed == ["old"]
    runs.clear()


def test_output_is_caught_in_order_and_written_once(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    output = HandlerOutput()
    with output.catching():
        print("one", 2)
        logging.getLogger("app").warning("three")
    assert (capsys.readouterr().out, caplog.messages) == ("", [])

    output.write()
    output.write()

    assert capsys.readouterr().out == "one 2\n"
    assert caplog.messages == ["three"]


def test_dropped_output_is_never_written(capsys: pytest.CaptureFixture[str]) -> None:
    output = HandlerOutput()
    with output.catching():
        print("replayed")
    output.drop()
    output.write()

    assert capsys.readouterr().out == ""
