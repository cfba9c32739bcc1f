"""Random workflow handlers: trees of asyncio constructs whose step arguments tell the history so far."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from convexpy_workflow.errors import StepError
from convexpy_workflow.step import Step

KINDS = ["call"] * 3 + [
    *("seq", "gather", "gather_all", "wait", "timeout", "group", "shield"),
    *("completed", "cleanup", "cancel", "sleep", "timer", "queue", "event", "child", "lock", "signal"),
]


@dataclass
class Node:
    """One construct with its parts; `label` is unique in the program."""

    kind: str
    label: int
    seconds: float
    parts: list[Node] = field(default_factory=list)


def random_program(seed: int) -> Node:
    """Make a program from its seed."""
    rng = random.Random(f"program {seed}")
    labels = iter(range(10_000))

    def node(depth: int) -> Node:
        kind = rng.choice(KINDS) if depth else "call"
        made = Node(kind, next(labels), rng.choice([0.001, 0.004, 0.02]))
        if kind not in ("call", "sleep", "timer", "event", "child"):
            made.parts = [node(depth - 1) for _ in range(rng.randint(2, 3))]
        return made

    return Node("seq", next(labels), 0.0, [node(3) for _ in range(rng.randint(1, 3))])


class Interpreter:
    """Runs a program. Each step is told everything that happened before it, so any difference of order shows."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.history = 0
        self.ballast: list[object] = []

    def saw(self, *facts: Any) -> None:
        self.history = (self.history * 31 + sum(map(ord, repr(facts)))) % 1_000_003

    async def run(self, node: Node) -> Any:
        # Objects of random number and lifetime between allocations, so that addresses differ between runs.
        self.ballast = [object() for _ in range(random.SystemRandom().randrange(40))]
        try:
            result = await getattr(self, node.kind)(node)
        except Exception as error:
            self.saw(node.label, type(error).__name__)
            raise
        self.saw(node.label, result)
        return result

    async def calm(self, node: Node) -> Any:
        try:
            return await self.run(node)
        except (StepError, TimeoutError, ExceptionGroup) as error:
            return type(error).__name__

    async def seq(self, node: Node) -> Any:
        return [await self.calm(part) for part in node.parts]

    async def call(self, node: Node) -> Any:
        return await self.step.run_mutation(f"app:f{node.label}", {"history": self.history})

    async def event(self, node: Node) -> Any:
        return await self.step.await_event(f"e{node.label} {self.history}")

    async def child(self, node: Node) -> Any:
        return await self.step.run_workflow(f"app:w{node.label}", {"history": self.history})

    async def gather(self, node: Node) -> Any:
        return await asyncio.gather(*map(self.run, node.parts))

    async def gather_all(self, node: Node) -> Any:
        results = await asyncio.gather(*map(self.run, node.parts), return_exceptions=True)
        return [repr(result) for result in results]

    async def wait(self, node: Node) -> Any:
        tasks = [asyncio.create_task(self.calm(part)) for part in node.parts]
        extra = asyncio.gather(*tasks, return_exceptions=True)
        done, pending = await asyncio.wait([*tasks, extra], return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
            self.saw("cancel", tasks.index(task) if task in tasks else "extra")
        with suppress(asyncio.CancelledError):
            await extra
        return [task.result() for task in done if task is not extra and not task.cancelled()]

    async def timeout(self, node: Node) -> Any:
        async with asyncio.timeout(node.seconds):
            return [await self.calm(part) for part in node.parts]

    async def group(self, node: Node) -> Any:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.run(part)) for part in node.parts]
        return [task.result() for task in tasks]

    async def shield(self, node: Node) -> Any:
        inner = asyncio.ensure_future(self.calm(node.parts[0]))
        try:
            return await asyncio.wait_for(asyncio.shield(inner), node.seconds)
        except TimeoutError:
            return [await self.calm(node.parts[1]), await inner]

    async def completed(self, node: Node) -> Any:
        return [await part for part in asyncio.as_completed([self.calm(part) for part in node.parts])]

    async def cleanup(self, node: Node) -> Any:
        try:
            return await self.run(node.parts[0])
        finally:
            await self.calm(node.parts[1])

    async def cancel(self, node: Node) -> Any:
        task = asyncio.create_task(self.calm(node.parts[0]))
        await self.calm(node.parts[1])
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return "canceled"

    async def sleep(self, node: Node) -> Any:
        await self.step.sleep(node.seconds)

    async def timer(self, node: Node) -> Any:
        await asyncio.sleep(node.seconds)

    async def queue(self, node: Node) -> Any:
        queue: asyncio.Queue[Any] = asyncio.Queue(1)

        async def produce(part: Node) -> None:
            await queue.put(await self.calm(part))

        async with asyncio.TaskGroup() as group:
            for part in node.parts:
                group.create_task(produce(part))
            return [await queue.get() for _ in node.parts]

    async def lock(self, node: Node) -> Any:
        lock = asyncio.Lock()

        async def alone(part: Node) -> Any:
            async with lock:
                return await self.calm(part)

        return await asyncio.gather(*map(alone, node.parts))

    async def signal(self, node: Node) -> Any:
        first, *others = node.parts
        ready = asyncio.Event()

        async def follow(part: Node) -> Any:
            await ready.wait()
            return await self.calm(part)

        async with asyncio.TaskGroup() as group:
            followers = [group.create_task(follow(part)) for part in others]
            result = await self.calm(first)
            ready.set()
        return [result, *(follower.result() for follower in followers)]
