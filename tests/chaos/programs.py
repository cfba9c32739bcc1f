"""Random programs for the chaos app: trees of plain objects, each made from its seed."""

from __future__ import annotations

import random
from typing import Any

Program = dict[str, Any]

STEPS = ("effect", "effect", "effect", "action", "failure", "sleep", "timer")
ALL_STEPS = (*STEPS, "event", "nested")
HOLDERS = ("sequence", "sequence", "parallel", "group", "race", "timeout", "cleanup")
SECONDS = (0.0, 0.01, 0.1, 0.5)
FAILING_SHARE = 0.1
DEPTH_MAX = 3


def random_program(chance: random.Random) -> Program:
    """Make a program; labels are unique in it. A workflow that it runs as a step waits for no events."""
    labels = iter(range(10_000))

    def make(depth: int, steps: tuple[str, ...]) -> Program:
        kind = chance.choice(steps if depth == 0 else steps + HOLDERS)
        program: Program = {"kind": kind, "label": f"{kind} {next(labels)}"}
        if kind == "effect":
            program["is_inline"] = chance.random() < 0.2
        elif kind == "action":
            program |= {"failures": chance.choice((0, 0, 1, 2)), "seconds": chance.choice(SECONDS[:3])}
        elif kind in ("sleep", "timer", "timeout"):
            program["seconds"] = chance.choice(SECONDS)
        elif kind == "nested":
            program["program"] = whole(chance.randint(1, 3), 1, STEPS)
        if kind in HOLDERS:
            count = 2 if kind == "cleanup" else chance.randint(2, 4)
            program["parts"] = [make(depth - 1, steps) for _ in range(count)]
        return program

    def whole(count: int, depth: int, steps: tuple[str, ...]) -> Program:
        parts = [make(depth, steps) for _ in range(count)]
        return {"kind": "sequence", "label": "all", "parts": parts, "is_failing": chance.random() < FAILING_SHARE}

    return whole(chance.randint(3, 6), DEPTH_MAX - 1, ALL_STEPS)


def events_of(program: Program) -> list[str]:
    """Names of the events that a program may wait for."""
    mine = [program["label"]] if program["kind"] == "event" else []
    return mine + [name for part in program.get("parts", ()) for name in events_of(part)]
