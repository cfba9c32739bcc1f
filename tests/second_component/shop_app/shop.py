"""The parent's own functions; it has a table of the same name as the component's."""

from typing import Any

from convexpy import MutationCtx, components, create_function_handle, internal, internal_mutation, mutation, v


@mutation(args={"to": v.string(), "text": v.string()}, returns=v.string())
def order(ctx: MutationCtx, to: str, text: str) -> str:
    """Send a parcel and be told when it has arrived."""
    callback = create_function_handle(internal.shop.delivered)
    parcel: str = ctx.run_mutation(components.courier.parcels.send, {"to": to, "text": text, "callback": callback})
    return parcel


@internal_mutation(args={"parcel": v.string(), "outcome": v.any()})
def delivered(ctx: MutationCtx, parcel: str, outcome: dict[str, Any]) -> None:
    ctx.db.insert("parcels", {"of": "the shop", "parcel": parcel, "outcome": outcome})


@internal_mutation(args={"callback": v.string(), "depth": v.number()})
def bounce(ctx: MutationCtx, callback: str, depth: float) -> Any:
    """Play ball with a child until `depth` is used up."""
    if depth <= 0:
        return "caught"
    own = create_function_handle(internal.shop.bounce)
    return ctx.run_mutation(callback, {"callback": own, "depth": depth - 1})
