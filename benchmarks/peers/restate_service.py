"""The Restate service whose handlers do nothing, durably."""

from __future__ import annotations

import restate
from restate import Context, Service

bench = Service("bench")


async def nothing() -> int:
    """The step."""
    return 1


@bench.handler()
async def in_turn(ctx: Context, steps: int) -> int:
    """So many steps, one after the other."""
    for _ in range(steps):
        await ctx.run_typed("step", nothing)
    return steps


@bench.handler()
async def side_by_side(ctx: Context, steps: int) -> int:
    """So many steps at once."""
    await restate.gather(*[ctx.run_typed("step", nothing) for _ in range(steps)])
    return steps


app = restate.app([bench])
