"""Everything that was started ends, in order or not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from convexpy.errors import WorkerLost
from convexpy.limits import TEMPLATE_RELOADS_MAX, FunctionLimits
from convexpy.processes.action_pool import ActionPool
from convexpy.processes.messages import Load
from convexpy.processes.pool import FunctionPool
from convexpy.processes.supervisor import Supervisor
from convexpy.runtime.messages import Call
from tests.processes.rig import Reports, call, gone, run, small_load

ROOT = Path(__file__).parents[2]


def test_a_killed_server_leaves_no_process_behind(tmp_path: Path) -> None:
    """Workers loop inside C and notice no closed socket: only the kernel can end them."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.processes.lonely_server", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert server.stdout is not None
    with server, server.stdout:
        pids = json.loads(server.stdout.readline())
        names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids]

        server.kill()

        async def all_gone() -> None:
            await asyncio.gather(*map(gone, pids))

        run(all_gone())
    assert names == ["cvx-committer", "cvx-template", "cvx-function", "cvx-function", "cvx-action"]


async def _no_operation(call: Call, kind: str, payload: bytes) -> bytes:
    return b""


def test_stop_ends_everything_even_what_hangs(tmp_path: Path) -> None:
    """Whoever waits gets an error, no process is left."""

    async def main() -> None:
        supervisor, functions, actions, _ = await _started(tmp_path)
        pids = [supervisor.committer_pid, *functions.pids, *actions.pids]
        waiting = [functions.submit(call("hang")), actions.submit(call("wait_for_ever"))]

        await supervisor.stop()

        assert [(await future).loss for future in waiting] == ["died", "died"]
        await asyncio.gather(*map(gone, pids))

    run(main())


@pytest.mark.parametrize("is_killed", [False, True])
def test_the_template_of_the_first_load_starts_beside_the_committer(tmp_path: Path, is_killed: bool) -> None:
    """That shortens the start. Should somebody kill it before it is needed, another one takes its place."""

    async def main() -> None:
        supervisor, *_ = _prepared(tmp_path)
        await supervisor.start()
        (waiting_pid,) = _children() - {supervisor.committer_pid}
        if is_killed:
            os.kill(waiting_pid, signal.SIGKILL)
            await gone(waiting_pid)

        template, _ = await supervisor.load(small_load())

        assert (template.pid == waiting_pid) is not is_killed
        await supervisor.stop()

    run(main())


def test_a_template_that_nothing_was_loaded_into_ends_too(tmp_path: Path) -> None:
    """A server may be stopped, or its committer fail, before its first load."""

    async def main() -> None:
        supervisor, *_ = _prepared(tmp_path)
        await supervisor.start()
        await supervisor.stop()
        assert _children() == set()

        (tmp_path / "damaged").touch()
        supervisor, *_ = _prepared(tmp_path)
        with pytest.raises(WorkerLost, match="damaged"):
            await supervisor.start()
        assert _children() == set()

    run(main())


def test_a_dead_template_is_replaced_and_calls_go_on(tmp_path: Path) -> None:
    """Its workers died with it; calls that were queued or running are run by their successors."""

    async def main() -> None:
        supervisor, functions, actions, reports = await _started(tmp_path)
        template_pid = int((await functions.submit(call("loaded_in"))).value)

        os.kill(template_pid, signal.SIGKILL)
        await gone(template_pid)
        replies = await asyncio.gather(*(functions.submit(call("echo", number)) for number in range(20)))

        assert [reply.value for reply in replies] == [str(number).encode() for number in range(20)]
        assert int((await functions.submit(call("loaded_in"))).value) != template_pid
        assert reports.having("the app is loaded again")
        while not (await actions.submit(call("echo"))).is_ok:
            await asyncio.sleep(0)
        await supervisor.stop()

    run(main())


@pytest.mark.parametrize("deaths", [2, 100])
def test_a_template_that_dies_again_while_it_is_loaded_again_is_loaded_once_more(tmp_path: Path, deaths: int) -> None:
    """Somebody kills it as soon as it begins to import the app. After some tries, calls are errors until a push."""
    (tmp_path / "deaths").write_text("0")
    (tmp_path / "messages.py").write_text(_IMPORT_THAT_DIES.format(counter=str(tmp_path / "deaths")))

    async def main() -> None:
        order = small_load(fail="import", project_folder=str(tmp_path))
        supervisor, functions, _, reports = await _started(tmp_path, order)
        template_pid = int((await functions.submit(call("loaded_in"))).value)
        (tmp_path / "deaths").write_text(str(deaths))

        os.kill(template_pid, signal.SIGKILL)
        await gone(template_pid)
        reply = await functions.submit(call("echo", 1))

        tries = reports.having("The process that imports the app died while it did so. It is tried again.")
        assert len(tries) == min(deaths, TEMPLATE_RELOADS_MAX - 1)
        if deaths < TEMPLATE_RELOADS_MAX:
            assert reply.value == b"1"
        else:
            assert reply.error.startswith("The app cannot be loaded again: The process that imports the app died")
        await supervisor.stop()

    run(main())


_IMPORT_THAT_DIES = """
import os, pathlib, signal
counter = pathlib.Path({counter!r})
left = int(counter.read_text())
if left:
    counter.write_text(str(left - 1))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_import_that_kills_its_process_fails_the_push_and_is_not_tried_again(tmp_path: Path) -> None:
    """The code before it goes on serving."""

    async def main() -> None:
        supervisor, functions, _, reports = await _started(tmp_path)

        with pytest.raises(WorkerLost, match="died"):
            await supervisor.load(small_load(2, fail="death"))

        assert (await functions.submit(call("echo", 1))).value == b"1"
        assert reports == []
        await supervisor.stop()

    run(main())


def _children() -> set[int]:
    """The processes that this one started and that have not ended."""
    lists = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    pids = {int(pid) for pids in lists for pid in pids}
    return {pid for pid in pids if Path(f"/proc/{pid}/cmdline").read_bytes()}


def _prepared(folder: Path) -> tuple[Supervisor, FunctionPool, ActionPool, Reports]:
    reports = Reports()
    supervisor = Supervisor(
        folder,
        on_batch=lambda _: None,
        on_fatal=reports.append,
        on_output=lambda _: None,
        report=reports.append,
        committer_parts="tests.processes.small_committer:open_parts",
    )
    functions = FunctionPool(FunctionLimits(), reports.append, workers=2, hard_after_seconds=1000)
    actions = ActionPool(FunctionLimits(), _no_operation, reports.append)
    supervisor.adopt(functions, actions)
    return supervisor, functions, actions, reports


async def _started(folder: Path, order: Load | None = None) -> tuple[Supervisor, FunctionPool, ActionPool, Reports]:
    supervisor, functions, actions, reports = _prepared(folder)
    await supervisor.start()
    template, _ = await supervisor.load(order or small_load())
    for pool in (functions, actions):
        await pool.stage(template)
        pool.switch()
    return supervisor, functions, actions, reports
