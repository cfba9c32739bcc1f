"""Whatever a function does to its process, it costs that call and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from convexpy.errors import WorkerLost
from convexpy.limits import FunctionLimits
from convexpy.processes import pool as pool_module
from convexpy.processes import worker_process
from convexpy.processes.pool import FunctionPool
from convexpy.runtime.messages import Reply
from tests.patience import PATIENCE_SECONDS
from tests.processes.rig import Gate, Reports, call, function_pool, gone, run, small_load, started_template

T = TypeVar("T")
TIMED_OUT = "Function execution timed out (maximum duration: 0.2s)"


def _note(order: list[T], name: T, future: asyncio.Future[Reply]) -> None:
    order.append(name)


def test_calls_are_answered_and_an_error_of_the_platform_is_marked_as_such() -> None:
    """An exception that escapes `execute` is ours: it is told apart from errors of functions."""

    async def main() -> None:
        async with function_pool() as (pool, _):
            replies = await asyncio.gather(*(pool.submit(call("echo", number)) for number in range(200)))
            failed = await pool.submit(call("fail"))

            assert [reply.value for reply in replies] == [str(number).encode() for number in range(200)]
            assert not failed.is_ok
            assert failed.is_system_error
            assert "ZeroDivisionError" in failed.error
            print("fork seconds:", pool.fork_seconds)

    run(main())


def test_replies_come_in_the_order_of_calls_and_several_calls_share_a_frame(tmp_path: Path) -> None:
    """One worker, held: all that gathers meanwhile goes out together and comes back in order."""

    async def main() -> None:
        async with function_pool(workers=1) as (pool, _):
            gate = Gate(tmp_path)
            held = pool.submit(call("hold", gate.args))
            await gate.arrival()
            order: list[int] = []
            futures = [pool.submit(call("echo", number)) for number in range(50)]
            for number, future in enumerate(futures):
                future.add_done_callback(partial(_note, order, number))
            assert pool.waiting_count == 50

            await gate.release()
            await asyncio.gather(held, *futures)

            assert order == list(range(50))

    run(main())


def test_calls_submitted_together_see_one_snapshot_and_others_each_their_own() -> None:
    """Round 2 of a session's transition needs all of its queries at one timestamp."""

    async def main() -> None:
        async with function_pool(workers=1) as (pool, _):
            together = await pool.submit_together([call("echo", number) for number in range(30)])
            apart = [await pool.submit(call("echo")) for _ in range(2)]

            assert [reply.value for reply in together] == [str(number).encode() for number in range(30)]
            assert len({reply.snapshot_ts for reply in together}) == 1
            assert len({together[0].snapshot_ts, *(reply.snapshot_ts for reply in apart)}) == 3
            assert await pool.submit_together([]) == []

    run(main())


@pytest.mark.parametrize("path", ["spin", "swallow_exceptions", "swallow_once"])
def test_an_endless_loop_is_ended_by_the_soft_limit(path: str) -> None:
    """The worker lives on, whatever the function catches."""

    async def main() -> None:
        async with function_pool(workers=1, timeout_seconds=0.2) as (pool, reports):
            pids = pool.pids

            reply = await pool.submit(call(path))

            assert (reply.error, reply.loss, reply.is_system_error) == (TIMED_OUT, "", False)
            assert (await pool.submit(call("pid"))).value == str(pids[0]).encode()
            assert reports == []

    run(main())


def test_a_loop_inside_c_is_killed_at_the_hard_limit_and_its_neighbours_run_elsewhere(tmp_path: Path) -> None:
    """All four are in one frame of one worker. Only the one that hangs is an error, and it is not run again."""

    async def main() -> None:
        async with function_pool(workers=1, timeout_seconds=0.2, hard_after_seconds=2) as (pool, reports):
            gate = Gate(tmp_path)
            held = pool.submit(call("hold", gate.args), limit_seconds=60)
            await gate.arrival()
            futures = [pool.submit(call(path, 1)) for path in ("echo", "hang", "echo", "echo")]
            await gate.release()

            replies = await asyncio.gather(*futures)

            assert (await held).is_ok
            assert [reply.is_ok for reply in replies] == [True, False, True, True]
            assert (replies[1].error, replies[1].loss, replies[1].is_system_error) == (TIMED_OUT, "killed", False)
            assert len(reports.having("was killed at the hard time limit while it ran hang")) == 1

    run(main())


def test_a_call_whose_worker_is_killed_runs_again_once(tmp_path: Path) -> None:
    """A query or mutation that was never committed may run twice; somebody's kill -9 is not its fault."""

    async def main() -> None:
        async with function_pool() as (pool, reports):
            gate = Gate(tmp_path)
            neighbour = pool.submit(call("hold", gate.args))
            neighbour_pid = await gate.arrival()
            lived = await pool.submit(call("die_once", str(tmp_path / "marker")))
            died = await pool.submit(call("die"))
            await gate.release()

            assert lived.value == b'"lived"'
            assert (died.loss, died.is_system_error) == ("killed", False)
            assert died.error == "The process that ran die was killed by SIGKILL."
            assert len(reports.having("was killed by SIGKILL while it ran die.")) == 2
            assert (await neighbour).value == b'"released"'
            assert neighbour_pid in pool.pids

    run(main())


def test_a_worker_killed_from_outside_in_the_middle_of_a_call(tmp_path: Path) -> None:
    """The call is found again on another process."""

    async def main() -> None:
        async with function_pool() as (pool, _):
            gate = Gate(tmp_path)
            future = pool.submit(call("hold", gate.args))
            first = await gate.arrival()

            os.kill(first, signal.SIGKILL)
            second = await gate.arrival()
            await gate.release()

            assert (await future).is_ok
            assert second != first

    run(main())


def test_queries_together_that_lose_their_worker_run_again_together(tmp_path: Path) -> None:
    """Replies of the first try came from a snapshot that is gone, so none of them may be mixed in."""

    async def main() -> None:
        async with function_pool(workers=1) as (pool, _):
            await pool.submit(call("echo"))
            calls = [call("echo", 1), call("die_once", str(tmp_path / "marker")), call("echo", 2)]

            replies = await pool.submit_together(calls)

            assert [reply.value for reply in replies] == [b"1", b'"lived"', b"2"]
            assert {reply.snapshot_ts for reply in replies} == {1}

            replies = await pool.submit_together([call("echo", 1), call("die"), call("echo", 2)])

            assert [reply.loss for reply in replies] == ["", "killed", ""]
            assert replies[0].snapshot_ts == replies[2].snapshot_ts

    run(main())


def test_a_memory_bomb_is_an_error_of_that_call_and_its_worker_is_replaced() -> None:
    """RLIMIT_DATA makes it a MemoryError; what it left behind goes with the process."""

    async def main() -> None:
        async with function_pool(workers=1) as (pool, reports):
            before = pool.pids

            bomb, after = await asyncio.gather(pool.submit(call("fill_memory")), pool.submit(call("pid")))

            assert "ran out of memory" in bomb.error
            assert not bomb.is_system_error
            assert after.is_ok
            assert (await pool.submit(call("pid"))).value != str(before[0]).encode()
            assert len(reports.having("is replaced: a function needed much memory")) == 1

    run(main())


def test_a_worker_whose_memory_a_function_keeps_is_replaced() -> None:
    async def main() -> None:
        async with function_pool(workers=1) as (pool, reports):
            before = pool.pids

            assert (await pool.submit(call("keep_memory"))).is_ok

            assert (await pool.submit(call("pid"))).value != str(before[0]).encode()
            assert len(reports.having("is replaced: a function needed much memory")) == 1

    run(main())


def test_what_a_worker_has_read_of_the_database_is_not_counted_as_its_memory(tmp_path: Path) -> None:
    """The map's pages are resident in each process that touched them, and none of them is its own."""
    file = tmp_path / "map"
    file.write_bytes(b"x" * 60_000_000)

    async def main() -> None:
        async with function_pool(workers=1) as (pool, reports):
            before = pool.pids

            assert (await pool.submit(call("read_map", str(file)))).is_ok

            assert (await pool.submit(call("pid"))).value == str(before[0]).encode()
            assert not reports.having("is replaced")

    run(main())


def test_more_calls_than_may_wait_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue without bound would answer nobody in time."""
    monkeypatch.setattr(pool_module, "WORKER_QUEUE_CALLS_MAX", 3)

    async def main() -> None:
        async with function_pool(workers=1) as (pool, _):
            gate = Gate(tmp_path)
            held = pool.submit(call("hold", gate.args))
            await gate.arrival()
            waiting = [pool.submit(call("echo", number)) for number in range(3)]

            refused = await pool.submit(call("echo"))

            assert (refused.loss, refused.is_system_error) == ("overloaded", True)
            assert "3 calls are waiting" in refused.error
            await gate.release()
            assert all(reply.is_ok for reply in await asyncio.gather(held, *waiting))

    run(main())


def test_an_urgent_call_goes_before_all_that_waits_and_a_canceled_one_never_runs(tmp_path: Path) -> None:
    """The exclusive attempt of a mutation stops everybody's commits, so it must not queue."""

    async def main() -> None:
        async with function_pool(workers=1) as (pool, _):
            gate = Gate(tmp_path)
            held = pool.submit(call("hold", gate.args))
            await gate.arrival()
            order: list[str] = []
            futures = {name: pool.submit(call("echo")) for name in ("first", "second")}
            marker = tmp_path / "marker"
            canceled = pool.submit(call("die_once", str(marker)))
            futures["urgent"] = pool.submit(call("echo"), is_urgent=True)
            for name, future in futures.items():
                future.add_done_callback(partial(_note, order, name))
            canceled.cancel()

            await gate.release()
            await asyncio.gather(held, *futures.values())

            assert order == ["urgent", "first", "second"]
            assert not marker.exists()

    run(main())


def test_a_preferred_worker_is_kept_to_unless_it_stays_busy(tmp_path: Path) -> None:
    """A lane's warm state is in one worker; a call that blocks that worker must not block the lane."""

    async def main() -> None:
        async with function_pool(workers=2) as (pool, _):
            home = {(await pool.submit(call("pid"), prefer=7)).value for _ in range(10)}
            assert len(home) == 1

            gate = Gate(tmp_path)
            held = pool.submit(call("hold", gate.args), prefer=7)
            await gate.arrival()
            elsewhere = await pool.submit(call("pid"), prefer=7)
            await gate.release()

            assert (await held).is_ok
            assert elsewhere.value not in home

    run(main())


def test_a_switch_sends_new_and_waiting_calls_to_the_new_generation(tmp_path: Path) -> None:
    """What runs on the old code finishes there; then the old processes and their template end."""

    async def main() -> None:
        async with function_pool(workers=1) as (pool, _):
            gate = Gate(tmp_path)
            old_pid = pool.pids[0]
            held = pool.submit(call("hold", gate.args))
            await gate.arrival()
            waiting = pool.submit(call("generation"))
            template = await started_template(small_load(generation=2))
            await pool.stage(template)
            staged = await pool.submit(call("generation"), is_staged=True)
            assert not waiting.done()

            pool.switch()
            answers = [await waiting, await pool.submit(call("generation"))]
            await gate.release()

            assert staged.value == b"2"
            assert [reply.value for reply in answers] == [b"2", b"2"]
            assert (await held).value == b'"released"'
            await gone(old_pid)
            await pool.close()
            await template.process.wait(PATIENCE_SECONDS)

    run(main())


def test_a_second_switch_does_not_wait_for_the_first_ones_old_calls(tmp_path: Path) -> None:
    """At most one generation drains; the call that loses its worker runs on the new code."""

    async def main() -> None:
        async with function_pool(workers=1) as (pool, _):
            gate = Gate(tmp_path)
            held = pool.submit(call("hold", gate.args))
            first = await gate.arrival()
            templates = [await started_template(small_load(generation)) for generation in (2, 3)]
            for template in templates:
                await pool.stage(template)
                pool.switch()

            second = await gate.arrival()
            await gate.release()

            assert (await held).is_ok
            await gone(first)
            assert second == pool.pids[0]
            await pool.close()
            for template in templates:
                await template.process.wait(PATIENCE_SECONDS)

    run(main())


def test_a_staged_generation_that_is_discarded_leaves_the_current_one_alone() -> None:
    """A failed push changes nothing."""

    async def main() -> None:
        async with function_pool(workers=1) as (pool, _):
            template = await started_template(small_load(generation=2))
            await pool.stage(template)
            staged = pool.submit(call("hang"), is_staged=True)

            pool.discard_staged()

            assert (await staged).loss == "died"
            assert (await pool.submit(call("generation"))).value == b"1"
            await template.process.wait(PATIENCE_SECONDS)

    run(main())


def test_workers_that_cannot_start_are_an_error_and_not_a_wait() -> None:
    """The sentence names the cause."""

    async def main() -> None:
        reports = Reports()
        pool = FunctionPool(FunctionLimits(), reports.append, workers=2)
        template = await started_template(small_load(fail_workers=True))

        with pytest.raises(WorkerLost, match="the database is not there"):
            await pool.stage(template)
        pool.discard_staged()
        await pool.close()
        await template.process.wait(PATIENCE_SECONDS)

        assert (await pool.submit(call("echo"))).error == "The server is stopping."

    run(main())


def test_without_code_a_call_is_an_error() -> None:
    """Before the first push there is nothing to run."""

    async def main() -> None:
        pool = FunctionPool(FunctionLimits(), Reports().append)

        assert (await pool.submit(call("echo"))).error == "No code is deployed."
        await pool.close()

    run(main())


def test_closing_lets_workers_leave_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They close the database, which frees their slots in its reader table."""
    monkeypatch.setattr(worker_process, "PROCESS_STOP_SECONDS_MAX", PATIENCE_SECONDS)

    async def main() -> None:
        marker = tmp_path / "closed"
        async with function_pool(workers=1, closed_file=str(marker)) as (pool, _):
            pid = pool.pids[0]
        await gone(pid)

        assert marker.read_text() == "closed"

    run(main())


def test_a_slow_call_is_measured_in_cpu_time(tmp_path: Path) -> None:
    """Waiting is not working: a call that is held for longer than its limit is not timed out."""

    async def main() -> None:
        async with function_pool(workers=1, timeout_seconds=0.05) as (pool, _):
            gate = Gate(tmp_path)
            began = time.monotonic()
            held = pool.submit(call("hold", gate.args))
            await gate.arrival()
            while time.monotonic() - began < 0.1:
                await asyncio.sleep(0.01)
            await gate.release()

            assert (await held).is_ok

    run(main())
