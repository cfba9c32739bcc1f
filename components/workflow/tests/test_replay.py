"""A journal met by other code: what differs, and what the error says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from convexpy_workflow.commands import Finish, Success
from convexpy_workflow.errors import DeterminismError
from convexpy_workflow.replay import Journal, find_difference, is_same_value, replay
from convexpy_workflow.step import Step
from journal_driver import DrivenRun, new_engine

Handler = Callable[[Step], Awaitable[Any]]


async def recorded_handler(step: Step) -> Any:
    user = await step.run_query("users:get", {"id": "u1"})
    await step.run_mutation("emails:send", {"to": user})
    await step.sleep(60)
    await step.run_action("llm:call", {"n": [1, {"deep": True}]})


def recorded_journal() -> Journal:
    run = DrivenRun(recorded_handler)
    for position in range(3):
        run.resolve(position, "ann")
    return run.journal


def replay_with(handler: Handler, journal: Journal | None = None) -> DeterminismError:
    with pytest.raises(DeterminismError) as caught:
        replay(new_engine(handler), journal or recorded_journal())
    return caught.value


def test_the_error_names_step_recorded_and_expected_function() -> None:
    async def handler(step: Step) -> Any:
        user = await step.run_query("users:get", {"id": "u1"})
        await step.run_action("llm:profile", {"user": user})

    error = replay_with(handler)

    assert (error.position, error.difference) == (1, "kind")
    assert str(error).splitlines()[:3] == [
        "Step 1 does not fit the journal (kind): its kind was mutation, and is action now.",
        "  recorded: mutation emails:send with args {'to': 'ann'}",
        "  expected by the code now: action llm:profile with args {'user': 'ann'}",
    ]
    assert error.to_fields()["recorded"]["function"] == "emails:send"


def steps(*calls: Callable[[Step], Awaitable[Any]]) -> Handler:
    async def handler(step: Step) -> Any:
        for call in calls:
            await call(step)

    return handler


def get(step: Step) -> Coroutine[Any, Any, Any]:
    return step.run_query("users:get", {"id": "u1"})


def send(step: Step) -> Coroutine[Any, Any, Any]:
    return step.run_mutation("emails:send", {"to": "ann"})


@pytest.mark.parametrize(
    ("handler", "position", "difference"),
    [
        (steps(lambda s: s.run_query("users:find", {"id": "u1"})), 0, "function"),
        (steps(lambda s: s.run_query("users:get", {"id": "u1"}, name="user")), 0, "name"),
        (steps(lambda s: s.run_query("users:get", {"id": "u2"})), 0, "args"),
        (steps(lambda s: s.run_query("users:get", {"id": "u1"}, inline=True)), 0, "inline"),
        (steps(get, send, lambda s: s.sleep(61)), 2, "duration"),
        (steps(get, lambda s: s.sleep(60)), 1, "kind"),
        (steps(get, send), 2, "missing"),
        (steps(), 0, "missing"),
        (steps(lambda s: asyncio.gather(get(s), send(s))), 1, "unexpected"),
        (steps(get, lambda s: asyncio.sleep(60)), 1, "missing"),
    ],
)
def test_every_difference_is_found_at_its_step(handler: Handler, position: int, difference: str) -> None:
    error = replay_with(handler)
    assert (error.position, error.difference) == (position, difference)


def test_a_difference_deep_in_the_arguments_is_named_by_its_path() -> None:
    handler = steps(get, send, lambda s: s.sleep(60), lambda s: s.run_action("llm:call", {"n": [1, {"deep": 1}]}))
    assert "changed at $.n[1].deep" in str(replay_with(handler))


def test_unstable_args_are_not_compared_but_names_are() -> None:
    async def handler(step: Step) -> Any:
        await step.run_query("users:get", {"id": "other"}, unstable_args=True)
        await step.run_mutation("emails:post", {"to": "ann"}, unstable_args=True)

    error = replay_with(handler)
    assert (error.position, error.difference) == (1, "function")


def test_a_pinned_name_lets_a_function_move() -> None:
    run = DrivenRun(steps(lambda s: s.run_query("old:path", name="find user"), send))
    run.resolve(0)

    moved = steps(lambda s: s.run_query("new:path", name="find user"), send)

    assert replay(new_engine(moved), run.journal) == []


def test_an_edited_timeout_is_found() -> None:
    def sleeper(seconds: float) -> Handler:
        async def handler(step: Step) -> Any:
            await asyncio.sleep(seconds)
            await send(step)

        return handler

    run = DrivenRun(sleeper(5))
    run.fire()
    error = replay_with(sleeper(6), run.journal)

    assert (error.position, error.difference) == (None, "timer")
    assert "fired with deadline 6000 ms, but its deadline is 7000 ms now" in str(error)


def test_another_withdrawal_is_found() -> None:
    def racer(gives_up: bool) -> Handler:
        async def handler(step: Step) -> Any:
            slow = asyncio.create_task(step.run_action("app:slow"))
            await get(step)
            if gives_up:
                slow.cancel()
            await send(step)

        return handler

    run = DrivenRun(racer(True))
    run.resolve(0)
    error = replay_with(racer(False), run.journal)

    assert (error.position, error.difference) == (1, "canceled")
    assert "does not any more" in str(error)


def test_an_outcome_the_handler_does_not_wait_for_is_found() -> None:
    run = DrivenRun(steps(lambda s: asyncio.gather(get(s), send(s))))
    run.resolve(1)

    async def handler(step: Step) -> Any:
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(get(step)), asyncio.create_task(send(step))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    assert replay_with(handler, run.journal).difference == "canceled"


def test_an_early_end_with_steps_left_is_found() -> None:
    async def early(step: Step) -> Any:
        async with asyncio.timeout(1):
            await get(step)

    async def patient(step: Step) -> Any:
        task = asyncio.create_task(get(step))
        await asyncio.sleep(1)
        await task

    run = DrivenRun(patient)
    run.fire()
    run.resolve(0)
    error = replay_with(early, run.journal)

    assert (error.position, error.difference) == (0, "canceled")


def test_an_early_end_with_a_timer_left_is_found() -> None:
    async def early(step: Step) -> Any:
        await get(step)

    async def patient(step: Step) -> Any:
        await get(step)
        await asyncio.sleep(1)

    run = DrivenRun(patient)
    run.resolve(0)
    run.fire()
    error = replay_with(early, run.journal)

    assert (error.position, error.difference) == (None, "finished")
    assert error.detail == "the handler ended after 2 of 3 recorded resolutions."


def test_a_complete_journal_ends_with_the_same_outcome() -> None:
    run = DrivenRun(recorded_handler)
    for position in range(4):
        run.resolve(position, "ann")

    assert replay(new_engine(recorded_handler), run.journal) == [Finish(Success(None))]


def test_no_handler_can_swallow_a_difference() -> None:
    async def handler(step: Step) -> Any:
        try:
            await step.run_query("users:find", {"id": "u1"})
        except BaseException:
            await step.run_query("users:get", {"id": "u1"})

    assert replay_with(handler).difference == "function"


class Int64(int):
    """Stands for the 64-bit integer type of values."""


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (1, 1.0, True),
        (True, 1, False),
        (float("nan"), float("nan"), True),
        (0.0, -0.0, False),
        (0, 0.0, True),
        (Int64(1), 1, False),
        (Int64(1), Int64(1), True),
        (b"a", "a", False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": None}, {}, False),
        ([1, 2], [1], False),
        (None, False, False),
    ],
)
def test_values_are_compared_as_values(left: Any, right: Any, same: bool) -> None:
    assert is_same_value(left, right) is same
    assert (find_difference([left], [right]) == "$") is same
