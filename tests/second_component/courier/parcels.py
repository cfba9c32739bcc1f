"""What the parent may call, and what the scheduler calls.

Each of the things that components have beyond Convex is used: `on_complete`, `lane` and `queue` by `send`, together
with `on_complete_failed` by `send` and `completes_together` by `send_all`; `run_here` by `tour`; `before_push` by this
component's definition.
"""

from typing import Any

from convexpy import (
    ConvexError,
    MutationCtx,
    QueryCtx,
    components,
    create_function_handle,
    internal,
    internal_mutation,
    mutation,
    query,
    v,
)


@mutation(args={"to": v.string(), "text": v.string(), "callback": v.optional(v.string())}, returns=v.string())
def send(ctx: MutationCtx, to: str, text: str, callback: str | None = None) -> str:
    """Carry a text; parcels to one address arrive in order, and as many travel as there are vans."""
    parcel = ctx.db.insert("parcels", {"to": to, "text": text, "state": "carried"})
    if callback is not None:
        ctx.db.patch(parcel, {"callback": callback})
    ctx.scheduler.run_after(
        60,
        internal.parcels.deliver,
        {"parcel": parcel},
        on_complete=internal.parcels.arrived,
        on_complete_failed=internal.parcels.undeliverable,
        context={"parcel": parcel},
        lane=to,
        queue="vans",
    )
    return parcel


@mutation(args={"to": v.string(), "texts": v.array(v.string())})
def send_all(ctx: MutationCtx, to: str, texts: list[str]) -> None:
    """Carry several to one address, and note their arrival on one receipt."""
    for text in texts:
        parcel = ctx.db.insert("parcels", {"to": to, "text": text, "state": "carried"})
        ctx.scheduler.run_after(
            60,
            internal.parcels.deliver,
            {"parcel": parcel},
            on_complete=internal.parcels.receipt,
            context=text,
            lane=to,
            completes_together=True,
        )


@internal_mutation
def receipt(ctx: MutationCtx, **told: Any) -> None:
    """Several outcomes at once, or one alone."""
    completions = told.get("completions", [told])
    ctx.db.insert("receipts", {"lines": [f"{each['context']}: {each['outcome']['kind']}" for each in completions]})


@mutation(args={"stops": v.array(v.object({"to": v.string(), "text": v.string()}))})
def tour(ctx: MutationCtx, stops: list[dict[str, str]]) -> None:
    """Carry one parcel after the other, each when the one before it is there."""
    parcels = [ctx.db.insert("parcels", {**stop, "state": "carried"}) for stop in stops]
    drive(ctx, parcels)


def drive(ctx: MutationCtx, parcels: list[str]) -> None:
    if parcels:
        ctx.scheduler.run_after(
            0,
            internal.parcels.deliver,
            {"parcel": parcels[0]},
            on_complete=internal.parcels.next_stop,
            context=parcels,
            lane="tour",
        )


@internal_mutation
def next_stop(ctx: MutationCtx, context: list[str], outcome: dict[str, Any], job_id: str) -> None:
    """A parcel of a tour has been delivered; those after it too, if they may be without a commit between them."""
    kinds, rest = [outcome["kind"]], context[1:]
    while rest:
        ran = ctx.scheduler.run_here(
            internal.parcels.deliver, {"parcel": rest[0]}, apart_from=components.depot.shelves.put
        )
        if ran is None:
            break
        kinds.append(ran["kind"])
        rest = rest[1:]
    ctx.db.insert("receipts", {"lines": kinds})
    drive(ctx, rest)


@internal_mutation(args={"parcel": v.id("parcels")}, returns=v.string())
def deliver(ctx: MutationCtx, parcel: str) -> str:
    row = ctx.db.get(parcel)
    assert row is not None
    if row["text"] == "bomb":
        raise ConvexError("It ticks.")
    if row["text"] == "spare":
        ctx.run_mutation(components.depot.shelves.put, {"text": row["text"]})
    return f"at {row['to']}"


@internal_mutation(args={"context": v.any(), "outcome": v.any(), "job_id": v.string()})
def arrived(ctx: MutationCtx, context: dict[str, str], outcome: dict[str, Any], job_id: str) -> None:
    parcel = context["parcel"]
    row = ctx.db.get(parcel)
    assert row is not None
    ctx.db.patch(parcel, {"state": "delivered" if outcome["kind"] == "success" else "lost"})
    if "callback" in row:
        ctx.run_mutation(row["callback"], {"parcel": parcel, "outcome": outcome})


@internal_mutation
def undeliverable(ctx: MutationCtx, context: dict[str, str], **told: Any) -> None:
    """Whoever sent it cannot be told."""
    ctx.db.patch(context["parcel"], {"trouble": f"{told['attempts']}: {told['error']}"})


@mutation(args={"count": v.number()})
def hire_vans(ctx: MutationCtx, count: float) -> None:
    ctx.scheduler.set_queue_limit("vans", int(count))


@query(args={})
def all_parcels(ctx: QueryCtx) -> list[dict[str, Any]]:
    return [{"to": row["to"], "text": row["text"], "state": row["state"]} for row in ctx.db.query("parcels")]


@query(args={})
def stored(ctx: QueryCtx) -> list[str]:
    return list(ctx.run_query(components.depot.shelves.stored))


@query(args={"parcel": v.string()})
def one(ctx: QueryCtx, parcel: str):  # type: ignore[no-untyped-def]
    return ctx.db.get(parcel)


@query(args={"parcel": v.id("parcels")})
def checked(ctx: QueryCtx, parcel: str) -> str:
    return parcel


@query
def before_push(ctx: QueryCtx, counted: float | None = None) -> dict[str, Any]:
    """Looks twice: at fragile parcels, then at all of them."""
    carried = [row for row in ctx.db.query("parcels") if row["state"] == "carried"]
    if not carried:
        return {}
    if counted is None:
        return {"more": {"counted": sum(bool(row.get("isFragile")) for row in carried)}, "then": "parcels:look_again"}
    return {"findings": [f"{len(carried)} parcels are on their way"], "refuse": counted > 0}


@internal_mutation(args={})
def look_again(ctx: MutationCtx) -> None:
    """Runs on the new code, after a push that found parcels on their way."""
    ctx.db.insert("looks", {})


@mutation(args={"parcel": v.id("parcels")})
def mark_fragile(ctx: MutationCtx, parcel: str) -> None:
    ctx.db.patch(parcel, {"isFragile": True})


@mutation(args={})
def write_and_fail(ctx: MutationCtx) -> None:
    """Leaves a row, a table, a job and a grandchild's row behind, if failing took nothing back."""
    send(ctx, "nobody", "lost")
    ctx.db.insert("brand_new", {})
    ctx.run_mutation(components.depot.shelves.put, {"text": "lost"})
    raise ConvexError({"reason": "on purpose"})


@query(args={})
def who(ctx: QueryCtx):  # type: ignore[no-untyped-def]
    return ctx.auth.get_user_identity()


@mutation(args={"callback": v.string(), "depth": v.number()})
def bounce(ctx: MutationCtx, callback: str, depth: float):  # type: ignore[no-untyped-def]
    """Calls back who has called."""
    own = create_function_handle(internal.parcels.bounce)
    return ctx.run_mutation(callback, {"callback": own, "depth": depth - 1})


@query(args={})
def handle_of_send(ctx: QueryCtx) -> str:
    return create_function_handle(send)


@mutation(args={"job": v.string()})
def cancel(ctx: MutationCtx, job: str) -> None:
    ctx.scheduler.cancel(job)


@query(args={})
def jobs(ctx: QueryCtx) -> list[str]:
    return [row["_id"] for row in ctx.db.system.query("_scheduled_functions")]


@query
def a_page(ctx: QueryCtx):  # type: ignore[no-untyped-def]
    return ctx.db.query("parcels").paginate({"numItems": 1, "cursor": None})
