"""A handler for each thing of asyncio that handlers may use, one that draws chances, one for what is not allowed."""

import asyncio
import os
import random
import secrets
import socket
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

from convexpy_workflow import Step, StepFailed

from convexpy import MutationCtx, QueryCtx, internal, mutation, query

from .flows import workflow

Part = Callable[[Step], Awaitable[Any]]


async def take(step: Step, seconds: float) -> str:
    """A step that takes its time and says how long."""
    taken: str = await step.run_action(internal.work.take_time, {"seconds": seconds})
    return taken


async def fail_after(step: Step, seconds: float) -> None:
    await take(step, seconds)
    raise ValueError(f"failed after {seconds:g} s")


# --- asyncio


async def gather(step: Step) -> Any:
    return await asyncio.gather(take(step, 3), take(step, 1), take(step, 2))


async def gather_with_a_failure(step: Step) -> Any:
    results = await asyncio.gather(take(step, 2), fail_after(step, 1), return_exceptions=True)
    return [str(result) for result in results]


async def create_task(step: Step) -> Any:
    tasks = [asyncio.create_task(take(step, seconds), name=f"{seconds} s") for seconds in (2, 1)]
    seen = []
    for task in tasks:
        task.add_done_callback(lambda task: seen.append(task.get_name()))
    return [await tasks[0], tasks[1].done(), seen]


async def wait_first_completed(step: Step) -> Any:
    pending = {asyncio.create_task(take(step, seconds)) for seconds in (3, 1, 2)}
    order = []
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        order += [task.result() for task in done]
    return order


async def wait_first_exception(step: Step) -> Any:
    tasks = [asyncio.create_task(work) for work in (take(step, 1), fail_after(step, 2), take(step, 50))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in pending:
        task.cancel()
    return [sorted(str(task.exception() or task.result()) for task in done), len(pending)]


async def wait_with_a_timeout(step: Step) -> Any:
    done, pending = await asyncio.wait([asyncio.create_task(take(step, n)) for n in (1, 50)], timeout=3)
    for task in pending:
        task.cancel()
    return [[task.result() for task in done], len(pending)]


async def wait_for(step: Step) -> Any:
    in_time = await asyncio.wait_for(take(step, 1), 2)
    try:
        await asyncio.wait_for(take(step, 50), 2)
    except TimeoutError:
        return [in_time, "late"]


async def timeout(step: Step) -> Any:
    seen = []
    try:
        async with asyncio.timeout(10) as outer:
            try:
                async with asyncio.timeout(1):
                    await take(step, 50)
            except TimeoutError:
                seen.append("inner")
            outer.reschedule(asyncio.get_running_loop().time() + 2)
            await take(step, 50)
    except TimeoutError:
        seen.append("outer")
    return seen


async def sleep_as_a_timeout(step: Step) -> Any:
    """Which of them is first decides, not which was begun first."""
    slow, limit = asyncio.create_task(take(step, 50)), asyncio.create_task(step.sleep(2))
    begun = step.now()
    done, _ = await asyncio.wait([slow, limit], return_when=asyncio.FIRST_COMPLETED)
    slow.cancel()
    return [limit in done, slow in done, (step.now() - begun).total_seconds()]


async def task_group(step: Step) -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(take(step, seconds)) for seconds in (2, 1)]
    return [task.result() for task in tasks]


async def task_group_with_a_failure(step: Step) -> Any:
    texts: list[str] = []
    try:
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(take(step, 50))
            group.create_task(fail_after(step, 1))
    except* ValueError as failures:
        texts = [str(failure) for failure in failures.exceptions]
    return [*texts, slow.cancelled()]


async def as_completed(step: Step) -> Any:
    return [await first for first in asyncio.as_completed([take(step, 3), take(step, 1), take(step, 2)])]


async def event(step: Step) -> Any:
    ready, seen = asyncio.Event(), []

    async def follow(name: str) -> None:
        await ready.wait()
        seen.append(name)
        await take(step, 1)

    followers = [asyncio.create_task(follow(name)) for name in "ab"]
    seen.append(await take(step, 2))
    ready.set()
    await asyncio.gather(*followers)
    return seen


async def queue(step: Step) -> Any:
    jobs: asyncio.Queue[int] = asyncio.Queue(maxsize=1)
    seen = []

    async def work() -> None:
        while True:
            seen.append(await take(step, await jobs.get()))
            jobs.task_done()

    workers = [asyncio.create_task(work()) for _ in range(2)]
    for seconds in (3, 1, 1, 2):
        await jobs.put(seconds)
    await jobs.join()
    for worker in workers:
        worker.cancel()
    return seen


async def semaphore(step: Step) -> Any:
    narrow, begun = asyncio.Semaphore(2), step.now()

    async def pass_through() -> float:
        async with narrow:
            await take(step, 1)
            return (step.now() - begun).total_seconds()

    return await asyncio.gather(*(pass_through() for _ in range(5)))


async def condition(step: Step) -> Any:
    changed, values = asyncio.Condition(), list[str]()

    async def wait_for_two() -> int:
        async with changed:
            await changed.wait_for(lambda: len(values) == 2)
            return len(values)

    waiting = asyncio.create_task(wait_for_two())
    for seconds in (1, 2):
        values.append(await take(step, seconds))
        async with changed:
            changed.notify_all()
    return [await waiting, values]


async def cancel_and_finally(step: Step) -> Any:
    seen = []

    async def work() -> None:
        try:
            await take(step, 50)
        except asyncio.CancelledError:
            seen.append("canceled")
            raise
        finally:
            seen.append(await take(step, 1))

    task = asyncio.create_task(work())
    await take(step, 2)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return [*seen, task.cancelled()]


async def shield(step: Step) -> Any:
    inner = asyncio.create_task(take(step, 3))
    try:
        await asyncio.wait_for(asyncio.shield(inner), 1)
    except TimeoutError:
        return ["late", await inner]


async def equal_deadlines(step: Step) -> Any:
    seen = []

    async def sleep(name: str, pause: Callable[[float], Awaitable[None]]) -> None:
        await pause(2)
        seen.append(name)

    await asyncio.gather(*(sleep(name, asyncio.sleep) for name in "ab"), *(sleep(name, step.sleep) for name in "cd"))
    return [seen[0:2] == ["a", "b"] or seen[2:4] == ["a", "b"], sorted(seen)]


ASYNCIO: dict[str, Part] = {
    part.__name__: part
    for part in (
        *(gather, gather_with_a_failure, create_task, wait_first_completed, wait_first_exception),
        *(wait_with_a_timeout, wait_for, timeout, sleep_as_a_timeout, task_group, task_group_with_a_failure),
        *(as_completed, event, queue, semaphore, condition, cancel_and_finally, shield, equal_deadlines),
    )
}


@workflow.define
async def uses(step: Step, part: str) -> Any:
    return await ASYNCIO[part](step)


# --- chance


def drawn() -> list[Any]:
    """One of everything that is another one each time, outside a handler."""
    return [
        *(random.random(), random.randrange(10**9), random.Random().random(), random.choice(range(10**6))),
        *(random.SystemRandom().random(), secrets.token_hex(8), os.urandom(8)),
        *(str(uuid.uuid4()), str(uuid.uuid1())),
        *(time.time(), time.time_ns() / 1e9, time.monotonic(), time.perf_counter(), asyncio.get_running_loop().time()),
        *(datetime.now(UTC).timestamp(), datetime.now().timestamp(), date.today().isoformat(), list(time.gmtime())),
    ]


@workflow.define
async def draws(step: Step) -> list[Any]:
    first = drawn()
    await take(step, 100)
    return [step.workflow_id, first, drawn()]


# --- what is not allowed


async def start_thread(step: Step) -> None:
    threading.Thread(target=print).start()


async def use_pool(step: Step) -> None:
    with ThreadPoolExecutor() as pool:
        pool.submit(print)


async def open_file(step: Step) -> None:
    open(__file__).close()  # noqa: PTH123


async def write_file(step: Step) -> None:
    open("/tmp/handler", "w").close()  # noqa: PTH123


async def list_folder(step: Step) -> None:
    os.listdir("/")  # noqa: PTH208


async def open_socket(step: Step) -> None:
    socket.socket()


async def connect(step: Step) -> None:
    socket.create_connection(("127.0.0.1", 1))


async def fetch(step: Step) -> None:
    urllib.request.urlopen("http://127.0.0.1:1/")


async def run_process(step: Step) -> None:
    subprocess.run(["true"])


async def sleep_for_real(step: Step) -> None:
    time.sleep(1)


async def use_to_thread(step: Step) -> None:
    await asyncio.to_thread(print)


async def run_in_executor(step: Step) -> None:
    await asyncio.get_running_loop().run_in_executor(None, print)


async def open_connection(step: Step) -> None:
    await asyncio.open_connection("127.0.0.1", 1)


async def serve(step: Step) -> None:
    await asyncio.start_server(lambda reader, writer: None, "127.0.0.1")


async def spawn(step: Step) -> None:
    await asyncio.create_subprocess_exec("true")


async def ask(step: Step) -> None:
    input("?")


FORBIDDEN: dict[str, Part] = {
    part.__name__: part
    for part in (
        *(start_thread, use_pool, open_file, write_file, list_folder, open_socket, connect, fetch, run_process),
        *(sleep_for_real, use_to_thread, run_in_executor, open_connection, serve, spawn, ask),
    )
}


@workflow.define
async def tries(step: Step, part: str) -> str:
    """Before its first step, and after a step, where it may be a replay that comes by."""
    errors = []
    for _ in range(2):
        try:
            await FORBIDDEN[part](step)
        except StepFailed:
            raise
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
        await step.run_mutation(internal.work.add, {"name": "steps"})
    assert len(set(errors)) == 1, errors
    return errors[0]


# --- what is done with runs


@mutation
def begin(ctx: MutationCtx, flow: str, args: dict[str, Any]) -> str:
    run: str = workflow.start(ctx, f"constructs:{flow}", args)
    return run


@query
def names(ctx: QueryCtx) -> dict[str, list[str]]:
    return {"asyncio": sorted(ASYNCIO), "forbidden": sorted(FORBIDDEN)}
