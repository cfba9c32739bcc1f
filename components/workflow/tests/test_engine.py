"""What a handler may do with asyncio, and what the engine answers."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import Any

import pytest
from convexpy_workflow.commands import Canceled, CancelStep, Failure, Finish, Started, StartStep, StepResolved, Success
from convexpy_workflow.errors import DeadlockError, NotAllowedInWorkflow, StepCanceled, StepFailed
from convexpy_workflow.step import Step
from journal_driver import DrivenRun, new_engine


def names(run: DrivenRun) -> list[str]:
    return [recorded.step.name for recorded in run.journal.steps]


def test_sequential_steps_see_each_others_results() -> None:
    async def handler(step: Step) -> Any:
        first = await step.run_query("app:one")
        return await step.run_mutation("app:two", {"first": first})

    run = DrivenRun(handler)
    run.resolve(0, 7)
    run.resolve(1, "done")

    assert run.journal.steps[1].step.args == {"first": 7}
    assert run.outcome == Success("done")


def test_gather_starts_all_and_answers_in_argument_order() -> None:
    async def handler(step: Step) -> Any:
        return await asyncio.gather(*(step.run_mutation(f"app:f{n}") for n in range(3)))

    run = DrivenRun(handler)
    assert run.pending == [0, 1, 2]
    for position in (2, 0, 1):
        run.resolve(position, position * 10)

    assert run.outcome == Success([0, 10, 20])


def test_the_first_of_a_race_wins_and_the_loser_is_withdrawn() -> None:
    async def handler(step: Step) -> Any:
        tasks = [asyncio.create_task(step.run_action(name)) for name in ("app:slow", "app:fast")]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await step.run_mutation("app:after")
        return done.pop().result()

    run = DrivenRun(handler)
    run.resolve(1, "fast")

    assert run.commands[2:] == [StartStep(2, "mutation", "app:after", "app:after", {}), CancelStep(0)]
    run.engine.close()
    run.engine = run.cold_engine()
    run.resolve(2)
    assert run.outcome == Success("fast")


def test_a_timeout_fires_at_its_deadline_and_withdraws_the_step() -> None:
    async def handler(step: Step) -> Any:
        try:
            async with asyncio.timeout(60):
                return await step.run_action("app:slow")
        except TimeoutError:
            return f"late at {step.now().timestamp()}"

    run = DrivenRun(handler, start_ms=5_000)
    assert run.engine.wake_at_ms == 65_000
    run.fire()

    assert run.commands[-2:] == [CancelStep(0), Finish(Success("late at 65.0"))]


def test_a_timer_past_its_deadline_does_not_fire_by_itself() -> None:
    """The step's outcome was consumed first, so it wins although the deadline has passed meanwhile."""

    async def handler(step: Step) -> Any:
        async with asyncio.timeout(1):
            return await step.run_action("app:slow")

    run = DrivenRun(handler)
    run.now_ms += 10_000
    run.resolve(0, "in time")

    assert run.outcome == Success("in time")
    assert run.engine.wake_at_ms is None


def test_a_task_group_aborts_its_other_steps() -> None:
    async def handler(step: Step) -> Any:
        try:
            async with asyncio.TaskGroup() as group:
                for n in range(3):
                    group.create_task(step.run_action(f"app:f{n}"))
        except ExceptionGroup as failures:
            return [str(failure) for failure in failures.exceptions]

    run = DrivenRun(handler)
    run.resolve(1, error="ValueError: no")

    assert run.commands[3:5] == [CancelStep(0), CancelStep(2)]
    assert run.outcome == Success(["Step 1 (app:f1) failed: ValueError: no"])


def test_a_failed_step_raises_at_its_await_and_can_be_caught() -> None:
    async def handler(step: Step) -> Any:
        try:
            await step.run_mutation("app:bad")
        except StepFailed as failure:
            return [failure.position, failure.name, failure.text, failure.data]

    run = DrivenRun(handler)
    run.resolve(0, error="ValueError: no")

    assert run.outcome == Success([0, "app:bad", "ValueError: no", None])


def test_an_uncaught_failure_ends_the_run_with_the_users_frames() -> None:
    async def handler(step: Step) -> Any:
        await step.run_mutation("app:bad")

    run = DrivenRun(handler)
    run.resolve(0, error="ValueError: no")

    assert isinstance(run.outcome, Failure)
    assert run.outcome.error == "StepFailed: Step 0 (app:bad) failed: ValueError: no"
    assert 'await step.run_mutation("app:bad")' in run.outcome.traceback
    assert "convexpy_workflow/engine.py" not in run.outcome.traceback
    assert "convexpy_workflow/step.py" not in run.outcome.traceback


def test_a_canceled_step_raises_canceled() -> None:
    async def handler(step: Step) -> Any:
        try:
            await step.run_mutation("app:f")
        except StepCanceled as canceled:
            return str(canceled)

    engine = new_engine(handler)
    engine.feed(Started(0))

    assert engine.feed(StepResolved(0, 0, Canceled())) == [Finish(Success("Canceled"))]


def test_steps_nobody_awaits_are_withdrawn_when_the_handler_returns() -> None:
    async def handler(step: Step) -> Any:
        keep = asyncio.create_task(step.run_action("app:forgotten"))
        await step.run_mutation("app:f")
        return keep.done()

    run = DrivenRun(handler)
    assert names(run) == ["app:f", "app:forgotten"]
    run.resolve(0)

    assert run.commands[-2:] == [CancelStep(1, at_end=True), Finish(Success(False))]
    assert run.engine.warnings == ["Step 1 (app:forgotten) was still running when the handler ended: withdrawn."]


def test_on_unawaited_wait_finishes_after_the_last_step() -> None:
    async def handler(step: Step) -> Any:
        keep.append(asyncio.create_task(step.run_action("app:forgotten")))
        await step.run_mutation("app:f")
        return "early"

    keep: list[Any] = []
    engine = new_engine(handler, on_unawaited="wait")
    engine.feed(Started(0))

    assert engine.feed(StepResolved(0, 0, Success())) == []
    assert engine.feed(StepResolved(0, 1, Success())) == [Finish(Success("early"))]


def test_a_cancel_request_lets_cleanup_steps_run() -> None:
    async def handler(step: Step) -> Any:
        try:
            await step.run_action("app:charge")
        finally:
            await step.run_mutation("app:refund")

    run = DrivenRun(handler)
    run.cancel()
    assert run.commands[1:] == [CancelStep(0), StartStep(1, "mutation", "app:refund", "app:refund", {})]
    run.engine = run.cold_engine()
    run.resolve(1)

    assert run.outcome == Canceled()


def test_a_cancellation_nobody_asked_for_is_a_failure() -> None:
    async def handler(step: Step) -> Any:
        raise asyncio.CancelledError

    run = DrivenRun(handler)

    assert isinstance(run.outcome, Failure)
    assert "nobody canceled the run" in run.outcome.error


def test_sys_exit_ends_the_run_not_the_process() -> None:
    async def handler(step: Step) -> Any:
        sys.exit(3)

    assert isinstance(DrivenRun(handler).outcome, Failure)


def test_an_interruption_by_the_host_is_not_the_runs_outcome() -> None:
    """A time limit of the worker may hit any line of the handler; the wave fails then, and is tried again."""

    class TimeLimit(BaseException):
        pass

    async def handler(step: Step) -> Any:
        raise TimeLimit

    with pytest.raises(TimeLimit):
        new_engine(handler).feed(Started(0))


def test_waiting_for_nothing_is_reported_with_its_place() -> None:
    async def handler(step: Step) -> Any:
        await step.run_mutation("app:f")
        await wait_for_ever()

    async def wait_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    run = DrivenRun(handler)
    assert run.engine.stalled() is None
    run.resolve(0)

    stalled = run.engine.stalled()
    assert stalled is not None
    assert "wait_for_ever" in stalled.waiting[0]
    assert "can never go on" in str(stalled)


def test_a_busy_loop_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convexpy_workflow.loop.DRAIN_CALLBACKS_MAX", 1_000)

    async def handler(step: Step) -> Any:
        while True:
            await asyncio.sleep(0)

    engine = new_engine(handler)
    with pytest.raises(DeadlockError, match="did not come to rest within 1000 turns"):
        engine.feed(Started(0))
    engine.close()


def test_an_exception_nobody_retrieves_becomes_a_warning() -> None:
    async def handler(step: Step) -> Any:
        async def broken() -> None:
            raise ValueError("lost")

        task = asyncio.create_task(broken())
        await asyncio.sleep(0)
        del task
        await step.run_mutation("app:f")

    run = DrivenRun(handler)

    assert run.engine.warnings == ["WorkflowTask exception was never retrieved: ValueError: lost"]


def test_closing_runs_finally_blocks_whose_steps_are_not_recorded() -> None:
    seen: list[str] = []

    async def handler(step: Step) -> Any:
        try:
            await step.run_mutation("app:f")
        except Exception:
            seen.append("swallowed")
        finally:
            try:
                await step.run_mutation("app:cleanup")
            except Exception:
                seen.append("swallowed")
            finally:
                seen.append("closed")

    run = DrivenRun(handler)
    run.engine.close()

    assert seen == ["closed"]
    assert names(run) == ["app:f"]


def test_a_step_object_kept_after_the_run_is_refused() -> None:
    kept: list[Step] = []

    async def handler(step: Step) -> Any:
        kept.append(step)
        await step.run_mutation("app:f")

    run = DrivenRun(handler)
    with pytest.raises(NotAllowedInWorkflow, match="outside its handler's own tasks"):
        asyncio.run(kept[0].run_mutation("app:late"))
    assert names(run) == ["app:f"]


@pytest.mark.parametrize("is_in_memory", [True, False])
def test_a_step_object_of_another_run_is_refused(is_in_memory: bool) -> None:
    """Of one that has left memory too, whose own handler would be ended by a word of leaving."""
    kept: list[Step] = []

    async def keeps(step: Step) -> Any:
        kept.append(step)
        await step.await_event("never")

    async def uses(step: Step) -> Any:
        await kept[0].sleep(1)

    first = DrivenRun(keeps)
    if not is_in_memory:
        first.engine.close()
    second = DrivenRun(uses)

    outcome = second.engine.outcome
    assert isinstance(outcome, Failure) and "outside its handler's own tasks" in outcome.error
    assert names(first) == ["never"]


def test_a_forgotten_generators_finally_cannot_reach_the_journal() -> None:
    refused: list[type] = []

    async def handler(step: Step) -> Any:
        async def numbers() -> Any:
            try:
                yield 1
                yield 2
            finally:
                try:
                    await step.run_mutation("app:finaliser")
                except NotAllowedInWorkflow as error:
                    refused.append(type(error))

        generator = numbers()
        first = await anext(generator)
        del generator
        await step.run_mutation("app:f")
        return first

    run = DrivenRun(handler)

    assert names(run) == ["app:f"]
    assert refused == [NotAllowedInWorkflow]


def test_a_run_can_be_fed_inside_another_loops_task() -> None:
    """Tests and actions of the host have a loop of their own, and their task must be theirs again afterwards."""

    async def handler(step: Step) -> Any:
        await asyncio.sleep(0)
        return await step.run_mutation("app:f")

    async def host() -> bool:
        before = asyncio.current_task()
        run = DrivenRun(handler)
        run.resolve(0, 1)
        await asyncio.sleep(0)
        return asyncio.current_task() is before and run.outcome == Success(1)

    assert asyncio.run(host())


def test_context_variables_of_the_host_are_not_seen() -> None:
    variable = contextvars.ContextVar("variable", default="default")
    variable.set("of the host")

    async def handler(step: Step) -> Any:
        return variable.get()

    assert DrivenRun(handler).outcome == Success("default")


def test_arguments_are_copied_when_the_step_is_issued() -> None:
    async def handler(step: Step) -> Any:
        args: dict[str, Any] = {"items": [1]}
        task = asyncio.create_task(step.run_mutation("app:f", args))
        await asyncio.sleep(0)
        args["items"].append(2)
        await task

    assert DrivenRun(handler).journal.steps[0].step.args == {"items": [1]}


def test_time_and_uuids_are_the_same_in_a_replay() -> None:
    async def handler(step: Step) -> Any:
        await step.run_mutation("app:f", {"at": step.now().isoformat(), "id": str(step.uuid4())})
        await step.run_mutation("app:g", {"at": step.now().isoformat(), "id": str(step.uuid4())})

    run = DrivenRun(handler)
    run.now_ms += 5
    run.resolve(0)
    first, second = (recorded.step.args for recorded in run.journal.steps)
    run.cold_engine()

    assert first["at"] != second["at"]
    assert first["id"] != second["id"]


def test_sets_of_futures_have_the_order_of_their_making() -> None:
    """Those that a handler makes itself too, wherever they lie in memory."""

    async def handler(step: Step) -> Any:
        loop = asyncio.get_running_loop()
        ballast = [loop.create_future() for _ in range(50)]
        futures = [loop.create_future() for _ in range(20)]
        del ballast
        for future in reversed(futures):
            future.set_result(None)
        done, _ = await asyncio.wait(futures)
        return [futures.index(future) for future in done]

    outcomes = [DrivenRun(handler).outcome for _ in range(3)]
    assert isinstance(outcomes[0], Success)
    assert sorted(outcomes[0].value) == list(range(20))
    assert outcomes[0] == outcomes[1] == outcomes[2]
