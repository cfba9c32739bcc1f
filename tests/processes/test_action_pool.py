"""Actions run side by side, at most once, and reach the server through operations."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from convexpy.errors import ConvexpyError
from convexpy.processes import action_pool as action_pool_module
from convexpy.runtime.messages import Call
from tests.patience import PATIENCE_SECONDS
from tests.processes.rig import action_pool, call, run, small_load, started_template

TIMED_OUT = "Function execution timed out (maximum duration: {})"


class Operations:
    """Doubles numbers; tells when an action says that it has begun."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.running = self.running_max = 0

    async def __call__(self, call: Call, kind: str, payload: bytes) -> bytes:
        if kind == "begun":
            self.begun.set()
            return b""
        value = json.loads(payload)
        if value == "refuse":
            raise ConvexpyError("that cannot be done")
        if value == "bug":
            raise RuntimeError("secret detail")
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        return str(value * 2).encode()


def test_actions_ask_the_server_from_tasks_and_from_threads() -> None:
    """Each result finds the action, and the operation, that asked."""

    async def main() -> None:
        async with action_pool(Operations()) as (pool, _):
            calls = [call("operation", 4), call("thread", 5), call("operations", list(range(200))), call("echo", [1])]
            replies = await asyncio.gather(*map(pool.submit, calls))

            values = [json.loads(reply.value) for reply in replies]
            assert values == ["8", "10", [str(2 * number) for number in range(200)], [1]]

    run(main())


def test_at_most_so_many_operations_of_one_action_are_in_flight() -> None:
    """One action must not fill the server's memory with what it asks."""

    async def main() -> None:
        operations = Operations()
        async with action_pool(operations) as (pool, _):
            reply = await pool.submit(call("operations", list(range(500))))

            assert len(json.loads(reply.value)) == 500
            assert 1 <= operations.running_max <= 64

    run(main())


@pytest.mark.parametrize(
    ("args", "error"),
    [("refuse", "that cannot be done"), ("bug", "Your request couldn't be completed. Try again later.")],
)
def test_an_operation_that_fails_raises_in_the_action(args: str, error: str) -> None:
    """Texts of our own errors are for the caller, those of our bugs are not."""

    async def main() -> None:
        async with action_pool(Operations()) as (pool, reports):
            reply = await pool.submit(call("operation", args))

            assert error in reply.error
            assert bool(reports.having("secret detail")) == (args == "bug")

    run(main())


@pytest.mark.parametrize("path", ["wait_for_ever", "thread_for_ever"])
def test_an_action_past_its_wall_clock_is_an_error(path: str) -> None:
    """A coroutine is cancelled, a thread is left behind; the worker serves on."""

    async def main() -> None:
        async with action_pool(Operations(), timeout_seconds=0.1) as (pool, _):
            reply = await pool.submit(call(path))

            assert reply.error == TIMED_OUT.format("0.1s")
            # What follows has as little time, which a busy machine may take from it.
            while (reply := await pool.submit(call("echo", 1))).error == TIMED_OUT.format("0.1s"):
                pass
            assert reply.value == b"1"

    run(main())


def test_a_worker_whose_loop_an_action_blocks_is_killed() -> None:
    """Every action in it that is past its time has timed out, whichever blocked; none of them is run again."""

    async def main() -> None:
        async with action_pool(Operations(), timeout_seconds=1.5, hard_after_seconds=0.5) as (pool, reports):
            beside, blocking = pool.submit(call("wait_for_ever")), pool.submit(call("hang"))

            for reply in await asyncio.gather(blocking, beside):
                assert (reply.loss, reply.is_system_error) == ("killed", False)
                assert reply.error == TIMED_OUT.format("1.5s")
            assert reports.having("blocked its event loop. Running in it: hang, wait_for_ever.")
            while (reply := await pool.submit(call("echo", 1))).error == TIMED_OUT.format("1.5s"):
                pass
            assert reply.is_ok

    run(main())


def test_an_action_whose_worker_is_killed_is_not_run_again() -> None:
    """At most once."""

    async def main() -> None:
        operations = Operations()
        async with action_pool(operations) as (pool, _):
            waiting = pool.submit(call("wait_for_ever"))
            await operations.begun.wait()

            os.kill(pool.pids[0], signal.SIGKILL)

            reply = await waiting
            assert reply.loss == "died"
            assert reply.error == "The process that ran wait_for_ever was killed by SIGKILL."
            assert (await pool.submit(call("die"))).loss == "died"
            assert (await pool.submit(call("echo", 1))).is_ok

    run(main())


def test_cancelling_the_future_cancels_the_action() -> None:
    """Nobody waits for it any more."""

    async def main() -> None:
        operations = Operations()
        async with action_pool(operations) as (pool, _):
            waiting = pool.submit(call("wait_for_ever"))
            await operations.begun.wait()

            waiting.cancel()
            while pool.in_flight_count:
                await pool.submit(call("echo"))

            assert pool.in_flight_count == 0

    run(main())


def test_more_actions_than_may_run_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queued, an action could wait for a place that its own caller holds."""
    monkeypatch.setattr(action_pool_module, "ACTIONS_IN_FLIGHT_MAX", 1)

    async def main() -> None:
        async with action_pool(Operations()) as (pool, _):
            waiting = pool.submit(call("wait_for_ever"))

            refused = await pool.submit(call("echo"))

            assert (refused.loss, refused.is_system_error) == ("overloaded", True)
            waiting.cancel()

    run(main())


def test_running_actions_finish_on_old_code() -> None:
    """A push must not cost an action that has already had effects."""

    async def main() -> None:
        release = asyncio.Event()
        begun = asyncio.Event()

        async def handle(call: Call, kind: str, payload: bytes) -> bytes:
            begun.set()
            await release.wait()
            return b"done"

        async with action_pool(handle) as (pool, _):
            old = pool.submit(call("operation", 1))
            await begun.wait()
            old_pid = pool.pids[0]
            template = await started_template(small_load(generation=2))
            await pool.stage(template)
            pool.switch()
            new_pid = (await pool.submit(call("pid"))).value
            release.set()

            assert (await old).value == b'"done"'
            assert int(new_pid) != old_pid
            await pool.close()
            await template.process.wait(PATIENCE_SECONDS)

    run(main())


def test_an_error_that_escapes_the_runner_is_marked_as_the_platforms() -> None:
    """It is not the action's fault."""

    async def main() -> None:
        async with action_pool(Operations()) as (pool, _):
            reply = await pool.submit(call("fail"))

            assert reply.is_system_error
            assert "a bug of the platform" in reply.error

    run(main())
