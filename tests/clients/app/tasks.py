"""Actions that call back."""

import asyncio

from convexpy import ActionCtx, action, api


@action
async def add_twice(ctx: ActionCtx, name: str) -> float:
    """Two mutations and a query, each a transaction of its own."""
    await ctx.run_mutation(api.counters.add, {"name": name})
    await ctx.run_mutation(api.counters.add, {"name": name})
    value: float = await ctx.run_query(api.counters.read, {"name": name})
    return value


@action
async def wait_for(ctx: ActionCtx, name: str, signal: str) -> str:
    """Count that it runs, and run on until somebody counts `signal`."""
    await ctx.run_mutation(api.counters.add, {"name": name})
    while await ctx.run_query(api.counters.read, {"name": signal}) == 0:
        await asyncio.sleep(0.01)
    return "waited"
