"""Functions that loop, hang, hoard or die: a clear error for their caller, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.server import Server
from tests.faults.conftest import APP
from tests.faults.convex_client import http, sync_client
from tests.patience import PATIENCE_SECONDS

TIMEOUT_SECONDS = 0.3
ACTION_TIMEOUT_SECONDS = 3.0  # wall clock, for actions that behave as well
MEMORY_BYTES = 128 * 1024 * 1024
TIMED_OUT = f"Function execution timed out (maximum duration: {TIMEOUT_SECONDS:g}s)"


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Small limits, so that what runs into them does so soon."""
    limits = {
        "timeout_seconds": TIMEOUT_SECONDS,
        "action_timeout_seconds": ACTION_TIMEOUT_SECONDS,
        "memory_bytes": MEMORY_BYTES,
    }
    options = tuple(word for name, value in limits.items() for word in ("--limit", f"{name}={value}"))
    server = Server(APP, tmp_path_factory.mktemp("data"), options=options)
    server.start()
    yield server
    server.stop()


def run_beside_others(server: Server, kind: str, path: str, args: dict[str, Any] | None = None) -> str:
    """Make the call, and others for as long as it runs; the error it ends with."""

    async def others(misbehaving: asyncio.Task[dict[str, Any]]) -> int:
        served = 0
        async with http(server.port) as connection:
            while not misbehaving.done():
                await connection.value("mutation", "counters:add", {"name": f"beside {path}"})
                served += 1
            assert await connection.value("query", "counters:read", {"name": f"beside {path}"}) == served
        return served

    async def run() -> tuple[dict[str, Any], int]:
        async with http(server.port) as connection, asyncio.timeout(PATIENCE_SECONDS):
            misbehaving = asyncio.create_task(connection.call(kind, path, args or {}))
            served = await others(misbehaving)
            return misbehaving.result(), served

    outcome, served = asyncio.run(run())
    assert outcome["status"] == "error", outcome
    assert served > 0
    text: str = outcome["errorMessage"]
    return text


def read(server: Server, name: str) -> float:
    async def call() -> float:
        async with http(server.port) as connection:
            value: float = await connection.value("query", "counters:read", {"name": name})
            return value

    return asyncio.run(call())


@pytest.mark.parametrize("path", ["runaway:spin", "runaway:spin_stubbornly", "runaway:backtrack"])
def test_an_endless_loop_is_told_its_limit_and_where_it_was(strict_server: Server, path: str) -> None:
    """The soft limit is raised where the loop is, so the worker lives on."""
    text = run_beside_others(strict_server, "query", path)

    assert TIMED_OUT in text
    assert "runaway.py" in text
    assert f"while it ran {path}" not in strict_server.complaints.so_far()


def test_an_endless_loop_in_a_mutation_leaves_no_write(strict_server: Server) -> None:
    """What it wrote before goes with it."""
    text = run_beside_others(strict_server, "mutation", "runaway:write_and_spin", {"name": "spun"})

    assert TIMED_OUT in text
    assert read(strict_server, "spun") == 0


@pytest.mark.parametrize(
    ("kind", "path", "args"),
    [
        ("query", "runaway:leave", {}),
        ("mutation", "runaway:write_and_leave", {"name": "left"}),
        ("query", "runaway:die_by_signal", {}),
    ],
)
def test_a_function_that_kills_its_process_is_named(
    strict_server: Server, kind: str, path: str, args: dict[str, Any]
) -> None:
    """It runs once more on another worker, since the first may have died of something else; then it is to blame."""
    text = run_beside_others(strict_server, kind, path, args)

    reason = "was killed by SIGKILL" if "signal" in path else "ended with status 3"
    assert f"The process that ran {path} {reason}." in text
    assert read(strict_server, "left") == 0


def test_a_function_may_not_signal_processes(strict_server: Server) -> None:
    """Not even its own."""
    text = run_beside_others(strict_server, "query", "runaway:kill_itself")

    assert "Can't use os.kill() in queries and mutations. Please consider using an action." in text


def test_a_hang_inside_c_is_killed_at_the_hard_limit(strict_server: Server) -> None:
    """No signal handler runs there, so the server ends the worker, and does not try the call again."""
    text = run_beside_others(strict_server, "query", "runaway:hang_in_c")

    assert TIMED_OUT in text


def test_a_function_that_takes_all_memory_gets_an_error(strict_server: Server) -> None:
    """The limit is the worker's own; its successor has all of it again."""
    text = run_beside_others(strict_server, "query", "runaway:hoard")

    assert "Python execution ran out of memory" in text or "MemoryError" in text
    assert read(strict_server, "nobody") == 0


@pytest.mark.parametrize(
    ("path", "expected"), [("runaway:exit_politely", "SystemExit"), ("runaway:recurse", "RecursionError")]
)
def test_what_python_raises_is_an_error_of_the_call(strict_server: Server, path: str, expected: str) -> None:
    """The worker lives on."""
    text = run_beside_others(strict_server, "query", path)

    assert expected in text
    assert f"while it ran {path}" not in strict_server.complaints.so_far()


@pytest.mark.parametrize("path", ["runaway:raise_in_action", "runaway:raise_in_thread"])
@pytest.mark.parametrize("name", ["StopIteration", "GeneratorExit", "BaseException", "BaseExceptionGroup"])
def test_what_no_except_exception_sees_is_an_error_of_the_action(strict_server: Server, path: str, name: str) -> None:
    """Whoever waits for it gets an answer."""

    async def call() -> dict[str, Any]:
        async with http(strict_server.port) as connection, asyncio.timeout(PATIENCE_SECONDS):
            return await connection.call("action", path, {"name": name})

    outcome = asyncio.run(call())
    assert (outcome["status"], name in outcome["errorMessage"]) == ("error", True), outcome


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("runaway:leave_action", "The process that ran runaway:leave_action ended with status 3."),
        ("runaway:block_the_loop", f"Function execution timed out (maximum duration: {ACTION_TIMEOUT_SECONDS:g}s)"),
    ],
)
def test_an_action_may_end_its_worker(strict_server: Server, path: str, expected: str) -> None:
    """The next action runs in another."""
    text = run_beside_others(strict_server, "action", path)

    async def next_action() -> Any:
        async with http(strict_server.port) as connection:
            return await connection.value("action", "runaway:answer", {})

    assert expected in text
    assert asyncio.run(next_action()) == "here"


def test_a_scheduled_function_that_kills_its_process_has_failed(strict_server: Server) -> None:
    """It is not run again and again: two workers have died in it, then its row says so."""

    async def schedule() -> Any:
        async with http(strict_server.port) as connection, sync_client(strict_server.port) as client:
            job = await connection.value("mutation", "runaway:schedule", {"name": "scheduled"})
            await client.subscribe(0, "runaway:scheduled", {"job": job})
            return await client.value(0, lambda state: state["kind"] not in ("pending", "inProgress"))

    state = asyncio.run(schedule())

    assert state["kind"] == "failed"
    assert "ended with status 3" in state["error"]
    assert read(strict_server, "scheduled") == 0


def test_subscribers_of_a_query_that_kills_its_process_are_told(strict_server: Server) -> None:
    """The query has failed as far as they are concerned; their other queries go on."""

    async def watch() -> tuple[dict[str, Any], Any]:
        async with http(strict_server.port) as connection, sync_client(strict_server.port) as client:
            await client.subscribe(0, "counters:read", {"name": "beside a crash"})
            await client.subscribe(1, "runaway:leave", {})
            failed = await client.until(1, lambda result: result["type"] == "QueryFailed")
            await connection.value("mutation", "counters:add", {"name": "beside a crash"})
            return failed, await client.value(0, lambda value: value == 1)

    failed, value = asyncio.run(watch())

    assert "The process that ran runaway:leave ended with status 3." in failed["errorMessage"]
    assert value == 1


def test_a_workflow_gets_over_a_step_that_kills_its_process(strict_server: Server) -> None:
    """The step has failed, with nothing of its writes left; the handler decides what to do about it."""
    name = {"round": "falls", "run": "stumbler"}

    async def run() -> tuple[dict[str, Any], list[dict[str, str]]]:
        async with http(strict_server.port) as connection, sync_client(strict_server.port) as client:
            await connection.value("mutation", "chores:begin_to_stumble", name)
            await client.subscribe(0, "chores:states", {"round": "falls"})
            states = await client.value(0, lambda states: states["stumbler"]["kind"] != "inProgress")
            return states["stumbler"], await connection.value("query", "chores:effects", {"round": "falls"})

    state, effects = asyncio.run(run())

    assert (state["kind"], state["result"]) == ("completed", "got up")
    assert effects == [{"run": "stumbler", "step": "last"}]
    assert read(strict_server, "stumbler") == 0


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("runaway:spin", TIMED_OUT),
        ("runaway:write_and_spin", TIMED_OUT),
        ("runaway:hang_in_c", TIMED_OUT),
        ("runaway:write_and_leave", "ended with status 3"),
        ("runaway:die_by_signal", "was killed by SIGKILL"),
    ],
)
def test_a_step_that_misbehaves_harms_no_step_beside_it(strict_server: Server, path: str, expected: str) -> None:
    """They shared a transaction with it; after a kill each has its own, and the one to blame fails alone."""
    name = f"around {path}"

    async def run() -> str:
        async with http(strict_server.port) as connection, sync_client(strict_server.port) as client:
            started = await connection.value("mutation", "runaway:begin_to_stumble", {"path": path, "name": name})
            await client.subscribe(0, "runaway:how_it_stumbled", {"run": started})
            return str(await client.value(0, lambda error: error is not None))

    assert expected in asyncio.run(run())
    assert (read(strict_server, name), read(strict_server, f"{name} wrongly")) == (2, 0)
