"""Actions that call back."""

from convexpy import ActionCtx, action, api


@action
async def add_twice(ctx: ActionCtx, name: str) -> float:
    """Two mutations and a query, each a transaction of its own."""
    await ctx.run_mutation(api.counters.add, {"name": name})
    await ctx.run_mutation(api.counters.add, {"name": name})
    value: float = await ctx.run_query(api.counters.read, {"name": name})
    return value
