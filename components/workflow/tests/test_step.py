"""The step object's options, and what a handler may not do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from convexpy_workflow.commands import Failure, StartStep, Success
from convexpy_workflow.errors import DeterminismError, EventError, NotAllowedInWorkflow
from convexpy_workflow.events import define_event
from convexpy_workflow.replay import replay
from convexpy_workflow.retries import BACK_OFF_MS_MAX, Retry, choose_retry, to_milliseconds
from convexpy_workflow.step import Step
from journal_driver import DrivenRun, new_engine


def first_step(handler: Any) -> StartStep:
    return DrivenRun(handler, start_ms=1_000_000).journal.steps[0].step


def test_names_default_to_the_function_path() -> None:
    async def handler(step: Step) -> Any:
        await asyncio.gather(step.run_query("a:f"), step.run_query("a:f", name="pinned"), step.sleep(1))

    steps = [recorded.step for recorded in DrivenRun(handler).journal.steps]
    assert [(step.name, step.is_named) for step in steps] == [("a:f", False), ("pinned", True), ("sleep", False)]


@pytest.mark.parametrize("duration", [1.5, timedelta(milliseconds=1500)])
def test_sleep_takes_seconds_and_timedeltas(duration: float | timedelta) -> None:
    async def handler(step: Step) -> Any:
        await step.sleep(duration)

    assert first_step(handler).duration_ms == 1500


def test_sleep_until_and_run_at_take_aware_instants() -> None:
    instant = datetime.fromtimestamp(1_060, tz=UTC)

    async def handler(step: Step) -> Any:
        await asyncio.gather(step.sleep_until(instant), step.run_query("a:f", run_at=instant))

    steps = [recorded.step for recorded in DrivenRun(handler, start_ms=1_000_000).journal.steps]
    assert (steps[0].duration_ms, steps[1].delay_ms) == (60_000, 60_000)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"run_after": 1, "run_at": datetime.now(UTC)}, "exclude each other"),
        ({"inline": True, "run_after": 0}, "Cannot combine `inline` with `run_at` or `run_after`."),
        ({"run_at": datetime(2030, 1, 1)}, "has no time zone"),
        ({"run_after": -1}, "not negative"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], text: str) -> None:
    async def handler(step: Step) -> Any:
        await step.run_mutation("a:f", **options)

    outcome = DrivenRun(handler).outcome
    assert isinstance(outcome, Failure)
    assert text in outcome.error


def test_retry_of_a_call_wins_over_with_options_and_touches_actions_only() -> None:
    async def handler(step: Step) -> Any:
        eager = step.with_options(retry=Retry(attempts=9), unstable_args=True)
        await asyncio.gather(
            eager.run_action("a:f"),
            eager.run_action("a:f", retry=Retry(attempts=2)),
            eager.run_action("a:f", retry=False, unstable_args=False),
            step.run_action("a:f", retry=True),
            step.run_action("a:f"),
            eager.run_mutation("a:f"),
        )

    steps = [recorded.step for recorded in DrivenRun(handler).journal.steps]
    assert [step.retry and step.retry["maxAttempts"] for step in steps] == [9, 2, None, 5, None, None]
    assert [step.has_unstable_args for step in steps] == [True, True, False, False, False, True]


REFUSALS: dict[str, tuple[Callable[[], Awaitable[Any]], str]] = {
    "asyncio.to_thread": (lambda: asyncio.to_thread(print), "step.run_action"),
    "asyncio.open_connection": (lambda: asyncio.open_connection("localhost", 1), "step.run_action"),
    "asyncio.create_subprocess_exec": (lambda: asyncio.create_subprocess_exec("true"), "step.run_action"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_the_outside_world_is_refused_with_the_way_to_reach_it(what: str) -> None:
    call, instead = REFUSALS[what]

    async def handler(step: Step) -> Any:
        await call()

    outcome = DrivenRun(handler).outcome
    assert isinstance(outcome, Failure)
    assert outcome.error.startswith("NotAllowedInWorkflow: `loop.")
    assert instead in outcome.error


@pytest.mark.parametrize("method", ["stop", "close", "run_forever", "call_soon_threadsafe", "set_task_factory"])
def test_the_loop_itself_is_not_the_handlers(method: str) -> None:
    async def handler(step: Step) -> Any:
        try:
            getattr(asyncio.get_running_loop(), method)()
        except NotAllowedInWorkflow as error:
            return str(error)

    outcome = DrivenRun(handler).outcome
    assert isinstance(outcome, Success)
    assert f"`loop.{method}` is not allowed" in outcome.value


def test_the_wait_before_a_retry_grows_and_is_spread() -> None:
    retry = Retry(attempts=3, initial=0.5, base=2)

    assert [retry.delay_ms(failures, 0.5) for failures in (1, 2, 3)] == [500, 1000, 2000]
    assert (retry.delay_ms(1, 0.0), retry.delay_ms(1, 0.999)) == (250, 750)
    assert Retry.from_fields(retry.to_fields()) == Retry(3, timedelta(milliseconds=500), 2.0)


@pytest.mark.parametrize("failures", [40, 2_000])
def test_a_wait_that_has_doubled_often_is_a_year(failures: int) -> None:
    """The scheduler takes it, however many attempts a policy has."""
    assert (
        Retry(attempts=10_000).delay_ms(failures, 0.5)
        == BACK_OFF_MS_MAX
        == timedelta(days=365) / timedelta(milliseconds=1)
    )
    assert Retry(attempts=10_000, initial=0).delay_ms(failures, 0.5) == 0


@pytest.mark.parametrize(
    ("choice", "is_default_on", "attempts"),
    [(None, False, None), (None, True, 5), (True, False, 5), (False, True, None), (Retry(2), False, 2)],
)
def test_what_retry_means(choice: bool | Retry | None, is_default_on: bool, attempts: int | None) -> None:
    chosen = choose_retry(choice, Retry(), is_default_on)
    assert (chosen and chosen.attempts) == attempts


@pytest.mark.parametrize("options", [{"attempts": 0}, {"base": 0.5}, {"initial": -1}, {"base": float("nan")}])
def test_policies_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Retry\("):
        Retry(**options)


@pytest.mark.parametrize("duration", [True, "1", None])
def test_durations_are_numbers_or_timedeltas(duration: Any) -> None:
    with pytest.raises(TypeError, match="a timedelta or a number of seconds"):
        to_milliseconds(duration)


def test_a_wait_is_named_after_its_event_or_its_id() -> None:
    async def handler(step: Step) -> Any:
        await asyncio.gather(
            step.await_event("paid"),
            step.await_event(define_event("paid"), event_id="e1"),
            step.await_event(event_id="e1"),
            step.await_event("paid", name="the money"),
        )

    steps = [recorded.step for recorded in DrivenRun(handler).journal.steps]
    assert [(step.name, step.args, step.is_named) for step in steps] == [
        ("paid", {"name": "paid"}, False),
        ("paid", {"name": "paid", "eventId": "e1"}, False),
        ("e1", {"eventId": "e1"}, False),
        ("the money", {"name": "paid"}, True),
    ]


def test_another_event_does_not_fit_the_journal() -> None:
    def waiter(event: str) -> Callable[[Step], Awaitable[Any]]:
        async def handler(step: Step) -> Any:
            return await step.await_event(event, name="answer")

        return handler

    run = DrivenRun(waiter("yes"))
    with pytest.raises(DeterminismError, match=r"its arguments changed at \$\.name\.") as caught:
        replay(new_engine(waiter("no")), run.journal)
    assert "recorded: event named 'answer' with args {'name': 'yes'}" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "Name is required if eventId is not specified"),
        ({"event": ""}, "An event is a name or what define_event made, not ''."),
        ({"event": 7}, "An event is a name or what define_event made, not 7."),
    ],
)
def test_a_wait_says_what_it_waits_for(arguments: dict[str, Any], text: str) -> None:
    async def handler(step: Step) -> Any:
        await step.await_event(**arguments)

    outcome = DrivenRun(handler).outcome
    assert isinstance(outcome, Failure)
    assert outcome.error == f"EventError: {text}"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("",), "An event has a name that is not empty, not ''."),
        (("paid", bool), "Event 'paid' takes a convexpy validator such as v.boolean(), not <class 'bool'>."),
    ],
)
def test_an_event_is_defined_with_a_name_and_a_validator(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(EventError) as caught:
        define_event(*arguments)
    assert str(caught.value) == text
